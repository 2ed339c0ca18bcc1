"""Sheets of the demo: priors with their queries, scenes with boxes, predictions of both networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from upath import UPath

from generation.priors.store import PriorStore
from shards.reader import SampleReader
from shards.tiles import TRUTH, decode_image, make_sheet, make_tile
from trainer.evaluate import read_predictions
from workflows.cli.paths import get_dataset_paths
from workflows.priors.config import find_prior_store_path
from workflows.visualization.prediction_sheets import make_prediction_tiles


def draw_demo_sheets(data: UPath, networks: Mapping[str, Path], output: Path, count: int = 24) -> None:
    """Write ``priors.png``, ``scenes.png`` and ``predictions-<network>.png``."""
    output.mkdir(parents=True, exist_ok=True)
    paths = get_dataset_paths("miniature", data)
    make_sheet(make_prior_tiles(paths.get_packed_run("samples"), find_prior_store_path("miniature", data), count)).save(
        output / "priors.png"
    )
    make_sheet(make_scene_tiles(paths.get_packed_run("scenes"), count)).save(output / "scenes.png")
    for name, folder in networks.items():
        records = read_predictions(folder / "evaluation")
        chosen = records[:: max(1, len(records) // count)][:count]
        tiles = make_prediction_tiles(paths.get_packed_run("samples"), chosen)
        make_sheet(tiles).save(output / f"predictions-{name}.png")


def make_prior_tiles(samples: UPath, store: UPath, count: int) -> list[Image.Image]:
    """Return a tile of one query and its prior for each of ``count`` test images."""
    reader, priors = SampleReader(samples, "testA"), PriorStore.open(store)
    step = max(1, len(reader) // count)
    queries = [reader.read(i).queries[0] for i in range(0, len(reader), step)][:count]
    return [
        make_tile(Image.fromarray(priors.image(q.prior_id)), f"{q.text}\n> {priors.prompt(q.prior_id)}")
        for q in queries
        if q.prior_id
    ]


def make_scene_tiles(scenes: UPath, count: int) -> list[Image.Image]:
    """Return a tile of a generated scene with one query and its box."""
    reader = SampleReader(scenes)
    tiles = []
    for i in range(min(count, len(reader))):
        sample = reader.read(i)
        query = sample.queries[i % len(sample.queries)]
        tiles.append(make_tile(decode_image(sample.image), query.text, [(query.box_xyxy, TRUTH)]))
    return tiles
