"""Backgrounds of pasted scenes: usable images of a folder, and the categories in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from augmentation.composers.held_out import HeldOut
from augmentation.errors import AugmentationError
from shards.boxes import compute_area_px
from shards.image_names import normalize_image_name
from shards.images import IMAGE_SUFFIXES
from shards.sources.coco import CocoInstances

_MIN_COLOR_SPREAD = 3.0
"""Minimum mean difference of a pixel's channels, of 255, in a color image."""

_MAX_DRAWS = 32
"""Number of random backgrounds tried before all are searched; most are free of most categories."""


class Backgrounds:
    """The images below a folder in the order of their names, without held-out ones.

    Args:
        folder: listed at once; images are read when they are sampled.
        instances: COCO's instances file of the images. Images without an entry are skipped, since their objects are
            unknown. Without the file, every image counts as free of all categories.
        held_out: skipped images, by name, and by content when they are read.
        max_object_share: maximum share of an image that the box of one annotated object covers; close-ups are skipped.

    Raises:
        AugmentationError: the folder does not exist, or holds no image that may be used.
        SourceError: the instances file is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        instances: Path | None = None,
        held_out: HeldOut | None = None,
        max_object_share: float = 1.0,
    ) -> None:
        self.folder = folder
        self._held_out = held_out or HeldOut()
        if not folder.is_dir():
            raise AugmentationError(f"there are no backgrounds: {folder} is no folder; give one of images")
        all_paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        )
        self._annotations = _read_annotations(instances) if instances else None
        self._max_object_share = max_object_share
        reasons = {path: self._held_out.reason(path.name) or self._find_unfit_reason(path) for path in all_paths}
        self.excluded = Counter(reason for reason in reasons.values() if reason)
        self.paths = [path for path, reason in reasons.items() if not reason]
        self._require_any()

    def _find_unfit_reason(self, path: Path) -> str | None:
        if self._annotations is None:
            return None
        known = self._annotations.get(normalize_image_name(path.name))
        if known is None:
            return "not_in_instances"
        return "close_up" if known.largest_share > self._max_object_share else None

    def _require_any(self) -> None:
        if not self.paths:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(self.excluded.items()))
            raise AugmentationError(
                f"{self.folder} holds no background that may be used ({why or 'no image at all'}); "
                "give images of no validation or test split, and their instances file if any"
            )

    def exclude_held_out(self) -> None:
        """Skip every image with the bytes of a held-out one, whatever its name.

        Raises:
            AugmentationError: none is left.
        """
        reasons = [self._held_out.find_file_reason(path) for path in self.paths]
        self.excluded.update(reason for reason in reasons if reason)
        self.paths = [path for path, reason in zip(self.paths, reasons, strict=True) if not reason]
        self._require_any()

    @property
    def annotated_categories(self) -> frozenset[str]:
        """Return the categories that the instances file annotates."""
        return frozenset[str]().union(*(one.categories for one in (self._annotations or {}).values()))

    def is_free(self, path: Path, categories: frozenset[str]) -> bool:
        """Return whether none of the categories is annotated in a background."""
        return (
            self._annotations is None or not self._annotations[normalize_image_name(path.name)].categories & categories
        )

    def sample(self, categories: Iterable[str], random: Random) -> Path | None:
        """Sample a background with none of the categories; return None if every one holds some."""
        unwanted = frozenset(categories)
        for _ in range(_MAX_DRAWS):
            path = random.choice(self.paths)
            if self.is_free(path, unwanted):
                return path
        free = [path for path in self.paths if self.is_free(path, unwanted)]
        return random.choice(free) if free else None


@dataclass(frozen=True, kw_only=True)
class _BackgroundAnnotations:
    """Annotations of one background."""

    categories: frozenset[str]
    """Categories of all annotated objects, crowds included."""

    largest_share: float
    """Largest share of the image that the box of one object covers, without crowds."""


def _read_annotations(instances: Path) -> dict[str, _BackgroundAnnotations]:
    """Read the annotations by ``normalize_image_name``."""
    return {
        normalize_image_name(image.name): _BackgroundAnnotations(
            categories=frozenset(one.category for one in image.instances),
            largest_share=max(
                (compute_area_px(one.box_xyxy) for one in image.instances if not one.is_crowd), default=0.0
            )
            / (image.size[0] * image.size[1]),
        )
        for image in CocoInstances(instances)
        if image.size and min(image.size) > 0 and not image.faults  # an object that is left out may be of any category
    }


def is_gray(image: Image.Image) -> bool:
    """Return whether the image has almost no colors; colored objects would stand out in it."""
    pixels = np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.int16)
    return float(np.ptp(pixels, axis=2).mean()) < _MIN_COLOR_SPREAD


def crop_to_cover(image: Image.Image, size: tuple[int, int], random: Random) -> Image.Image:
    """Scale the image until it covers (width, height), and crop it at a random position."""
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
    box = (max(0.0, left), max(0.0, top), min(left + width, image.width), min(top + height, image.height))
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
