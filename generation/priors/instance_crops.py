"""Crops of annotated instances, and their CLIP features: exemplars to compare with priors.

Each instance has several views. The first is the square around its box, 1.6 times as wide as the longer side, as the
instance fills it like the object of a prior fills its image. The others vary in scale and position and may be mirrored,
so that a network does not learn one crop by heart. Beyond the image, the border's pixels are repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.models.config import EncoderConfig, RgbImage
from pipeline import Item, Location, Rejected, Resources, Stage, resolve_location
from shards.boxes import Box
from shards.crop_features import InstanceCrops
from shards.images import decode_rgb_image
from shards.reader import SampleReader
from shards.schema import Sample

FIRST_SCALE = 1.6
MIN_SCALE, MAX_SCALE = 1.15, 2.0
"""Sides of the first view and of the others, as multiples of the box's longer side."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Square part of an image around a box."""

    left: float
    top: float
    side: float
    """Side in pixels of the image; the square may reach beyond it."""

    mirrored: bool = False
    """Whether left and right are swapped."""


def choose_views(box_xyxy: Box, num_views: int, seed: int, instance: int) -> Iterator[View]:
    """Yield the views of an instance, the first one centered; others depend on the seed, instance and view alone."""
    left, top, right, bottom = box_xyxy
    longer = max(right - left, bottom - top)
    for number in range(num_views):
        random = Random(f"{seed}/{instance}/{number}")
        side = longer * (random.uniform(MIN_SCALE, MAX_SCALE) if number else FIRST_SCALE)
        x, y = ((random.uniform(-0.5, 0.5) if number else 0.0) * (side - longer) for _ in range(2))
        yield View(
            left=(left + right - side) / 2 + x,
            top=(top + bottom - side) / 2 + y,
            side=side,
            mirrored=number > 0 and random.random() < 0.5,
        )


def cut_view(image: Image.Image, view: View, size_px: int) -> RgbImage:
    """Cut a view out of an image and resize it.

    Args:
        image: RGB.
        view: square that has pixels of the image.
        size_px: side of the result.

    Returns:
        (size_px, size_px, 3)
    """
    right, bottom = view.left + view.side, view.top + view.side
    inside = (max(0.0, view.left), max(0.0, view.top), min(image.width, right), min(image.height, bottom))
    start_x, stop_x = _scale_range(inside[0] - view.left, inside[2] - view.left, view.side, size_px)
    start_y, stop_y = _scale_range(inside[1] - view.top, inside[3] - view.top, view.side, size_px)
    resized = image.resize((stop_x - start_x, stop_y - start_y), Image.Resampling.BICUBIC, box=inside)
    margins = ((start_y, size_px - stop_y), (start_x, size_px - stop_x), (0, 0))
    crop = np.pad(np.asarray(resized), margins, mode="edge")
    return np.ascontiguousarray(crop[:, ::-1]) if view.mirrored else crop


def _scale_range(start: float, stop: float, side: float, size_px: int) -> tuple[int, int]:
    """Return where a part of a side comes to lie in ``size_px`` pixels, at least one of them."""
    first = min(size_px - 1, round(start / side * size_px))
    return first, max(first + 1, round(stop / side * size_px))


class CropStage(Stage[Item, InstanceCrops]):
    """Stage that encodes the views of all instances of a sample, ``number`` in an item's payload.

    Args:
        samples: run of samples.
        encoder: image encoder of the priors.
        num_views: views of each instance.
        num_gpus: GPUs of one worker; 0 on machines without.
    """

    batch_size = 8  # COCO's fullest images have 90 instances: 0.5 GB of pixels if all have

    def __init__(self, samples: Location, encoder: EncoderConfig, num_views: int, num_gpus: float = 0.0) -> None:
        self._samples, self._config, self._num_views = resolve_location(samples), encoder, num_views
        self.resources = Resources(num_cpus=1.0, num_gpus=num_gpus)

    def setup(self) -> None:
        from generation.models.image_encoder import ImageEncoder

        self._reader, self._encoder = SampleReader(self._samples), ImageEncoder(self._config)

    def process(self, items: list[Item]) -> list[InstanceCrops | Rejected]:
        samples = [self._reader.read(item.payload["number"]) for item in items]
        pairs = zip(items, samples, strict=True)
        views = [view for item, sample in pairs for view in self._cut_views(sample, item.seed)]
        features = self._encoder.encode_images(views).astype(np.float16)
        features = features.reshape(-1, self._num_views, self._encoder.dim)  # (instances, views, dim)
        ends = np.cumsum([len(sample.instances) for sample in samples])
        parts = np.split(features, ends[:-1])
        return [_make_result(sample, part) for sample, part in zip(samples, parts, strict=True)]

    def _cut_views(self, sample: Sample, seed: int) -> Iterator[RgbImage]:
        """Yield the views of all instances, in their order."""
        image = decode_rgb_image(sample.image)
        for number, instance in enumerate(sample.instances):
            for view in choose_views(instance.box_xyxy, self._num_views, seed, number):
                yield cut_view(image, view, self._encoder.image_size_px)


def _make_result(sample: Sample, features: npt.NDArray[np.float16]) -> InstanceCrops | Rejected:
    if not np.isfinite(features).all():
        return Rejected(key=sample.key, reason="feature_not_finite")
    targets = {i for query in sample.queries for i in query.instances or ()}
    return InstanceCrops(key=sample.key, features=features, num_targets=len(targets))
