"""Oracle priors: a clean rendering of the target itself, with all its attributes, whatever of them the query says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random

import numpy as np
from PIL import Image

from generation.models.image_encoder import EncoderConfig, ImageEncoder
from generation.models.webp import webp_bytes
from generation.priors.rendering import Drawn, DrawnPrior
from pipeline.stage import Item, Rejected, Stage
from shards.boxes import iou
from shards.reader import SampleReader
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import PICTURE_PX, Combination, WorldConfig, scene_of_split
from workflows.miniature.world.drawing import sprite

BACKGROUND, EXTENT_PX = (222, 222, 222), 40


def prior_name(combination: Combination) -> str:
    return "-".join(("oracle", *combination))


def combinations_of_queries(reader: SampleReader, world: WorldConfig) -> dict[str, Combination]:
    """Query id to what its target is, looked up in the world that the data set was drawn of.

    Raises:
        UserError: it was not drawn of that world.
    """
    found: dict[str, Combination] = {}
    firsts = _first_numbers(world)
    for sample in reader:
        split = sample.queries[0].split
        index = int(sample.image_name.rpartition("_")[2].removesuffix(".png")) - firsts[split]
        scene = scene_of_split(split, Random(f"{world.seed}/{split}/{index}"))
        for query in sample.queries:
            target = max(scene.things, key=lambda thing: iou(thing.box_xyxy, query.box_xyxy))
            if iou(target.box_xyxy, query.box_xyxy) < 0.99:
                raise UserError(f"{reader.run} was not drawn of {world}: {query.query_id}; choose another --output")
            found[query.query_id] = target.combination
    return found


def _first_numbers(world: WorldConfig) -> Mapping[str, int]:
    """Number of each split's first picture."""
    train, val, test = world.num_train, world.num_val, world.num_test
    return {"train": 1, "val": 1 + train, "testA": 1 + train + val, "testB": 1 + train + val + test}


class OracleStage(Stage[Item, DrawnPrior]):
    """Draws and encodes combinations of category, colour and pattern; payload: ``combination``."""

    @property
    def name(self) -> str:
        return "draw"

    def __init__(self, encoder: EncoderConfig) -> None:
        self._config = encoder

    def setup(self) -> None:
        self._encoder = ImageEncoder(self._config)

    def process(self, items: list[Item]) -> list[DrawnPrior | Rejected]:
        pictures = [np.asarray(_picture(*item.payload["combination"])) for item in items]
        features = self._encoder.images(pictures)
        compress = partial(webp_bytes, quality=None)
        return [
            DrawnPrior(
                key=item.key,
                drawn=Drawn(
                    prompt=" ".join(item.payload["combination"]),
                    images=(),
                    feature=feature.astype(np.float16),
                    clip_score=None,
                    compressed=(compress(picture),),
                ),
                payload={},
            )
            for item, picture, feature in zip(items, pictures, features, strict=True)
        ]


def _picture(category: str, colour: str, pattern: str) -> Image.Image:
    picture, thing = (
        Image.new("RGB", (PICTURE_PX, PICTURE_PX), BACKGROUND),
        sprite(category, colour, pattern, EXTENT_PX),
    )
    picture.paste(thing, ((PICTURE_PX - thing.width) // 2, (PICTURE_PX - thing.height) // 2), thing)
    return picture
