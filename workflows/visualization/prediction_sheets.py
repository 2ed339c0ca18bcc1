"""Sheets of predictions: the truth green, the prediction red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from PIL import Image
from upath import UPath

from shards.images import decode_rgb_image
from shards.reader import SampleReader
from shards.tiles import PREDICTED, TRUTH, make_sheet, make_tile
from trainer.evaluation.metrics import PredictionRecord

NUM_IMAGES = 32


def draw_sheets(samples: UPath, records: Sequence[PredictionRecord], folder: Path) -> None:
    """Write ``worst.png``, the lowest IoU of each image, and ``random.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    make_sheet(make_prediction_tiles(samples, select_worst(records)), columns=8).save(folder / "worst.png")
    chosen = Random(0).sample(records, min(NUM_IMAGES, len(records)))
    make_sheet(make_prediction_tiles(samples, chosen), columns=8).save(folder / "random.png")


def select_worst(records: Sequence[PredictionRecord]) -> list[PredictionRecord]:
    """Return the prediction of the lowest IoU of each image; of equal ones that with more distractors."""
    ordered = sorted(records, key=lambda one: (one.iou, -(one.num_distractors or 0), one.query_id))
    by_image: dict[str, PredictionRecord] = {}
    for one in ordered:
        by_image.setdefault(one.key, one)
    return list(by_image.values())[:NUM_IMAGES]


def make_prediction_tiles(samples: UPath, records: Sequence[PredictionRecord]) -> list[Image.Image]:
    """Return a tile per prediction, with its query and IoU."""
    reader = SampleReader(samples)
    number = {entry.key: i for i, entry in enumerate(reader.index)}
    tiles = []
    for one in records:
        boxes = [(one.target_xyxy, TRUTH), (one.box_xyxy, PREDICTED)]
        image = decode_rgb_image(reader.read(number[one.key]).image)
        tiles.append(make_tile(image, f"{one.text}\nIoU {one.iou:.2f}", boxes))
    return tiles
