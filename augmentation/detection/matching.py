"""One-to-one matching of requested objects and detections by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from augmentation.relations.scene import SceneObject
from shards.boxes import iou


@dataclass(frozen=True, kw_only=True)
class Match:
    """A requested object and the detection that matches it."""

    requested_index: int
    """Index of the requested object."""

    detection_index: int
    """Index of the detection."""

    iou: float
    """IoU of both boxes, in (0, 1]."""


def match_objects(requested: Sequence[SceneObject], detections: Sequence[SceneObject]) -> list[Match]:
    """Match objects of one category whose boxes overlap, in the order of the detections.

    Each object is in at most one pair. The pairs have the largest possible sum of IoU (Hungarian algorithm).
    """
    overlaps = np.array(
        [
            iou(obj.box_xyxy, detection.box_xyxy) if obj.category == detection.category else 0.0
            for obj, detection in product(requested, detections)
        ]
    ).reshape(len(requested), len(detections))
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs = [
        Match(requested_index=int(row), detection_index=int(column), iou=float(overlaps[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] > 0
    ]
    return sorted(pairs, key=lambda pair: pair.detection_index)
