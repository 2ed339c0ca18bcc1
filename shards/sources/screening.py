"""Check of a dataset as a whole: how many queries are left out, and whether all boxes were read in a wrong way.

Single boxes of a wrong reading can be valid by chance. All boxes together show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.sources.sample import SourceSample
from shards.sources.validation import ROUNDING_PX, ValidationResult

Boxes = npt.NDArray[np.float64]
"""Boxes (n, 4)."""

MIN_LARGE_IMAGES = 20
"""Minimum number of boxes in large images that show that all of them end at 100 or 1,000."""

MIN_BOXES = 4
"""Minimum number of boxes that show a wrong reading."""

MIN_VALID_SHARE = 0.98
"""Minimum share of boxes that another reading makes valid, and maximum share of this one, for a hint."""

_TO_XYXY: Mapping[str, Boxes] = {
    "xyxy": np.eye(4),
    "xywh": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.float64),
    "cxcywh": np.array([[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]], np.float64),
}
"""Matrix from the four numbers of a format to xyxy."""

ABSENCE_RULES = frozenset({"missing_image", "outside_images"})
"""Rules of images that are not there; their queries do not count."""

DROPPING_RULES = frozenset({"bad_box", "empty_query", "other_size", "unreadable_image", "too_large_image"})
"""Rules of queries that are left out although their image is present."""


@dataclass(frozen=True, kw_only=True)
class Screening:
    """Findings about a dataset as a whole."""

    num_queries: int
    """Number of queries whose image is present."""

    num_dropped: int
    """Number of those that are left out."""

    empty_splits: tuple[str, ...]
    """Splits with queries of which none is left."""

    is_fractional: bool
    """Flag that no box is larger than one pixel, as of fractions of the image."""

    repeated_id: str | None
    """Id of several queries; None if each has its own."""

    causes: tuple[str, ...]
    """Likely causes with their remedy, one sentence each."""

    @property
    def dropped_share(self) -> float:
        """Share of the queries that is left out, in 0..1."""
        return self.num_dropped / self.num_queries if self.num_queries else 0.0

    def find_fault(self, max_dropped: float) -> str | None:
        """Return why the dataset must not be used as it was read, with the likely causes; None if it may be."""
        faults = []
        if self.is_fractional:
            faults.append("no box is larger than one pixel")
        if self.repeated_id is not None:
            faults.append(f"several queries have the id {self.repeated_id}; give each one its own")
        if self.dropped_share > max_dropped:
            share = f"{self.num_dropped:,} of {self.num_queries:,} queries ({100 * self.dropped_share:.1f} %)"
            faults.append(f"{share} are left out, more than {100 * max_dropped:g} %")
        if self.empty_splits and max_dropped < 1:
            faults.append(f"no query is left of the split {', '.join(self.empty_splits)}")
        return "; ".join([*faults, *self.causes]) if faults else None


def screen_dataset(
    samples: Iterable[SourceSample], validation: ValidationResult, box_format: str | None = None
) -> Screening:
    """Screen a dataset.

    Args:
        samples: samples as they were read.
        validation: result of their validation.
        box_format: format that the boxes were read in, ``xyxy``, ``xywh`` or ``cxcywh``; None if the file format
            decides it.
    """
    absent = {problem.image for problem in validation.problems if problem.rule in ABSENCE_RULES}
    present = [sample for sample in samples if sample.image_name not in absent]
    read = Counter(query.split for sample in present for query in sample.queries)
    present = [sample for sample in present if sample.image_name in validation.sizes]  # without those of damaged images
    left = Counter(query.split for sample in validation.samples for query in sample.queries)
    ids = Counter(query.query_id for sample in present for query in sample.queries)
    located = [(sample, query.box_xyxy) for sample in present for query in sample.queries if query.boxes_xyxy]
    boxes = np.array([box for _, box in located], np.float64).reshape(-1, 4)
    sizes = np.array([validation.sizes[sample.image_name] for sample, _ in located], np.float64).reshape(-1, 2)
    sides = np.abs(boxes[:, 2:] - boxes[:, :2])  # of fractions they are at most 1, whatever format they were read in
    is_fractional = len(boxes) >= MIN_BOXES and bool((sides <= 1).all() and (sizes > 2).all())
    return Screening(
        num_queries=read.total(),
        num_dropped=sum(validation.count_queries(rule) for rule in DROPPING_RULES),
        empty_splits=tuple(sorted(split for split in read if not left[split])),
        is_fractional=is_fractional,
        repeated_id=next((name for name, count in ids.items() if count > 1), None),
        causes=tuple(_find_causes(boxes, sizes, box_format, is_fractional)) if len(boxes) >= MIN_BOXES else (),
    )


def _find_causes(boxes: Boxes, sizes: Boxes, box_format: str | None, is_fractional: bool) -> Iterable[str]:
    """Yield other readings that make nearly all boxes valid, unless this one does."""
    if is_fractional:
        yield "they look like fractions of the image: multiply them by its width and height"
        return
    if _compute_valid_share(boxes, sizes) >= MIN_VALID_SHARE:
        for whole, parts in ((100, "hundredths"), (1000, "thousandths")):
            is_large = (sizes > 1.25 * whole).all(axis=1)
            if is_large.sum() >= MIN_LARGE_IMAGES and 0.9 * whole < boxes[is_large].max() <= whole:
                yield (
                    f"no box reaches beyond {whole:,} px, although images do: they look like {parts} of the image; if "
                    f"they are, multiply them by its width and height over {whole:,}"
                )
        return
    values = boxes
    if box_format is not None:
        values = boxes @ np.linalg.inv(_TO_XYXY[box_format]).T
        for name, matrix in _TO_XYXY.items():
            if name != box_format and _compute_valid_share(values @ matrix.T, sizes) >= MIN_VALID_SHARE:
                yield f"read as {name}, the boxes would be valid: try --fields.box-format {name}"
    scaled = values / 1000 * np.tile(sizes, 2)
    if (np.abs(values) <= 1000).all() and _compute_valid_share(scaled, sizes) >= MIN_VALID_SHARE:
        yield "as thousandths of the image, the boxes would be valid: multiply them by its width and height over 1,000"


def _compute_valid_share(boxes: Boxes, sizes: Boxes) -> float:
    """Compute the share of boxes that lie in their images, up to rounding."""
    low, high = boxes[:, :2], boxes[:, 2:]
    is_valid = (low < high) & (low >= -ROUNDING_PX) & (high <= sizes + ROUNDING_PX)
    return float(is_valid.all(axis=1).mean())
