"""Relation programs on scenes that can be worked out by hand, and against a second reading on random ones."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.errors import AugmentationError
from augmentation.programs import (
    Category,
    Extreme,
    Middle,
    Ordinal,
    Program,
    Region,
    WithAttribute,
    flip,
    from_json,
    run,
    to_json,
)
from augmentation.queries import repertoire
from augmentation.scene import Scene, Thing, flip_scene
from shards.schema import SchemaError

CUP = Category(name="cup")


def _scene(*centres: tuple[float, float], size: float = 10, category: str = "cup", **facts: list[str]) -> Scene:
    """Square things of a category at these centres in a picture of 100 x 100."""
    half = size / 2
    things = tuple(
        Thing(
            box_xyxy=(x - half, y - half, x + half, y + half),
            category=category,
            attributes={kind: values[i] for kind, values in facts.items() if values[i]},
        )
        for i, (x, y) in enumerate(centres)
    )
    return Scene(width=100, height=100, things=things)


ROW = _scene((50, 48), (10, 50), (90, 52), (30, 50), (70, 50))
"""From left to right: 1, 3, 0, 4, 2."""


@pytest.mark.parametrize(
    ("program", "selected"),
    [
        (CUP, {0, 1, 2, 3, 4}),
        (Category(name="ball"), set()),
        (Extreme(of=CUP, side="left"), {1}),
        (Extreme(of=CUP, side="right"), {2}),
        (Extreme(of=CUP, side="top"), set()),
        (Ordinal(of=CUP, rank=1, side="left"), {1}),
        (Ordinal(of=CUP, rank=2, side="left"), {3}),
        (Ordinal(of=CUP, rank=2, side="right"), {4}),
        (Ordinal(of=CUP, rank=5, side="left"), {2}),
        (Ordinal(of=CUP, rank=6, side="left"), set()),
        (Middle(of=CUP), {0}),
        (Region(of=CUP, region="left"), {1, 3}),
        (Region(of=CUP, region="middle"), set()),
        (Extreme(of=Region(of=CUP, region="right"), side="right"), {2}),
    ],
)
def test_a_row_of_five(program: Program, selected: set[int]) -> None:
    assert run(program, ROW) == selected


def test_the_middle_of_the_picture_is_said_if_nothing_else_is_near_it() -> None:
    assert run(Region(of=CUP, region="middle"), _scene((50, 45), (80, 50), (20, 20))) == {0}
    assert run(Region(of=CUP, region="middle"), _scene((50, 45), (70, 50), (20, 20))) == set()


def test_a_corner_is_a_side_of_a_side() -> None:
    grid = _scene((25, 25), (75, 25), (25, 75), (75, 75))
    corner = Region(of=Region(of=CUP, region="bottom"), region="left")
    assert run(corner, grid) == {2}
    assert run(Extreme(of=CUP, side="left"), grid) == set()


def test_other_categories_do_not_count() -> None:
    balls = _scene((5, 50), (95, 50), category="ball").things
    scene = Scene(width=100, height=100, things=(*ROW.things, *balls))
    assert run(Extreme(of=CUP, side="left"), scene) == {1}
    assert run(Extreme(of=Category(name="ball"), side="left"), scene) == {5}


def test_attributes_filter_before_positions_are_compared() -> None:
    scene = _scene((10, 50), (30, 50), (70, 50), colour=["blue", "red", "red"])
    red = WithAttribute(of=CUP, kind="colour", value="red")
    assert run(red, scene) == {1, 2}
    assert run(Extreme(of=red, side="left"), scene) == {1}
    assert run(WithAttribute(of=CUP, kind="colour", value="green"), scene) == set()


def test_nothing_is_said_of_an_attribute_that_is_unknown_of_one_thing() -> None:
    scene = _scene((10, 50), (30, 50), colour=["red", ""])
    assert run(WithAttribute(of=CUP, kind="colour", value="red"), scene) == set()


@pytest.mark.parametrize(("gap", "selected"), [(6, {0}), (5.9, set()), (0, set())])
def test_small_things_are_in_order_from_6_percent_of_the_picture_on(gap: float, selected: set[int]) -> None:
    scene = _scene((40, 50), (40 + gap, 50), size=4)
    assert run(Extreme(of=CUP, side="left"), scene) == selected


@pytest.mark.parametrize(("gap", "selected"), [(16, {0}), (15.9, set())])
def test_large_things_are_in_order_from_40_percent_of_their_size_on(gap: float, selected: set[int]) -> None:
    scene = _scene((40, 50), (40 + gap, 50), size=40)
    assert run(Extreme(of=CUP, side="left"), scene) == selected


@pytest.mark.parametrize(("x", "selected"), [(36, {0}), (37, set()), (49, set()), (50, set())])
def test_a_side_of_the_picture_is_its_first_36_percent(x: float, selected: set[int]) -> None:
    assert run(Region(of=CUP, region="left"), _scene((x, 50), (80, 50))) == selected


@pytest.mark.parametrize(("x", "selected"), [(45, set()), (50, {0})])
def test_what_is_borderline_on_a_side_silences_the_whole_set(x: float, selected: set[int]) -> None:
    assert run(Region(of=CUP, region="left"), _scene((10, 50), (x, 50))) == selected


def test_one_thing_alone_is_no_extreme() -> None:
    assert run(Extreme(of=CUP, side="left"), _scene((10, 50))) == set()


@pytest.mark.parametrize(
    ("centres", "selected"),
    [
        ([(10, 50), (50, 55), (90, 60)], {1}),
        ([(50, 10), (52, 50), (48, 90)], {1}),
        ([(10, 10), (50, 50), (90, 90)], {1}),
        ([(10, 50), (50, 10), (90, 90)], set()),
        ([(10, 50), (90, 50)], set()),
        ([(10, 50), (30, 50), (60, 50), (90, 50)], set()),
        ([(10, 50), (14, 50), (90, 50)], set()),
    ],
    ids=["row", "column", "diagonal", "triangle", "two", "four", "unclear neighbours"],
)
def test_the_middle_one_needs_an_odd_line(centres: list[tuple[float, float]], selected: set[int]) -> None:
    assert run(Middle(of=CUP), _scene(*centres)) == selected


def test_noise_silences_what_is_only_just_clear() -> None:
    scene = _scene((40, 50), (48, 50), size=20)
    assert run(Extreme(of=CUP, side="left"), scene) == {0}
    # each centre can move by 0.03 * 20 = 0.6 and each size grow to 21.2: 8 - 1.2 < 0.4 * 21.2
    assert run(Extreme(of=CUP, side="left"), scene, noise=0.03) == set()
    # 10 - 1.2 > 0.4 * 21.2
    assert run(Extreme(of=CUP, side="left"), _scene((40, 50), (50, 50), size=20), noise=0.03) == {0}


def test_programs_survive_json() -> None:
    program = Ordinal(of=WithAttribute(of=CUP, kind="colour", value="red"), rank=2, side="top")
    record = to_json(program)
    assert record == {
        "op": "ordinal",
        "of": {"op": "with_attribute", "of": {"op": "category", "name": "cup"}, "kind": "colour", "value": "red"},
        "rank": 2,
        "side": "top",
    }
    assert from_json(json.loads(json.dumps(record))) == program


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"op": "nearest"}, "unknown operator 'nearest'; known are category"),
        ({}, "unknown operator None"),
        ({"op": "category"}, r"category takes \['name'\], got \[\]"),
        ({"op": "extreme", "of": {"op": "category", "name": "cup"}, "side": "up"}, "one of left, right, top, bottom"),
        ({"op": "ordinal", "of": {"op": "category", "name": "a"}, "side": "top", "rank": 0}, "counts from 1, got 0"),
    ],
)
def test_a_record_that_is_no_program_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentationError, match=message):
        from_json(record)


def test_a_thing_outside_the_picture_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"thing 0 \(cup\).*outside the 100 x 100"):
        _scene((99, 50))


def test_the_mirror_swaps_left_and_right_only() -> None:
    corner = Region(of=Region(of=CUP, region="top"), region="left")
    assert flip(corner) == Region(of=Region(of=CUP, region="top"), region="right")
    assert flip(Ordinal(of=CUP, rank=2, side="bottom")) == Ordinal(of=CUP, rank=2, side="bottom")
    assert flip_scene(_scene((10, 20))).things[0].box_xyxy == (85, 15, 95, 25)


EDGES = st.integers(0, 40 * 64)
BOXES = st.tuples(EDGES, EDGES, st.integers(64, 20 * 64), st.integers(64, 20 * 64))


@st.composite
def crowded_scenes(draw: st.DrawFn) -> Scene:
    """Scenes that hypothesis can shrink, with edges and gaps that often lie exactly on a threshold."""
    things = tuple(
        Thing(
            box_xyxy=(x / 64, y / 64, (x + w) / 64, (y + h) / 64),
            category=draw(st.sampled_from(["cup", "cup", "ball"])),
            attributes={"colour": draw(st.sampled_from(["red", "blue"]))},
        )
        for x, y, w, h in draw(st.lists(BOXES, min_size=1, max_size=6))
    )
    return Scene(width=60, height=60, things=things)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(crowded_scenes())
def test_a_mirrored_program_means_the_same_thing_in_the_mirrored_scene(scene: Scene) -> None:
    mirrored = flip_scene(scene)
    for program in repertoire(scene, "cup"):
        for noise in (0.0, 0.03):
            assert run(flip(program), mirrored, noise) == run(program, scene, noise)
        assert flip(flip(program)) == program


@settings(max_examples=500, derandomize=True, deadline=None)
@given(crowded_scenes())
def test_both_readings_agree_on_scenes_full_of_ties(scene: Scene) -> None:
    _assert_both_readings_agree(scene)


@settings(max_examples=2000, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_both_readings_agree_on_random_scenes(seed: int) -> None:
    _assert_both_readings_agree(random_scene(seed))


def _assert_both_readings_agree(scene: Scene) -> None:
    for program in repertoire(scene, "cup"):
        assert run(program, scene) == meaning(to_json(program), scene), program


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_what_is_said_with_noise_stays_so_however_the_boxes_move(seed: int) -> None:
    scene, random = random_scene(seed), Random(seed)
    others = [jittered(scene, 0.03, random) for _ in range(4)]
    for program in repertoire(scene, "cup"):
        if selected := run(program, scene, noise=0.03):
            assert all(run(program, other) == selected for other in (scene, *others)), program
