"""Contact sheets of the demo: priors under their queries, scenes with their boxes, predictions of both networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from upath import UPath

from generation.priors.store import PriorStore
from shards.reader import SampleReader
from trainer.evaluate import read_judgements
from workflows.cli.paths import folders
from workflows.priors.config import prior_store_of
from workflows.visualization.prediction_sheets import prediction_tiles
from workflows.visualization.tiles import TRUTH, picture_of, sheet, tile


def draw_pictures(data: UPath, networks: Mapping[str, Path], output: Path, count: int = 24) -> None:
    """Write ``priors.png``, ``scenes.png`` and ``predictions-<network>.png``."""
    output.mkdir(parents=True, exist_ok=True)
    place = folders("miniature", data)
    sheet(prior_tiles(place.packed("samples"), prior_store_of("miniature", data), count)).save(output / "priors.png")
    sheet(scene_tiles(place.packed("scenes"), count)).save(output / "scenes.png")
    for name, folder in networks.items():
        judgements = read_judgements(folder / "evaluation")
        chosen = judgements[:: max(1, len(judgements) // count)][:count]
        tiles = prediction_tiles(place.packed("samples"), chosen)
        sheet(tiles).save(output / f"predictions-{name}.png")


def prior_tiles(samples: UPath, store: UPath, count: int) -> list[Image.Image]:
    """One query of each of ``count`` test pictures, with the prior drawn for it."""
    reader, priors = SampleReader(samples, "testA"), PriorStore.open(store)
    step = max(1, len(reader) // count)
    queries = [reader.read(i).queries[0] for i in range(0, len(reader), step)][:count]
    return [
        tile(Image.fromarray(priors.image(q.prior_id)), f"{q.text}\n> {priors.prompt(q.prior_id)}")
        for q in queries
        if q.prior_id
    ]


def scene_tiles(scenes: UPath, count: int) -> list[Image.Image]:
    """Generated scenes, each with one query and its box."""
    reader = SampleReader(scenes)
    tiles = []
    for i in range(min(count, len(reader))):
        sample = reader.read(i)
        query = sample.queries[i % len(sample.queries)]
        tiles.append(tile(picture_of(sample), query.text, [(query.box_xyxy, TRUTH)]))
    return tiles
