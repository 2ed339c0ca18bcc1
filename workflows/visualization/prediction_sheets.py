"""Predictions as pictures: the truth green, the answer red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from PIL import Image
from upath import UPath

from shards.reader import SampleReader
from trainer.evaluation.metrics import Judgement
from workflows.visualization.tiles import PREDICTED, TRUTH, picture_of, sheet, tile

NUM_PICTURES = 32


def draw_sheets(samples: UPath, judgements: Sequence[Judgement], folder: Path) -> None:
    """``worst.png`` and ``random.png``: predictions of the lowest IoU, each of another picture, and any."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet(prediction_tiles(samples, worst(judgements)), columns=8).save(folder / "worst.png")
    chosen = Random(0).sample(judgements, min(NUM_PICTURES, len(judgements)))
    sheet(prediction_tiles(samples, chosen), columns=8).save(folder / "random.png")


def worst(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The lowest IoU first, one of each picture; among equals the more rivals the worse."""
    ordered = sorted(judgements, key=lambda one: (one.iou, -(one.num_rivals or 0), one.query_id))
    by_picture: dict[str, Judgement] = {}
    for one in ordered:
        by_picture.setdefault(one.key, one)
    return list(by_picture.values())[:NUM_PICTURES]


def prediction_tiles(samples: UPath, judgements: Sequence[Judgement]) -> list[Image.Image]:
    """A picture of each, with the phrase and the IoU."""
    reader = SampleReader(samples)
    number = {entry.key: i for i, entry in enumerate(reader.index)}
    tiles = []
    for one in judgements:
        boxes = [(one.target_xyxy, TRUTH), (one.box_xyxy, PREDICTED)]
        picture = picture_of(reader.read(number[one.key]))
        tiles.append(tile(picture, f"{one.text}\nIoU {one.iou:.2f}", boxes))
    return tiles
