"""Arithmetic of plain boxes, as tuples; batches of boxes as tensors are the trainer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the schema itself computes with boxes
    from shards.schema import Box


def compute_area_px(box: Box) -> float:
    """Area of a box in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes of positive area; 0 where they only touch."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (compute_area_px(a) + compute_area_px(b) - width * height)


def compute_overlap_share(a: Box, b: Box) -> float:
    """Share of the smaller box that lies in the other."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height) / min(compute_area_px(a), compute_area_px(b))
