"""Where objects go: inside the image, in the order that the arrangement promises, and never on top of each other."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import sqrt
from random import Random
from typing import Any, get_args

import pytest

from augmentation.composers.layouts import LayoutConfig, PlannedContact, sample_layout, sort_far_to_near
from augmentation.planning.scene_spec import Arrangement
from augmentation.relations.scene import Contact, ContactKind
from shards.boxes import Box, compute_overlap_share

ARRANGEMENTS = get_args(Arrangement)
SIZES = ((96, 96), (112, 84), (480, 360), (640, 480))
CONFIG = LayoutConfig()


def _layouts(arrangement: Arrangement, count: int, clutter: int = 0, config: LayoutConfig = CONFIG) -> list[Any]:
    """Some layouts of objects that are as wide as high or a little less, on each size."""
    found = []
    for seed, (width, height) in enumerate(SIZES * 5):
        random = Random(seed)
        ratios = [random.uniform(0.8, 1.0) for _ in range(count + clutter)]
        boxes = sample_layout(arrangement, ratios, count, width, height, random, config)
        if boxes is not None:
            found.append((boxes, ratios, width, height))
    return found


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(("count", "clutter"), [(2, 0), (3, 3), (5, 1), (8, 0)])
def test_things_keep_their_shape_and_the_limits(arrangement: Arrangement, count: int, clutter: int) -> None:
    layouts = _layouts(arrangement, count, clutter)
    assert len(layouts) >= 18
    for boxes, ratios, width, height in layouts:
        assert len(boxes) == count + clutter
        for (x1, y1, x2, y2), ratio in zip(boxes, ratios, strict=True):
            assert (x2 - x1) / (y2 - y1) == pytest.approx(ratio)
            assert 0.0299 * width < x1 and x2 < 0.9701 * width and 0.0299 * height < y1 and y2 < 0.9701 * height
            size = sqrt((x2 - x1) * (y2 - y1) / (width * height))
            assert CONFIG.min_size / CONFIG.max_depth <= size <= CONFIG.max_size + 1e-9
        assert max(compute_overlap_share(a, b) for a, b in combinations(boxes, 2)) <= CONFIG.max_overlap


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_same_seed_gives_the_same_layout(arrangement: Arrangement) -> None:
    one, two = (sample_layout(arrangement, [1.0] * 4, 3, 320, 240, Random(5), CONFIG) for _ in range(2))
    assert one is not None and one == two
    assert one != sample_layout(arrangement, [1.0] * 4, 3, 320, 240, Random(6), CONFIG)


@pytest.mark.parametrize("count", [2, 5])
def test_one_thing_is_between_the_first_two_of_the_clutter(count: int) -> None:
    layouts = _layouts("between", count, 3)
    assert len(layouts) == 20
    for boxes, *_ in layouts:
        middle, start, end = boxes[0], boxes[count], boxes[count + 1]
        assert start[2] < middle[0] < middle[2] < end[0] or start[3] < middle[1] < middle[3] < end[1]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_a_row_goes_from_left_to_right_with_feet_on_a_line(count: int) -> None:
    for boxes, *_ in _layouts("row", count):
        assert all(left[2] < right[0] for left, right in pairwise(boxes))
        feet, mean_height = [box[3] for box in boxes], sum(box[3] - box[1] for box in boxes) / count
        assert max(feet) - min(feet) <= 0.25 * mean_height


@pytest.mark.parametrize("count", [2, 5])
def test_a_column_goes_from_top_to_bottom_with_middles_on_a_line(count: int) -> None:
    for boxes, *_ in _layouts("column", count):
        assert all(above[3] < below[1] for above, below in pairwise(boxes))
        middles = [(box[0] + box[2]) / 2 for box in boxes]
        assert max(middles) - min(middles) <= 0.35 * min(box[2] - box[0] for box in boxes)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 8])
def test_a_grid_has_two_rows_or_more_of_two_columns_or_more(count: int) -> None:
    for boxes, *_ in _layouts("grid", count):
        rows = _rows(boxes)
        assert len(rows) >= 2 and len(rows[0]) >= 2
        assert [len(row) for row in rows[:-1]] == [len(rows[0])] * (len(rows) - 1)
        assert all(left[2] < right[0] for row in rows for left, right in pairwise(row))


def _rows(boxes: tuple[Box, ...]) -> list[list[Box]]:
    """Split where the next one lies left of the one before."""
    rows = [[boxes[0]]]
    for before, box in pairwise(boxes):
        if box[0] < before[0]:
            assert all(other[3] < box[1] for other in rows[-1])
            rows.append([])
        rows[-1].append(box)
    return rows


def test_two_things_asked_for_as_a_grid_make_a_row() -> None:
    assert all(boxes[0][2] < boxes[1][0] for boxes, *_ in _layouts("grid", 2))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_each_thing_of_a_cluster_has_another_near_it(count: int) -> None:
    for boxes, *_ in _layouts("cluster", count):
        for box in boxes:
            size = sqrt((box[2] - box[0]) * (box[3] - box[1]))
            assert min(_gap(box, other) for other in boxes if other is not box) <= 0.3 * size


def _gap(a: Box, b: Box) -> float:
    return max(max(a[0], b[0]) - min(a[2], b[2]), max(a[1], b[1]) - min(a[3], b[3]), 0.0)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_in_depth_nearer_things_are_lower_and_larger_in_proportion(count: int) -> None:
    """Size = k (foot - horizon): any two objects give the same k, and with it the same horizon."""
    for boxes, *_ in _layouts("depth", count):
        ordered = [boxes[i] for i in sort_far_to_near(boxes)]
        feet = [box[3] for box in ordered]
        sizes = [sqrt((box[2] - box[0]) * (box[3] - box[1])) for box in ordered]
        assert all(a < b for a, b in pairwise(feet)) and all(a < b for a, b in pairwise(sizes))
        slopes = [
            (b - a) / (bottom - top) for (a, b), (top, bottom) in zip(pairwise(sizes), pairwise(feet), strict=True)
        ]
        assert slopes == pytest.approx([slopes[0]] * len(slopes), rel=1e-6)
        horizon = feet[0] - sizes[0] / slopes[0]
        assert 0 < horizon < feet[0]
        assert 1.2**0.5 < sizes[-1] / sizes[0] <= CONFIG.max_depth


def test_scattered_things_differ_in_size_unless_told_otherwise() -> None:
    alike = LayoutConfig(size_spread=0.0)
    spreads = [_spread(boxes) for boxes, *_ in _layouts("scatter", 4)]
    assert max(spreads) > 1.5
    assert all(_spread(boxes) == pytest.approx(1) for boxes, *_ in _layouts("scatter", 4, config=alike))


def _spread(boxes: tuple[Box, ...]) -> float:
    areas = sorted(sqrt((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in boxes)
    return areas[-1] / areas[0]


def test_farther_things_are_drawn_first() -> None:
    assert sort_far_to_near([(0, 0, 5, 30), (0, 0, 5, 10), (0, 0, 5, 20)]) == [1, 2, 0]


def test_the_overlap_is_a_share_of_the_smaller_box() -> None:
    assert compute_overlap_share((0, 0, 10, 10), (5, 0, 105, 100)) == 0.5
    assert compute_overlap_share((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0


def test_what_cannot_fit_is_none() -> None:
    wide = [8.0] * 8
    assert sample_layout("row", wide, 8, 96, 96, Random(0), CONFIG) is None
    assert sample_layout("column", [0.1] * 8, 8, 96, 96, Random(0), CONFIG) is None


@pytest.mark.parametrize("num", [0, 3])
def test_the_number_of_the_category_is_one_of_the_things(num: int) -> None:
    with pytest.raises(ValueError, match=r"num_arranged must lie in \[1, 2\]"):
        sample_layout("row", [1.0, 1.0], num, 96, 96, Random(0), CONFIG)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_an_aspect_ratio_is_positive_and_finite(ratio: float) -> None:
    with pytest.raises(ValueError, match="aspect ratios must be positive and finite"):
        sample_layout("row", [1.0, ratio], 2, 96, 96, Random(0), CONFIG)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_size": 0.5}, "0 < min_size <= max_size < 1 must hold, got 0.5 and 0.42"),
        ({"max_cover": 0.0}, r"max_cover must lie in \(0, 1\]"),
        ({"border_share": 0.5}, r"border_share must lie in \[0, 0.5\)"),
        ({"size_spread": 1.0}, "size_spread must lie in"),
        ({"gap": -0.1}, "gap must be at least 0"),
        ({"max_depth": 1.0}, "max_depth must be at least 1.2"),
        ({"max_tries": 0}, "tries must be at least 1"),
    ],
)
def test_limits_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayoutConfig(**changes)


@pytest.mark.parametrize("count", [2, 5])
def test_objects_in_contact_touch_and_all_others_are_apart(count: int) -> None:
    """A span of 0.2 to 0.8: objects are narrower than the upper edge, and above it."""
    kinds: tuple[ContactKind, ContactKind] = ("on", "in")
    contacts = [PlannedContact(kind=kind, top_span=(0.2, 0.8)) for kind in kinds]
    for seed in range(20):
        boxes = sample_layout("contact", [1.0] * (count + 3), count, 480, 360, Random(seed), CONFIG, contacts)
        assert boxes is not None and len(boxes) == count + 3
        for i, kind in enumerate(kinds):
            (x1, y1, x2, y2), (left, top, right, bottom) = boxes[i], boxes[count + i]
            assert left + 0.2 * (right - left) <= x1 and x2 <= left + 0.8 * (right - left)
            share = (y2 - top) / (bottom - top if kind == "on" else y2 - y1)
            assert 0 < share <= (0.12 if kind == "on" else 0.28) + 1e-9 and y1 < top
        pairs = [{i, count + i} for i in range(2)]
        for i, j in combinations(range(count + 3), 2):
            if {i, j} in pairs:
                continue
            gaps = [max(boxes[j][k] - boxes[i][k + 2], boxes[i][k] - boxes[j][k + 2]) for k in (0, 1)]
            size = min(sqrt((b[2] - b[0]) * (b[3] - b[1])) for b in (boxes[i], boxes[j]))
            assert max(gaps) >= (0.25 * size if i < 2 or count <= j < count + 2 else 0)


def test_an_object_on_another_one_is_pasted_after_it_and_one_in_it_before() -> None:
    boxes: list[Box] = [(20, 0, 40, 22), (120, 0, 140, 30), (10, 20, 50, 60), (110, 20, 150, 50), (0, 40, 5, 55)]
    contacts = [
        Contact(kind="on", object_index=0, anchor_index=2),
        Contact(kind="in", object_index=1, anchor_index=3),
    ]
    assert sort_far_to_near(boxes, contacts) == [1, 3, 4, 2, 0]
