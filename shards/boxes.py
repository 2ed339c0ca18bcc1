"""Arithmetic of single boxes as tuples; the trainer has that of batches as tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shards.errors import SchemaError

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the stored image, 0-based, right and bottom exclusive."""


def validate_box(values: Any, width: int, height: int, where: str) -> Box:
    """Return ``values`` as a box of positive area inside a ``width`` x ``height`` image.

    Raises:
        SchemaError: naming ``where``, the rule and the value.
    """
    try:
        x1, y1, x2, y2 = map(float, values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"{where}: a box is four numbers x1, y1, x2, y2, got {values!r}") from error
    if 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
        return (x1, y1, x2, y2)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise SchemaError(f"{where}: box {values!r} is not finite")
    if x2 <= x1 or y2 <= y1:
        raise SchemaError(f"{where}: box ({x1}, {y1}, {x2}, {y2}) has no area; x2 > x1 and y2 > y1 must hold")
    raise SchemaError(f"{where}: box ({x1}, {y1}, {x2}, {y2}) reaches outside the {width} x {height} image")


def compute_enclosing_box(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around one or more boxes."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return (min(x1), min(y1), max(x2), max(y2))


def compute_area_px(box: Box) -> float:
    """Return the area of a box in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Compute the intersection over union of two boxes of positive area; 0 if they only touch."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (compute_area_px(a) + compute_area_px(b) - width * height)


def compute_overlap_share(a: Box, b: Box) -> float:
    """Compute the share of the smaller box that lies in the other, in [0, 1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height) / min(compute_area_px(a), compute_area_px(b))
