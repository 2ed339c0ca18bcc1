"""A page to try a network on: a image and a phrase in; the box, the prior and what the network looked at out.

    make app                                                       # http://127.0.0.1:7860
    python -m workflows.app --checkpoint runs/refcoco-both/best --examples photos --port 8000

Runs on the CPU as well. Images stay on the machine that serves the page, and are deleted there after a day. It needs
the extra ``app``: ``pip install -e ".[app]"``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import torch

from generation.priors.generator import PriorGenerator
from trainer.predict import Grounder
from workflows.app.answers import GroundingSession
from workflows.cli.console import UserError, console, run
from workflows.miniature.world.dataset import referred, sample_scene
from workflows.predict import read_query_file
from workflows.priors.config import load_prior_config

Example = tuple[Path, str]
"""A image and what is asked of it."""


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Which network, and where it is served."""

    checkpoint: Path = Path("runs/miniature-both/best")
    """Its priors are made as in training, by ``prior.json`` beside it."""

    prior: bool = True
    """``--no-prior``: never draw priors, and leave the text-to-image model unloaded."""

    examples: Path | None = None
    """Folder with images and ``queries.jsonl`` (``{"image": "a.jpg", "query": "left cup"}``); scenes of the miniature
    world where not given."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Of the network; priors are drawn where the recipe says."""

    host: str = "127.0.0.1"
    """``0.0.0.0`` lets other machines in; nobody is asked for a password."""

    port: int = 7860

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise UserError(f"--port must be from 1 to 65535, got {self.port}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: PyTorch finds no GPU here; leave it out")


def main(config: AppConfig) -> None:
    """Serve until interrupted."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from workflows.app.page import build_page, serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError('the page needs gradio; install the extra: .venv/bin/pip install -e ".[app]"') from error
    session = load(config)
    with open_examples(config.examples) as example_list:
        blocks = build_page(session, example_list)
        console.print(f"[green]the page:[/] {serve(blocks, config.host, config.port)}  (stop with Ctrl-C)")
        blocks.block_thread()


def load(config: AppConfig) -> GroundingSession:
    """The network, and what draws its priors where it takes any."""
    grounder = Grounder.from_pretrained(config.checkpoint, config.device)
    if not (config.prior and grounder.network.config.use_prior):
        return GroundingSession(grounder)
    prior_config = load_prior_config(config.checkpoint.parent / "prior.json")
    return GroundingSession(grounder, PriorGenerator(prior_config))


@contextmanager
def open_examples(folder: Path | None) -> Iterator[Sequence[Example]]:
    """Those of a folder, or drawn ones that last as long as the page."""
    if folder is not None:
        queries_by_image = read_query_file(folder, folder / "queries.jsonl", "--examples")
        yield [(image, query) for image, queries in queries_by_image.items() for query in queries]
        return
    with tempfile.TemporaryDirectory(prefix="resvg-examples-") as scratch:
        yield list(_draw_examples(Path(scratch)))


def _draw_examples(folder: Path, count: int = 8, seed: int = 11) -> Iterator[Example]:
    """Scenes that no training saw, told apart by looks and by position in turn."""
    for number in range(count):
        split, random = ("testA", "testB")[number % 2], Random(f"examples/{seed}/{number}")
        scene = sample_scene(split, random)
        queries = [text for _, texts in referred(scene, split, random) for text in texts]
        if queries:
            path = folder / f"{number}.png"
            scene.draw().save(path)
            yield path, max(queries, key=len)


if __name__ == "__main__":
    run(main, AppConfig, __doc__)
