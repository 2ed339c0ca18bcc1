"""Serve a page to try a network: image and query in; box, prior and attention out.

    make app                                                       # http://127.0.0.1:7860
    python -m workflows.app --checkpoint runs/refcoco-both/best --examples photos --port 8000

The page runs on the CPU as well. Images stay on the machine that serves the page, which deletes them after a day.
Install the extra ``app`` first: ``pip install -e ".[app]"``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from generation.priors.generator import PriorGenerator
from trainer.files import check_checkpoint, find_checkpoint
from workflows.app.answers import GroundingSession
from workflows.cli.console import UserError, console, run
from workflows.miniature.world.dataset import generate_refs, sample_scene
from workflows.miniature.world.drawing import CATEGORIES
from workflows.predict import read_query_file
from workflows.priors.config import find_prior_file, load_prior_config

Example = tuple[Path, str]
"""Image and a query about it."""

MINIATURE_NOTE = (
    f"This network knows only drawings of the miniature world ({', '.join(CATEGORIES)}); do not use it for photographs."
)


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Network and address of the page."""

    checkpoint: Path = Path("miniature")
    """Checkpoint folder of the network; ``prior.json`` in or beside it describes the priors. ``miniature`` is the
    shipped network of the miniature world; a hub id is ``org/name`` or ``org/name@revision``."""

    prior: bool = True
    """Whether a prior is rendered for each query; ``--no-prior`` leaves the text-to-image model unloaded."""

    examples: Path | None = None
    """Folder of example images with ``queries.jsonl`` (``{"image": "a.jpg", "query": "left cup"}``); scenes of the
    miniature world by default."""

    device: str = "auto"
    """Device of the network: ``cpu``, ``cuda``, or ``auto``; ``prior.json`` names that of the text-to-image model."""

    host: str = "127.0.0.1"
    """Address to serve at; ``0.0.0.0`` allows other machines, without a password."""

    port: int = 7860
    """Port to serve at, from 1 to 65535."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise UserError(f"--port must be from 1 to 65535, got {self.port}")


def main(config: AppConfig) -> None:
    """Serve the page until interrupted."""
    check_checkpoint(find_checkpoint(config.checkpoint))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from workflows.app.page import build_page, serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError('the page needs gradio; install it: pip install "resvg-grounding[app]"') from error
    session = load_session(config)
    with open_examples(config.examples) as examples:
        blocks = build_page(session, examples, MINIATURE_NOTE if str(config.checkpoint) == "miniature" else "")
        console.print(f"[green]page served at:[/] {serve(blocks, config.host, config.port)}  (stop with Ctrl-C)")
        blocks.block_thread()


def load_session(config: AppConfig) -> GroundingSession:
    """Load the network, and the prior generator if the network uses priors."""
    from trainer.predict import Grounder

    grounder = Grounder.from_pretrained(config.checkpoint, config.device)
    if not (config.prior and grounder.network.config.use_prior):
        return GroundingSession(grounder)
    prior_config = load_prior_config(find_prior_file(find_checkpoint(config.checkpoint)))
    return GroundingSession(grounder, PriorGenerator(prior_config))


@contextmanager
def open_examples(folder: Path | None) -> Iterator[Sequence[Example]]:
    """Yield the examples of a folder, or drawn ones that exist as long as the page."""
    if folder is not None:
        queries_by_image = read_query_file(folder, folder / "queries.jsonl", "--examples")
        yield [(image, query) for image, queries in queries_by_image.items() for query in queries]
        return
    with tempfile.TemporaryDirectory(prefix="resvg-examples-") as scratch:
        yield list(_draw_examples(Path(scratch)))


def _draw_examples(folder: Path, count: int = 8, seed: int = 11) -> Iterator[Example]:
    """Yield scenes outside the training split with queries, by appearance and by position in turn."""
    for number in range(count):
        split, random = ("testA", "testB")[number % 2], Random(f"examples/{seed}/{number}")
        scene = sample_scene(split, random)
        queries = [text for _, texts in generate_refs(scene, split, random) for text in texts]
        if queries:
            path = folder / f"{number}.png"
            scene.draw().save(path)
            yield path, max(queries, key=len)


if __name__ == "__main__":
    run(main, AppConfig, __doc__)
