"""Filters of detected scenes; each rejects with a reason that the report counts.

Requested counts are never used as labels: if three cups were requested and the detector reports four, the scene has
four cups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from augmentation.detection.detected import DetectedScene, Detection
from pipeline import LimitedConfig, Rejected, ShareBelowOne
from shards.boxes import Box, compute_overlap_share


@dataclass(frozen=True, kw_only=True)
class SceneFilterConfig(LimitedConfig):
    """Limits of usable scenes."""

    min_objects: int = 2
    """Minimum number of objects of the scene's category, at least 2."""

    max_objects: int = 8
    """Maximum number of objects of the scene's category."""

    max_overlap: ShareBelowOne = 0.4
    """Maximum share of the smaller of two boxes that lies in the other, in [0, 1). Above it, both may be one
    object, or an object and a part of it."""

    min_border_share: ShareBelowOne = 0.01
    """Minimum distance of the category's objects from the border, as a share of the image's extent."""

    min_requested_iou: ShareBelowOne = 0.75
    """Minimum IoU of a detection with its requested object to be in place, in [0, 1). Every pasted object must be
    detected in place. A scene is in perspective only if all objects of its category are in place."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.min_objects <= self.max_objects:
            raise ValueError(
                f"2 <= min_objects <= max_objects must hold, got {self.min_objects} and {self.max_objects}"
            )


def find_rejection(detected: DetectedScene, config: SceneFilterConfig) -> Rejected | None:
    """Find the first rule that the scene breaks; return None if it breaks none."""
    for reason, detail in _check_rules(detected, config):
        if detail:
            return detected.reject(reason, f"{detail}; the prompt was {detected.composed.spec.prompt!r}")
    return None


def _check_rules(detected: DetectedScene, config: SceneFilterConfig) -> Iterator[tuple[str, str]]:
    """Yield the reason of each rule with the detail of its violation; the detail is empty if the scene keeps it."""
    own = [one for one in detected.detections if one.category == detected.category]
    yield "uncertain_detection", _format_detections(one for one in detected.detections if not one.is_confident)
    yield "wrong_category", "" if own else _format_detections(detected.detections)
    yield "too_few_instances", f"{len(own)} detected" if len(own) < config.min_objects else ""
    yield "too_many_instances", f"{len(own)} detected" if len(own) > config.max_objects else ""
    overlapping = (
        (a, b)
        for a, b in combinations(detected.detections, 2)
        if compute_overlap_share(a.box_xyxy, b.box_xyxy) > config.max_overlap
    )
    yield "overlapping_boxes", _format_detections(next(overlapping, ()))
    near_border = (one for one in own if _compute_border_share(one.box_xyxy, *detected.size) < config.min_border_share)
    yield "near_border", _format_detections(near_border)


def _compute_border_share(box: Box, width: int, height: int) -> float:
    """Compute the distance to the nearest border, as a share of the image's extent."""
    x1, y1, x2, y2 = box
    return min(x1 / width, y1 / height, 1 - x2 / width, 1 - y2 / height)


def _format_detections(detections: Iterable[Detection]) -> str:
    return ", ".join(
        f"{one.category} {one.score:.2f} at {tuple(round(edge, 1) for edge in one.box_xyxy)}" for one in detections
    )
