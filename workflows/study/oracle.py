"""Oracle priors: a clean drawing of the target with all of its attributes, whether the query mentions them or not."""

from __future__ import annotations

from functools import partial
from random import Random

import numpy as np
from PIL import Image

from generation.models.config import EncoderConfig
from generation.models.webp import encode_webp
from generation.priors.prior import GeneratedImages, Prior
from pipeline import Item, Rejected, Stage
from shards.boxes import iou
from shards.reader import SampleReader
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import IMAGE_PX, Combination, WorldConfig, sample_scene
from workflows.miniature.world.drawing import draw_sprite

BACKGROUND, EXTENT_PX = (222, 222, 222), 40


def format_oracle_id(combination: Combination) -> str:
    return "-".join(("oracle", *combination))


def find_query_combinations(reader: SampleReader, world: WorldConfig) -> dict[str, Combination]:
    """Return the combination of each query's target, from the world that the dataset was drawn from.

    Raises:
        UserError: the dataset was drawn from another world.
    """
    combinations: dict[str, Combination] = {}
    train, val, test = world.num_train, world.num_val, world.num_test
    first_indices = {"train": 1, "val": 1 + train, "testA": 1 + train + val, "testB": 1 + train + val + test}
    for sample in reader:
        split = sample.queries[0].split
        index = int(sample.image_name.rpartition("_")[2].removesuffix(".png")) - first_indices[split]
        scene = sample_scene(split, Random(f"{world.seed}/{split}/{index}"))
        for query in sample.queries:
            target = max(scene.objects, key=lambda obj: iou(obj.box_xyxy, query.box_xyxy))
            if iou(target.box_xyxy, query.box_xyxy) < 0.99:
                raise UserError(f"{reader.run} was not drawn from {world}: {query.query_id}; choose another --output")
            combinations[query.query_id] = target.combination
    return combinations


class OracleStage(Stage[Item, Prior]):
    """Stage that draws and encodes combinations of category, color and pattern; payload: ``combination``."""

    name = "render"

    def __init__(self, encoder: EncoderConfig) -> None:
        self._config = encoder

    def setup(self) -> None:
        from generation.models.image_encoder import ImageEncoder

        self._encoder = ImageEncoder(self._config)

    def process(self, items: list[Item]) -> list[Prior | Rejected]:
        images = [np.asarray(_render_combination(*item.payload["combination"])) for item in items]
        features = self._encoder.encode_images(images)
        compress = partial(encode_webp, quality=None)
        return [
            Prior(
                prior_id=item.key,
                generated=GeneratedImages(
                    prompt=" ".join(item.payload["combination"]),
                    images=(),
                    feature=feature.astype(np.float16),
                    clip_score=None,
                    compressed=(compress(image),),
                ),
            )
            for item, image, feature in zip(items, images, features, strict=True)
        ]


def _render_combination(category: str, color: str, pattern: str) -> Image.Image:
    image = Image.new("RGB", (IMAGE_PX, IMAGE_PX), BACKGROUND)
    obj = draw_sprite(category, color, pattern, EXTENT_PX)
    image.paste(obj, ((IMAGE_PX - obj.width) // 2, (IMAGE_PX - obj.height) // 2), obj)
    return image
