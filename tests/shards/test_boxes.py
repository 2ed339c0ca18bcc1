"""Arithmetic of single boxes."""

from __future__ import annotations

from shards.boxes import compute_area_px, compute_enclosing_box, compute_overlap_share, iou


def test_boxes_of_4_x_4_that_overlap_by_half_share_a_third() -> None:
    assert iou((0, 0, 4, 4), (2, 0, 6, 4)) == 8 / 24
    assert iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0  # they touch
    assert iou((0, 0, 4, 4), (6, 6, 9, 9)) == 0  # apart on both axes: two negative sides give no area


def test_a_box_inside_another_overlaps_with_all_of_itself() -> None:
    assert compute_overlap_share((0, 0, 10, 10), (1, 1, 3, 3)) == 1
    assert compute_overlap_share((0, 0, 4, 4), (3, 0, 5, 2)) == 0.5
    assert compute_overlap_share((0, 0, 4, 4), (6, 6, 9, 9)) == 0


def test_the_enclosing_box_reaches_to_the_outermost_edges() -> None:
    assert compute_enclosing_box([(2, 1, 5, 4), (0, 2, 3, 9)]) == (0, 1, 5, 9)
    assert compute_area_px((0, 1, 5, 9)) == 40
