"""Which of the objects that were asked for is which of those that were found: one to one, by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from augmentation.composers.composed import RequestedObject
from augmentation.detection.detector import Detection
from shards.boxes import iou


@dataclass(frozen=True, kw_only=True)
class Match:
    """One object that was asked for and the one that was found for it."""

    requested_index: int
    """Index among the objects asked for."""

    detection_index: int
    """Index among the objects found."""

    iou: float
    """Of their boxes, above 0."""


def match_objects(requested: Sequence[RequestedObject], detections: Sequence[Detection]) -> list[Match]:
    """Pairs of one category whose boxes overlap, in the order of what was found.

    Each object is in one pair at most; of all ways to pair them it is the one with the largest sum of IoU.
    """
    overlaps = np.array([[_compute_iou(one, other) for other in detections] for one in requested]).reshape(
        len(requested), len(detections)
    )
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs = [
        Match(requested_index=int(row), detection_index=int(column), iou=float(overlaps[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] > 0
    ]
    return sorted(pairs, key=lambda pair: pair.detection_index)


def _compute_iou(request: RequestedObject, detection: Detection) -> float:
    return iou(request.box_xyxy, detection.box_xyxy) if request.category == detection.category else 0.0
