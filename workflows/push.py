"""Push a trained network, or an exported dataset, to the Hugging Face Hub.

    make push ARGS="runs/refcoco-both/best org/name"          # then Grounder.from_pretrained("org/name")
    make push ARGS="exported org/name --private"              # of make export with --to hf or webdataset

A network is pushed with its processor, its calibration and its model card, without the state of its training. Log in
before by ``hf auth login``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from trainer.hub import NETWORK_FILES, PRIOR_FILE, push
from workflows.cli.console import UserError, console, run
from workflows.priors.config import find_prior_file, load_prior_config


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """What to push, and where to."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of a network that training has saved, or of an export with a dataset card."""

    hub_id: Annotated[str, tyro.conf.Positional]
    """Repository, ``org/name``; it is made if it does not exist."""

    private: bool = False
    """Whether a new repository is private."""


def main(config: PushConfig) -> None:
    """Push the folder's files in one commit.

    Raises:
        UserError: the folder holds neither a network nor an export with a card.
        TrainerError: the hub refuses the files, or cannot be reached.
    """
    kind, files = find_files(config.folder)
    address = push(config.hub_id, files, kind, config.private)
    console.print(f"[green]{len(files)} files pushed to:[/] {address}", soft_wrap=True)


def find_files(folder: Path) -> tuple[Literal["model", "dataset"], dict[str, Path]]:
    """Return the kind of a folder, and its files by their names in the repository.

    Raises:
        UserError: the folder holds neither a network nor an export with a card.
        TrainerError: the network is damaged, or of another kind.
    """
    if (folder / "config.json").is_file():
        from trainer.predict import Grounder

        Grounder.from_pretrained(folder, "cpu")  # nobody could load what this cannot
        files = {path.relative_to(folder).as_posix(): path for name in NETWORK_FILES for path in folder.glob(name)}
        return "model", {**files, **_find_prior(folder)}
    card = folder / "README.md"
    if card.is_file() and "task_categories:" in card.read_text(encoding="utf-8"):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return "dataset", {path.relative_to(folder).as_posix(): path for path in paths}
    raise UserError(
        f"{folder} holds neither a network (config.json) nor an export with a dataset card (README.md); give a folder "
        "that training has saved, or export with --to hf or webdataset"
    )


def _find_prior(folder: Path) -> dict[str, Path]:
    """Return the prior configuration of a network, unless it names folders of this machine."""
    path = find_prior_file(folder)
    if not path.is_file():
        return {}
    prior = load_prior_config(path)
    models = (prior.render.checkpoint, prior.encoder.checkpoint, prior.render.small_vae)
    if local := [name for name in models if name is not None and Path(name).exists()]:
        console.print(
            f"[yellow]left out:[/] {path}, since it names folders of this machine ({', '.join(local)}); who fetches "
            "the network uses priors of the miniature models, or --prior none"
        )
        return {}
    return {PRIOR_FILE: path}


if __name__ == "__main__":
    run(main, PushConfig, __doc__)
