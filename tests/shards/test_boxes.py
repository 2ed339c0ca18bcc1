"""Arithmetic of single boxes."""

from __future__ import annotations

from typing import Any

import pytest

from shards.boxes import compute_area_px, compute_enclosing_box, compute_overlap_share, iou, validate_box
from shards.errors import SchemaError


@pytest.mark.parametrize("values", [(0, 0, 10, 8), [1, 2, 5, 6], ("1", 2, 1.5, 2.5)])
def test_a_box_may_fill_its_image(values: Any) -> None:
    assert validate_box(values, 10, 8, "box") == tuple(map(float, values))


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ((-0.5, 1, 5, 6), "reaches outside the 10 x 8 image"),
        ((1, -0.5, 5, 6), "reaches outside the 10 x 8 image"),
        ((1, 1, 10.5, 6), "reaches outside the 10 x 8 image"),
        ((1, 1, 5, 8.5), "reaches outside the 10 x 8 image"),
        ((5, 1, 5, 6), "has no area"),
        ((6, 1, 5, 6), "has no area"),
        ((1, 6, 5, 6), "has no area"),
        ((1, 7, 5, 6), "has no area"),
        ((1, 1, float("nan"), 6), "is not finite"),
        ((1, 1, 5, float("inf")), "is not finite"),
        ((1, 1, 5), "a box is four numbers"),
        ((1, 1, 5, "six"), "a box is four numbers"),
        ((1, 1, 5, 10**400), "a box is four numbers"),
        (None, "a box is four numbers"),
    ],
)
def test_a_box_that_breaks_a_rule_is_refused_with_the_rule(values: Any, rule: str) -> None:
    with pytest.raises(SchemaError, match=f"query 3: .*{rule}"):
        validate_box(values, 10, 8, "query 3")


WIDE, TALL = (0.5, 1.0, 4.5, 3.0), (2.5, 0.0, 6.5, 2.5)
"""Boxes of 4 x 2 and 4 x 2.5 that share 2 x 1.5."""


def test_the_overlap_of_oblong_boxes_is_the_product_of_both_axes() -> None:
    assert (compute_area_px(WIDE), compute_area_px(TALL)) == (8, 10)
    assert iou(WIDE, TALL) == iou(TALL, WIDE) == 3 / 15
    assert compute_overlap_share(WIDE, TALL) == compute_overlap_share(TALL, WIDE) == 3 / 8


@pytest.mark.parametrize("other", [(4.5, 0, 8, 4), (6, 0, 8, 4), (0, 4.5, 4, 8), (0, 6, 4, 8)])
def test_boxes_apart_on_one_axis_share_nothing(other: tuple[float, float, float, float]) -> None:
    assert iou((0, 0, 4, 4), other) == compute_overlap_share((0, 0, 4, 4), other) == 0


def test_an_overlap_of_half_a_pixel_counts() -> None:
    assert iou((0, 0, 4, 4), (3.5, 0, 7.5, 4)) == iou((0, 0, 4, 4), (0, 3.5, 4, 7.5)) == 2 / 30
    assert compute_overlap_share((0, 0, 4, 4), (3.5, 0, 7.5, 4)) == 2 / 16
    assert compute_overlap_share((0, 0, 4, 4), (0, 3.5, 4, 7.5)) == 2 / 16


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
