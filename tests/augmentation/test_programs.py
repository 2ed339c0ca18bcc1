"""Relation programs on scenes that can be worked out by hand, and against a second reading on random ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any, get_args

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.errors import AugmentationError
from augmentation.queries.generator import repertoire
from augmentation.relations.evaluator import Reader, run
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    Extreme,
    Line,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Program,
    Region,
    Superlative,
    WithAttribute,
    flip,
    from_json,
    to_json,
)
from augmentation.relations.scene import Scene, Thing, flip_scene
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


@pytest.mark.parametrize(("height", "selected"), [(12.5, {0}), (12.4, set())])
def test_the_tallest_is_taller_by_a_quarter(height: float, selected: set[int]) -> None:
    scene = _boxes((10, 10, 20, 10 + height), (40, 10, 90, 20))
    assert run(Superlative(of=CUP, measure="tallest"), scene) == selected
    assert run(Superlative(of=CUP, measure="shortest"), scene) == ({1} if selected else set())


@pytest.mark.parametrize(("width", "selected"), [(15, {0}), (14.9, set())])
def test_the_biggest_has_one_and_a_half_times_the_area(width: float, selected: set[int]) -> None:
    scene = _boxes((10, 10, 10 + width, 20), (40, 10, 50, 20), (60, 10, 70, 20))
    assert run(Superlative(of=CUP, measure="biggest"), scene) == selected
    assert run(Superlative(of=CUP, measure="smallest"), scene) == set()


GRID = _scene((20, 20), (50, 21), (80, 20), (20, 70), (50, 70), (80, 71))


@pytest.mark.parametrize(
    ("program", "selected"),
    [
        (Line(of=CUP, rank=1, side="top"), {0, 1, 2}),
        (Line(of=CUP, rank=2, side="top"), {3, 4, 5}),
        (Line(of=CUP, rank=3, side="top"), set()),
        (Line(of=CUP, rank=1, side="right"), {2, 5}),
        (Ordinal(of=Line(of=CUP, rank=1, side="bottom"), rank=2, side="left"), {4}),
        (Extreme(of=Line(of=CUP, rank=1, side="top"), side="right"), {2}),
        (Middle(of=Line(of=CUP, rank=1, side="top")), {1}),
    ],
)
def test_rows_and_columns_of_a_grid(program: Program, selected: set[int]) -> None:
    assert run(program, GRID) == selected


def test_a_thing_between_two_rows_is_in_none_and_so_there_are_no_rows() -> None:
    things = (*GRID.things, *_scene((35, 25)).things)  # 5 off the row above: neither within 2.5 nor beyond 7.5
    scene = Scene(width=100, height=100, things=things)
    assert run(Line(of=CUP, rank=1, side="top"), scene) == set()


BALL = Category(name="ball")


def _with_ball(*cups: tuple[float, float], balls: tuple[tuple[float, float], ...] = ((50, 50),)) -> Scene:
    """Cups at these centres, then balls; all of 10 px."""
    things = (*_scene(*cups).things, *_scene(*balls, category="ball").things)
    return Scene(width=100, height=100, things=things)


@pytest.mark.parametrize(
    ("x", "y", "selected"),
    [
        (30, 50, {0}),
        (30, 62.5, {0}),  # 12.5 aside is 0.625 times 20
        (30, 63, set()),
        (42, 50, set()),  # overlaps it along the axis
        (70, 50, set()),
        (49, 90, set()),
    ],
    ids=["beside", "still beside", "oblique", "overlapping", "other side", "below"],
)
def test_left_of_a_ball(x: float, y: float, selected: set[int]) -> None:
    assert run(Beside(of=CUP, direction="left", anchor=BALL), _with_ball((x, y))) == selected


def test_an_oblique_one_silences_the_whole_set_and_one_below_does_not() -> None:
    left = Beside(of=CUP, direction="left", anchor=BALL)
    assert run(left, _with_ball((20, 50), (30, 65))) == set()
    assert run(left, _with_ball((20, 50), (48, 80))) == {0}
    assert run(Beside(of=CUP, direction="below", anchor=BALL), _with_ball((20, 50), (48, 80))) == {1}


def test_the_other_thing_must_be_one() -> None:
    two = _with_ball((20, 50), (80, 50), balls=((50, 50), (50, 80)))
    for program in (Beside(of=CUP, direction="left", anchor=BALL), NextTo(of=CUP, anchor=BALL)):
        assert run(program, two) == set()
    assert run(NextTo(of=CUP, anchor=Category(name="hat")), two) == set()


def test_what_it_is_related_to_is_itself_not_meant() -> None:
    scene = _scene((20, 50), (35, 50), (80, 50), colour=["blue", "red", "blue"])
    red = WithAttribute(of=CUP, kind="colour", value="red")
    assert run(NextTo(of=CUP, anchor=red), scene) == {0}
    assert run(Nearest(of=CUP, anchor=red), scene) == {0}
    assert run(Beside(of=CUP, direction="right", anchor=red), scene) == {2}


@pytest.mark.parametrize(("x", "selected"), [(35, {0}), (34, set()), (30, set())])
def test_next_to_is_half_a_size_away_at_most(x: float, selected: set[int]) -> None:
    assert run(NextTo(of=CUP, anchor=BALL), _with_ball((x, 50), (90, 90))) == selected


def test_nothing_is_next_to_what_it_lies_upon() -> None:
    assert run(NextTo(of=CUP, anchor=BALL), _with_ball((51, 50))) == set()


@pytest.mark.parametrize(("x", "selected"), [(80, {0}), (79, set())])
def test_the_nearest_is_nearer_by_half_of_its_distance(x: float, selected: set[int]) -> None:
    assert run(Nearest(of=CUP, anchor=BALL), _with_ball((50, 70), (x, 50))) == selected


@pytest.mark.parametrize(
    ("x", "y", "selected"),
    [(50, 50, {0}), (30, 70, {0}), (30, 71, set()), (24, 50, set()), (50, 90, set()), (5, 50, set())],
    ids=["half way", "a quarter along and off", "further off", "near an end", "far off", "beyond"],
)
def test_between_two_balls(x: float, y: float, selected: set[int]) -> None:
    scene = _with_ball((x, y), balls=((10, 50), (90, 50)))
    assert run(Between(of=CUP, ends=BALL), scene) == selected


def test_between_needs_exactly_two() -> None:
    for balls in (((10, 50),), ((10, 50), (90, 50), (50, 90))):
        assert run(Between(of=CUP, ends=BALL), _with_ball((50, 50), balls=balls)) == set()


def _boxes(*boxes: tuple[float, float, float, float], perspective: bool = False) -> Scene:
    things = tuple(Thing(box_xyxy=box, category="cup") for box in boxes)
    return Scene(width=100, height=100, things=things, perspective=perspective)


def test_the_front_one_stands_lower_and_is_taller_in_a_scene_known_to_be_in_perspective() -> None:
    boxes = ((10, 40, 30, 65), (50, 20, 70, 40))
    front, back = Depth(of=CUP, place="front"), Depth(of=CUP, place="back")
    assert run(front, _boxes(*boxes)) == set()
    assert run(front, _boxes(*boxes, perspective=True)) == {0}
    assert run(back, _boxes(*boxes, perspective=True)) == {1}
    lower_but_small = _boxes((10, 55, 30, 65), (50, 20, 70, 40), perspective=True)
    assert run(front, lower_but_small) == run(back, lower_but_small) == set()


def test_behind_is_said_of_things_of_one_category() -> None:
    scene = _boxes((10, 40, 30, 65), (50, 20, 70, 40), perspective=True)
    red = WithAttribute(of=CUP, kind="colour", value="red")
    things = tuple(
        Thing(box_xyxy=thing.box_xyxy, category="cup", attributes={"colour": colour})
        for thing, colour in zip(scene.things, ("red", "blue"), strict=True)
    )
    coloured = Scene(width=100, height=100, things=things, perspective=True)
    assert run(Beside(of=CUP, direction="behind", anchor=red), coloured) == {1}
    balls = (things[0], *_scene((60, 30), category="ball").things)
    assert (
        run(
            Beside(of=BALL, direction="behind", anchor=CUP),
            Scene(width=100, height=100, things=balls, perspective=True),
        )
        == set()
    )


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
        ({"op": "inside"}, "unknown operator 'inside'; known are category"),
        ({"op": "nearest"}, r"nearest takes \['anchor', 'of'\], got \[\]"),
        ({"op": "middle", "of": 3}, "a program is an object"),
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
    for noise in (0.0, 0.03):
        read, in_mirror = Reader(scene, noise), Reader(flip_scene(scene), noise)
        for program in repertoire(scene, "cup", ("ball",)):
            assert in_mirror(flip(program)) == read(program)
            assert flip(flip(program)) == program


@settings(max_examples=500, derandomize=True, deadline=None)
@given(crowded_scenes())
def test_both_readings_agree_on_scenes_full_of_ties(scene: Scene) -> None:
    _assert_both_readings_agree(scene, repertoire(scene, "cup", ("ball",)))


@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_both_readings_agree_on_random_scenes(seed: int) -> None:
    scene = random_scene(seed)
    _assert_both_readings_agree(scene, _one_of_each_kind(list(repertoire(scene, "cup", ("ball",))), Random(seed)))


def _one_of_each_kind(programs: list[Program], random: Random) -> list[Program]:
    """A random program of each operator, as the outermost one: 13 or fewer instead of hundreds."""
    chosen = {type(program): program for program in random.sample(programs, len(programs))}
    return list(chosen.values())


def _assert_both_readings_agree(scene: Scene, programs: Iterable[Program]) -> None:
    read = Reader(scene)
    for program in programs:
        assert read(program) == meaning(to_json(program), scene), program


def test_the_random_scenes_give_every_operator_something_to_select() -> None:
    selecting = set()
    for seed in range(200):
        scene = random_scene(seed)
        read = Reader(scene, 0.03)
        selecting |= {_kinds(program) for program in repertoire(scene, "cup", ("ball",)) if len(read(program)) == 1}
    assert {kinds[0] for kinds in selecting} == set(get_args(Program)) - {Line, Category}
    lines = {kinds for kinds in selecting if Line in kinds}
    assert {kinds[0] for kinds in lines} == {Extreme, Ordinal, Middle}


def _kinds(program: Program) -> tuple[type[Program], ...]:
    return (type(program), *(() if isinstance(program, Category) else _kinds(program.of)))


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_what_is_said_with_noise_stays_so_however_the_boxes_move(seed: int) -> None:
    scene, random = random_scene(seed), Random(seed)
    read, others = Reader(scene, 0.03), [scene, *(jittered(scene, 0.03, random) for _ in range(4))]
    exact = [Reader(other) for other in others]
    for program in repertoire(scene, "cup", ("ball",)):
        if selected := read(program):
            assert all(other(program) == selected for other in exact), program
