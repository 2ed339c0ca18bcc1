"""Evaluation of programs: thresholds by hand, and a second implementation on random scenes."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import get_args

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.queries.generator import enumerate_programs
from augmentation.relations.evaluator import ProgramEvaluator, evaluate_program
from augmentation.relations.programs import (
    SET_OPERATORS,
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
    to_json,
)
from augmentation.relations.scene import Scene, SceneObject
from tests.augmentation.mirror import flip, flip_scene

CUP = Category(name="cup")


def _scene(*centers: tuple[float, float], size: float = 10, category: str = "cup", **facts: list[str]) -> Scene:
    """Square objects of a category at these centers in an image of 100 x 100."""
    half = size / 2
    objects = tuple(
        SceneObject(
            box_xyxy=(x - half, y - half, x + half, y + half),
            category=category,
            attributes={attribute: values[i] for attribute, values in facts.items() if values[i]},
        )
        for i, (x, y) in enumerate(centers)
    )
    return Scene(width=100, height=100, objects=objects)


ROW = _scene((50, 48), (10, 50), (90, 52), (30, 50), (70, 50))


@pytest.mark.parametrize(
    ("program", "selected"),
    [
        (CUP, {0, 1, 2, 3, 4}),
        (Category(name="ball"), set()),
        (Extreme(base=CUP, side="left"), {1}),
        (Extreme(base=CUP, side="right"), {2}),
        (Extreme(base=CUP, side="top"), set()),
        (Ordinal(base=CUP, rank=1, side="left"), {1}),
        (Ordinal(base=CUP, rank=2, side="left"), {3}),
        (Ordinal(base=CUP, rank=2, side="right"), {4}),
        (Ordinal(base=CUP, rank=5, side="left"), {2}),
        (Ordinal(base=CUP, rank=6, side="left"), set()),
        (Middle(base=CUP), {0}),
        (Region(base=CUP, region="left"), {1, 3}),
        (Region(base=CUP, region="middle"), set()),
        (Extreme(base=Region(base=CUP, region="right"), side="right"), {2}),
    ],
)
def test_a_row_of_five(program: Program, selected: set[int]) -> None:
    assert evaluate_program(program, ROW) == selected


def test_the_middle_of_the_picture_is_said_if_nothing_else_is_near_it() -> None:
    assert evaluate_program(Region(base=CUP, region="middle"), _scene((50, 45), (80, 50), (20, 20))) == {0}
    assert evaluate_program(Region(base=CUP, region="middle"), _scene((50, 45), (70, 50), (20, 20))) == set()


def test_a_corner_is_a_side_of_a_side() -> None:
    grid = _scene((25, 25), (75, 25), (25, 75), (75, 75))
    corner = Region(base=Region(base=CUP, region="bottom"), region="left")
    assert evaluate_program(corner, grid) == {2}
    assert evaluate_program(Extreme(base=CUP, side="left"), grid) == set()


def test_other_categories_do_not_count() -> None:
    balls = _scene((5, 50), (95, 50), category="ball").objects
    scene = Scene(width=100, height=100, objects=(*ROW.objects, *balls))
    assert evaluate_program(Extreme(base=CUP, side="left"), scene) == {1}
    assert evaluate_program(Extreme(base=Category(name="ball"), side="left"), scene) == {5}


def test_attributes_filter_before_positions_are_compared() -> None:
    scene = _scene((10, 50), (30, 50), (70, 50), color=["blue", "red", "red"])
    red = WithAttribute(base=CUP, attribute="color", value="red")
    assert evaluate_program(red, scene) == {1, 2}
    assert evaluate_program(Extreme(base=red, side="left"), scene) == {1}
    assert evaluate_program(WithAttribute(base=CUP, attribute="color", value="green"), scene) == set()


def test_nothing_is_said_of_an_attribute_that_is_unknown_of_one_thing() -> None:
    scene = _scene((10, 50), (30, 50), color=["red", ""])
    assert evaluate_program(WithAttribute(base=CUP, attribute="color", value="red"), scene) == set()


@pytest.mark.parametrize(("gap", "selected"), [(6, {0}), (5.9, set()), (0, set())])
def test_small_things_are_in_order_from_6_percent_of_the_picture_on(gap: float, selected: set[int]) -> None:
    scene = _scene((40, 50), (40 + gap, 50), size=4)
    assert evaluate_program(Extreme(base=CUP, side="left"), scene) == selected


@pytest.mark.parametrize(("gap", "selected"), [(16, {0}), (15.9, set())])
def test_large_things_are_in_order_from_40_percent_of_their_size_on(gap: float, selected: set[int]) -> None:
    scene = _scene((40, 50), (40 + gap, 50), size=40)
    assert evaluate_program(Extreme(base=CUP, side="left"), scene) == selected


@pytest.mark.parametrize(("x", "selected"), [(36, {0}), (37, set()), (49, set()), (50, set())])
def test_a_side_of_the_picture_is_its_first_36_percent(x: float, selected: set[int]) -> None:
    assert evaluate_program(Region(base=CUP, region="left"), _scene((x, 50), (80, 50))) == selected


@pytest.mark.parametrize(("x", "selected"), [(45, set()), (50, {0})])
def test_what_is_borderline_on_a_side_silences_the_whole_set(x: float, selected: set[int]) -> None:
    assert evaluate_program(Region(base=CUP, region="left"), _scene((10, 50), (x, 50))) == selected


def test_one_thing_alone_is_no_extreme() -> None:
    assert evaluate_program(Extreme(base=CUP, side="left"), _scene((10, 50))) == set()


@pytest.mark.parametrize(
    ("centers", "selected"),
    [
        ([(10, 50), (50, 55), (90, 60)], {1}),
        ([(50, 10), (52, 50), (48, 90)], {1}),
        ([(10, 10), (50, 50), (90, 90)], {1}),
        ([(10, 50), (50, 10), (90, 90)], set()),
        ([(10, 50), (90, 50)], set()),
        ([(10, 50), (30, 50), (60, 50), (90, 50)], set()),
        ([(10, 50), (14, 50), (90, 50)], set()),
    ],
    ids=["row", "column", "diagonal", "triangle", "two", "four", "unclear neighbors"],
)
def test_the_middle_one_needs_an_odd_line(centers: list[tuple[float, float]], selected: set[int]) -> None:
    assert evaluate_program(Middle(base=CUP), _scene(*centers)) == selected


@pytest.mark.parametrize(("height", "selected"), [(12.5, {0}), (12.4, set())])
def test_the_tallest_is_taller_by_a_quarter(height: float, selected: set[int]) -> None:
    scene = _boxes((10, 10, 20, 10 + height), (40, 10, 90, 20))
    assert evaluate_program(Superlative(base=CUP, measure="tallest"), scene) == selected
    assert evaluate_program(Superlative(base=CUP, measure="shortest"), scene) == ({1} if selected else set())


@pytest.mark.parametrize(("width", "selected"), [(15, {0}), (14.9, set())])
def test_the_biggest_has_one_and_a_half_times_the_area(width: float, selected: set[int]) -> None:
    scene = _boxes((10, 10, 10 + width, 20), (40, 10, 50, 20), (60, 10, 70, 20))
    assert evaluate_program(Superlative(base=CUP, measure="biggest"), scene) == selected
    assert evaluate_program(Superlative(base=CUP, measure="smallest"), scene) == set()


GRID = _scene((20, 20), (50, 21), (80, 20), (20, 70), (50, 70), (80, 71))


@pytest.mark.parametrize(
    ("program", "selected"),
    [
        (Line(base=CUP, rank=1, side="top"), {0, 1, 2}),
        (Line(base=CUP, rank=2, side="top"), {3, 4, 5}),
        (Line(base=CUP, rank=3, side="top"), set()),
        (Line(base=CUP, rank=1, side="right"), {2, 5}),
        (Ordinal(base=Line(base=CUP, rank=1, side="bottom"), rank=2, side="left"), {4}),
        (Extreme(base=Line(base=CUP, rank=1, side="top"), side="right"), {2}),
        (Middle(base=Line(base=CUP, rank=1, side="top")), {1}),
    ],
)
def test_rows_and_columns_of_a_grid(program: Program, selected: set[int]) -> None:
    assert evaluate_program(program, GRID) == selected


def test_a_thing_between_two_rows_is_in_none_and_so_there_are_no_rows() -> None:
    objects = (*GRID.objects, *_scene((35, 25)).objects)  # 5 off the row above: neither within 2.5 nor beyond 7.5
    scene = Scene(width=100, height=100, objects=objects)
    assert evaluate_program(Line(base=CUP, rank=1, side="top"), scene) == set()


BALL = Category(name="ball")


def _with_ball(*cups: tuple[float, float], balls: tuple[tuple[float, float], ...] = ((50, 50),)) -> Scene:
    """Cups at these centers, then balls; all of 10 px."""
    objects = (*_scene(*cups).objects, *_scene(*balls, category="ball").objects)
    return Scene(width=100, height=100, objects=objects)


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
    assert evaluate_program(Beside(base=CUP, direction="left", anchor=BALL), _with_ball((x, y))) == selected


def test_an_oblique_one_silences_the_whole_set_and_one_below_does_not() -> None:
    left = Beside(base=CUP, direction="left", anchor=BALL)
    assert evaluate_program(left, _with_ball((20, 50), (30, 65))) == set()
    assert evaluate_program(left, _with_ball((20, 50), (48, 80))) == {0}
    assert evaluate_program(Beside(base=CUP, direction="below", anchor=BALL), _with_ball((20, 50), (48, 80))) == {1}


def test_the_lenient_evaluator_keeps_what_is_borderline_and_drops_what_is_false() -> None:
    left = Beside(base=CUP, direction="left", anchor=BALL)
    lenient = ProgramEvaluator(_with_ball((20, 50), (30, 65), (80, 50)), include_borderline=True)
    assert lenient.evaluate(left) == {0, 1}


def test_the_other_thing_must_be_one() -> None:
    two = _with_ball((20, 50), (80, 50), balls=((50, 50), (50, 80)))
    for program in (Beside(base=CUP, direction="left", anchor=BALL), NextTo(base=CUP, anchor=BALL)):
        assert evaluate_program(program, two) == set()
    assert evaluate_program(NextTo(base=CUP, anchor=Category(name="hat")), two) == set()


def test_what_it_is_related_to_is_itself_not_meant() -> None:
    scene = _scene((20, 50), (35, 50), (80, 50), color=["blue", "red", "blue"])
    red = WithAttribute(base=CUP, attribute="color", value="red")
    assert evaluate_program(NextTo(base=CUP, anchor=red), scene) == {0}
    assert evaluate_program(Nearest(base=CUP, anchor=red), scene) == {0}
    assert evaluate_program(Beside(base=CUP, direction="right", anchor=red), scene) == {2}


@pytest.mark.parametrize(("x", "selected"), [(35, {0}), (34, set()), (30, set())])
def test_next_to_is_half_a_size_away_at_most(x: float, selected: set[int]) -> None:
    assert evaluate_program(NextTo(base=CUP, anchor=BALL), _with_ball((x, 50), (90, 90))) == selected


@pytest.mark.parametrize(("y", "selected"), [(55, {0}), (45, {0}), (56, set()), (59, set())])
def test_next_to_is_beside_and_not_on_a_diagonal(y: float, selected: set[int]) -> None:
    # 10 px high: at 55 half of the height overlaps.
    assert evaluate_program(NextTo(base=CUP, anchor=BALL), _with_ball((36, y), (90, 90))) == selected


def test_nothing_is_next_to_what_it_lies_upon() -> None:
    assert evaluate_program(NextTo(base=CUP, anchor=BALL), _with_ball((51, 50))) == set()


@pytest.mark.parametrize(("x", "selected"), [(80, {0}), (79, set())])
def test_the_nearest_is_nearer_by_half_of_its_distance(x: float, selected: set[int]) -> None:
    assert evaluate_program(Nearest(base=CUP, anchor=BALL), _with_ball((50, 70), (x, 50))) == selected


@pytest.mark.parametrize(
    ("x", "y", "selected"),
    [(50, 50, {0}), (30, 70, {0}), (30, 71, set()), (24, 50, set()), (50, 90, set()), (5, 50, set())],
    ids=["half way", "a quarter along and off", "further off", "near an end", "far off", "beyond"],
)
def test_between_two_balls(x: float, y: float, selected: set[int]) -> None:
    scene = _with_ball((x, y), balls=((10, 50), (90, 50)))
    assert evaluate_program(Between(base=CUP, ends=BALL), scene) == selected


def test_between_needs_exactly_two() -> None:
    for balls in (((10, 50),), ((10, 50), (90, 50), (50, 90))):
        assert evaluate_program(Between(base=CUP, ends=BALL), _with_ball((50, 50), balls=balls)) == set()


def _boxes(*boxes: tuple[float, float, float, float], perspective: bool = False) -> Scene:
    objects = tuple(SceneObject(box_xyxy=box, category="cup") for box in boxes)
    return Scene(width=100, height=100, objects=objects, perspective=perspective)


def test_the_front_one_stands_lower_and_is_taller_in_a_scene_known_to_be_in_perspective() -> None:
    boxes = ((10, 40, 30, 65), (50, 20, 70, 40))
    front, back = Depth(base=CUP, position="front"), Depth(base=CUP, position="back")
    assert evaluate_program(front, _boxes(*boxes)) == set()
    assert evaluate_program(front, _boxes(*boxes, perspective=True)) == {0}
    assert evaluate_program(back, _boxes(*boxes, perspective=True)) == {1}
    lower_but_small = _boxes((10, 55, 30, 65), (50, 20, 70, 40), perspective=True)
    assert evaluate_program(front, lower_but_small) == evaluate_program(back, lower_but_small) == set()


def test_behind_is_said_of_things_of_one_category() -> None:
    scene = _boxes((10, 40, 30, 65), (50, 20, 70, 40), perspective=True)
    red = WithAttribute(base=CUP, attribute="color", value="red")
    objects = tuple(
        SceneObject(box_xyxy=obj.box_xyxy, category="cup", attributes={"color": color})
        for obj, color in zip(scene.objects, ("red", "blue"), strict=True)
    )
    colored = Scene(width=100, height=100, objects=objects, perspective=True)
    assert evaluate_program(Beside(base=CUP, direction="behind", anchor=red), colored) == {1}
    balls = (objects[0], *_scene((60, 30), category="ball").objects)
    assert (
        evaluate_program(
            Beside(base=BALL, direction="behind", anchor=CUP),
            Scene(width=100, height=100, objects=balls, perspective=True),
        )
        == set()
    )


def test_noise_silences_what_is_only_just_clear() -> None:
    scene = _scene((40, 50), (48, 50), size=20)
    assert evaluate_program(Extreme(base=CUP, side="left"), scene) == {0}
    # each center can move by 0.03 * 20 = 0.6 and each size grow to 21.2: 8 - 1.2 < 0.4 * 21.2
    assert evaluate_program(Extreme(base=CUP, side="left"), scene, noise=0.03) == set()
    # 10 - 1.2 > 0.4 * 21.2
    assert evaluate_program(Extreme(base=CUP, side="left"), _scene((40, 50), (50, 50), size=20), noise=0.03) == {0}


EDGES = st.integers(0, 40 * 64)


BOXES = st.tuples(EDGES, EDGES, st.integers(64, 20 * 64), st.integers(64, 20 * 64))


@st.composite
def crowded_scenes(draw: st.DrawFn) -> Scene:
    """Scenes that hypothesis can shrink, with edges and gaps that often lie exactly on a threshold."""
    objects = tuple(
        SceneObject(
            box_xyxy=(x / 64, y / 64, (x + w) / 64, (y + h) / 64),
            category=draw(st.sampled_from(["cup", "cup", "ball"])),
            attributes={"color": draw(st.sampled_from(["red", "blue"]))},
        )
        for x, y, w, h in draw(st.lists(BOXES, min_size=1, max_size=6))
    )
    return Scene(width=60, height=60, objects=objects)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(crowded_scenes())
def test_a_mirrored_program_means_the_same_thing_in_the_mirrored_scene(scene: Scene) -> None:
    for noise in (0.0, 0.03):
        read, in_mirror = ProgramEvaluator(scene, noise), ProgramEvaluator(flip_scene(scene), noise)
        for program in enumerate_programs(scene, "cup", ("ball",)):
            assert in_mirror.evaluate(flip(program)) == read.evaluate(program)
            assert flip(flip(program)) == program


@settings(max_examples=500, derandomize=True, deadline=None)
@given(crowded_scenes())
def test_both_readings_agree_on_scenes_full_of_ties(scene: Scene) -> None:
    _assert_both_readings_agree(scene, enumerate_programs(scene, "cup", ("ball",)))


@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_both_readings_agree_on_random_scenes(seed: int) -> None:
    scene = random_scene(seed)
    _assert_both_readings_agree(
        scene, _one_of_each_kind(list(enumerate_programs(scene, "cup", ("ball",))), Random(seed))
    )


def _one_of_each_kind(programs: list[Program], random: Random) -> list[Program]:
    """A random program of each operator, as the outermost one: 13 or fewer instead of hundreds."""
    chosen = {type(program): program for program in random.sample(programs, len(programs))}
    return list(chosen.values())


def _assert_both_readings_agree(scene: Scene, programs: Iterable[Program]) -> None:
    read = ProgramEvaluator(scene)
    for program in programs:
        assert read.evaluate(program) == meaning(to_json(program), scene), program


def test_the_random_scenes_give_every_operator_something_to_select() -> None:
    selecting = set()
    for seed in range(200):
        scene = random_scene(seed)
        read = ProgramEvaluator(scene, 0.03)
        selecting |= {
            _kinds(program)
            for program in enumerate_programs(scene, "cup", ("ball",))
            if len(read.evaluate(program)) == 1
        }
    assert {kinds[0] for kinds in selecting} == set(get_args(Program)) - {Line, Category, *SET_OPERATORS}
    lines = {kinds for kinds in selecting if Line in kinds}
    assert {kinds[0] for kinds in lines} == {Extreme, Ordinal, Middle}


def _kinds(program: Program) -> tuple[type[Program], ...]:
    return (type(program), *(() if isinstance(program, Category) else _kinds(program.base)))


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_what_is_said_with_noise_stays_so_however_the_boxes_move(seed: int) -> None:
    scene, random = random_scene(seed), Random(seed)
    read, others = ProgramEvaluator(scene, 0.03), [scene, *(jittered(scene, 0.03, random) for _ in range(4))]
    exact = [ProgramEvaluator(other) for other in others]
    for program in enumerate_programs(scene, "cup", ("ball",)):
        if selected := read.evaluate(program):
            assert all(other.evaluate(program) == selected for other in exact), program
