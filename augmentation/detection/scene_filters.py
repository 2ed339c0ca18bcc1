"""When a scene is used: rules over what was found, each with a reason that the report counts.

What was asked for decides only which category the queries are about. How many of it there are is what was found: a
scene of four cups that was asked for as three is a scene of four cups. Only ``pasted`` knows what is in its images:
a object that it put there and that was not found, or one found that it did not put there, would make queries false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from augmentation.detection.detected import DetectedScene, Detection
from augmentation.detection.matching import match_objects
from pipeline import Rejected
from shards.boxes import Box, compute_overlap_share


@dataclass(frozen=True, kw_only=True)
class SceneFilterConfig:
    """The limits within which a scene is clear."""

    min_objects: int = 2
    """Of the category asked for; fewer leave nothing to tell apart."""

    max_objects: int = 8
    max_overlap: float = 0.4
    """Share of the smaller of two boxes that may lie in the other: more are one object twice, a part, or a group."""

    min_border_share: float = 0.01
    """Objects of the category that come nearer to the border, as a share of the image, may be cut off by it."""

    min_requested_iou: float = 0.75
    """A object lies where it was put if it was found with a box that overlaps its own so much. Each that was pasted has
    to; a scene counts as seen in perspective only if all objects of its category do."""

    def __post_init__(self) -> None:
        if not 2 <= self.min_objects <= self.max_objects:
            raise ValueError(
                f"2 <= min_objects <= max_objects must hold, got {self.min_objects} and {self.max_objects}"
            )
        for name in ("max_overlap", "min_border_share", "min_requested_iou"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


def find_rejection(detected: DetectedScene, config: SceneFilterConfig) -> Rejected | None:
    """Why the scene cannot be used, by the first rule it breaks; None if it can."""
    rules: Sequence[tuple[str, Callable[[DetectedScene, SceneFilterConfig], str]]] = (
        ("uncertain_detection", _check_confidence),
        ("wrong_category", _check_category),
        ("missed_instance", _check_missed),
        ("unexpected_instance", _check_unexpected),
        ("too_few_instances", _check_too_few),
        ("too_many_instances", _check_too_many),
        ("overlapping_boxes", _check_overlaps),
        ("near_border", _check_border),
    )
    for reason, check in rules:
        if detail := check(detected, config):
            return detected.reject(reason, f"{detail}; asked for {detected.composed.spec.prompt!r}")
    return None


def _get_category_detections(detected: DetectedScene) -> list[Detection]:
    return [one for one in detected.detections if one.category == detected.category]


def _check_confidence(detected: DetectedScene, config: SceneFilterConfig) -> str:
    return _format_detections(one for one in detected.detections if not one.is_confident)


def _check_category(detected: DetectedScene, config: SceneFilterConfig) -> str:
    """Something was found, and none of it is what was asked for."""
    return "" if _get_category_detections(detected) else _format_detections(detected.detections)


def _check_missed(detected: DetectedScene, config: SceneFilterConfig) -> str:
    """Something was pasted and not found. Of a layout nothing follows: whether a model drew all of it is not known."""
    if detected.composed.composer != "pasted":
        return ""
    pairs = match_objects(detected.composed.requested, detected.detections)
    seen = {pair.requested_index for pair in pairs if pair.iou >= config.min_requested_iou}
    missed = (one for i, one in enumerate(detected.composed.requested) if i not in seen)
    return ", ".join(f"{one.category} pasted at {_round_box(one.box_xyxy)} was not found" for one in missed)


def _check_unexpected(detected: DetectedScene, config: SceneFilterConfig) -> str:
    """More of something that was pasted was found than was pasted: either nobody annotated it, or it is not there."""
    if detected.composed.composer != "pasted":
        return ""
    known = {pair.detection_index for pair in match_objects(detected.composed.requested, detected.detections)}
    pasted = {one.category for one in detected.composed.requested}
    return _format_detections(
        one for i, one in enumerate(detected.detections) if one.category in pasted and i not in known
    )


def _check_too_few(detected: DetectedScene, config: SceneFilterConfig) -> str:
    num = len(_get_category_detections(detected))
    return f"found {num}" if num < config.min_objects else ""


def _check_too_many(detected: DetectedScene, config: SceneFilterConfig) -> str:
    num = len(_get_category_detections(detected))
    return f"found {num}" if num > config.max_objects else ""


def _check_overlaps(detected: DetectedScene, config: SceneFilterConfig) -> str:
    for a, b in combinations(detected.detections, 2):
        if compute_overlap_share(a.box_xyxy, b.box_xyxy) > config.max_overlap:
            return _format_detections((a, b))
    return ""


def _check_border(detected: DetectedScene, config: SceneFilterConfig) -> str:
    return _format_detections(
        one
        for one in _get_category_detections(detected)
        if _compute_border_share(one.box_xyxy, *detected.size) < config.min_border_share
    )


def _compute_border_share(box: Box, width: int, height: int) -> float:
    """Distance to the nearest border as a share of the image's extent there."""
    x1, y1, x2, y2 = box
    return min(x1 / width, y1 / height, 1 - x2 / width, 1 - y2 / height)


def _format_detections(detections: Iterable[Detection]) -> str:
    return ", ".join(f"{one.category} {one.score:.2f} at {_round_box(one.box_xyxy)}" for one in detections)


def _round_box(box: Box) -> tuple[float, ...]:
    return tuple(round(edge, 1) for edge in box)
