"""Matching of requested objects and detections, by hand."""

from __future__ import annotations

import pytest
from scene_examples import make_detections, request_boxes

from augmentation.detection.matching import Match, match_objects
from shards.boxes import iou


def test_iou_of_two_squares_that_share_a_quarter_is_a_seventh() -> None:
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0


def test_asked_and_found_things_are_paired_so_that_their_boxes_overlap_most() -> None:
    requested = request_boxes((0, 0, 10, 10), (4, 0, 14, 10), (50, 50, 60, 60))
    detections = make_detections((5, 0, 15, 10), (3, 0, 13, 10))
    # Best first would pair the two that are 9 / 11 alike and leave 5 / 15; this way it is 9 / 11 and 7 / 13.
    assert match_objects(requested, detections) == [
        Match(requested_index=1, detection_index=0, iou=pytest.approx(9 / 11)),
        Match(requested_index=0, detection_index=1, iou=pytest.approx(7 / 13)),
    ]
    assert match_objects(requested, make_detections((0, 0, 10, 10), category="ball")) == []
    assert match_objects((), detections) == [] == match_objects(requested, ())
