"""Which of the things that were asked for is which of those that were found: one to one, by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from augmentation.composers.composed import Asked
from augmentation.detection.detector import Found
from shards.boxes import iou


@dataclass(frozen=True, kw_only=True)
class Match:
    """One thing that was asked for and the one that was found for it."""

    asked: int
    """Index among the things asked for."""

    found: int
    """Index among the things found."""

    iou: float
    """Of their boxes, above 0."""


def matches(asked: Sequence[Asked], found: Sequence[Found]) -> list[Match]:
    """Pairs of one category whose boxes overlap, in the order of what was found.

    Each thing is in one pair at most; of all ways to pair them it is the one with the largest sum of IoU.
    """
    overlaps = np.array([[_overlap(one, other) for other in found] for one in asked]).reshape(len(asked), len(found))
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs = [
        Match(asked=int(row), found=int(column), iou=float(overlaps[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] > 0
    ]
    return sorted(pairs, key=lambda pair: pair.found)


def _overlap(asked: Asked, found: Found) -> float:
    return iou(asked.box_xyxy, found.box_xyxy) if asked.category == found.category else 0.0
