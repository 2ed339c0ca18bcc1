"""Rejections of unclear scenes, each with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from scene_examples import THREE, label_detections, make_detections

from augmentation.detection.detected import Detection
from augmentation.detection.scene_filters import SceneFilterConfig
from pipeline import Rejected
from shards.boxes import Box

GRID: tuple[Box, ...] = tuple((10.0 * i + 2, 20, 10.0 * i + 8, 30) for i in range(9))


@pytest.mark.parametrize(
    ("detections", "reason", "detail"),
    [
        ((), "too_few_instances", "0 detected; the prompt was 'three cups'"),
        (make_detections(THREE[0]), "too_few_instances", "1 detected"),
        (make_detections(*GRID), "too_many_instances", "9 detected"),
        (make_detections(*THREE, category="ball"), "wrong_category", "ball 0.90 at"),
        (
            (*make_detections(*THREE), *make_detections((1, 1, 9, 9), score=0.4, sure=False)),
            "uncertain_detection",
            "cup 0.40 at (1, 1",
        ),
        ((*make_detections(*THREE), *make_detections((42, 30, 57, 50))), "overlapping_boxes", "(42, 30, 57, 50)"),
        ((*make_detections(*THREE), *make_detections((42, 30, 57, 50), category="ball")), "overlapping_boxes", "ball"),
        (
            (*make_detections(*THREE), *make_detections((45, 35, 50, 40))),
            "overlapping_boxes",
            "(45, 35, 50, 40)",
        ),  # a part
        (make_detections(*THREE[:2], (80, 30, 99.5, 50)), "near_border", "(80, 30, 99.5, 50)"),
        (make_detections((40, 30, 60, 50), (47.5, 37.5, 67.5, 57.5)), "no_verified_query", "cup at (40"),
    ],
)
def test_an_unclear_scene_is_rejected_with_its_reason(
    detections: tuple[Detection, ...], reason: str, detail: str
) -> None:
    result = label_detections(detections)
    assert isinstance(result, Rejected)
    assert result.key == "scene-1" and result.reason == reason and detail in result.detail.replace(".0", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_objects": 1}, "got 1 and 8"),
        ({"max_objects": 1}, "got 2 and 1"),
        ({"max_overlap": 1.0}, "max_overlap must lie in"),
        ({"min_requested_iou": 1.0}, "min_requested_iou must lie in"),
    ],
)
def test_limits_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneFilterConfig(**changes)
