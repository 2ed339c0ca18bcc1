"""Verified queries for several objects, by hand and at random."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.sets import enumerate_set_programs, generate_set_queries
from augmentation.queries.templates import Style
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.programs import (
    Both,
    Category,
    Except,
    Extreme,
    Leading,
    Program,
    WithAttribute,
    Without,
    from_json,
    to_json,
)
from augmentation.relations.scene import Scene, SceneObject

STYLES: tuple[Style, ...] = ("refcoco", "refcoco+", "refcocog")
PLURALS = {"cup": "cups", "ball": "balls"}
CUP, RED = Category(name="cup"), WithAttribute(base=Category(name="cup"), attribute="color", value="red")


def _row(colors: str, ball: bool = False) -> Scene:
    """Cups of 40 px from left to right, red (r), blue (b) or of unknown color (?), in an image of 480 x 360."""
    facts = {"r": {"color": "red"}, "b": {"color": "blue"}, "?": {}}
    step = 480 / (len(colors) + 1)
    objects = [
        SceneObject(box_xyxy=(x - 20, 160, x + 20, 200), category="cup", attributes=facts[color])
        for x, color in ((step * (i + 1), color) for i, color in enumerate(colors))
    ]
    if ball:
        objects.append(SceneObject(box_xyxy=(220, 20, 260, 60), category="ball"))
    return Scene(width=480, height=360, objects=tuple(objects))


def _texts(scene: Scene, style: Style = "refcoco", plurals: dict[str, str] = PLURALS) -> dict[str, tuple[int, ...]]:
    realizer = PhraseRealizer(style=style, plurals=plurals)
    queries = (query for seed in range(100) for query in generate_set_queries(scene, "cup", realizer, 1000, seed))
    return {query.text: query.targets for query in queries}


@pytest.mark.parametrize(
    ("program", "selected"),
    [
        (RED, {0, 2}),
        (Without(base=CUP, attribute="color", value="red"), {1, 3}),
        (Except(base=CUP, excluded=Extreme(base=CUP, side="left")), {1, 2, 3}),
        (Except(base=CUP, excluded=RED), set()),  # two are red, so "the red one" is none
        (Except(base=RED, excluded=Extreme(base=CUP, side="right")), set()),  # that one is not red
        (Both(base=Extreme(base=CUP, side="left"), other=Extreme(base=CUP, side="right")), {0, 3}),
        (Both(base=Extreme(base=CUP, side="left"), other=Extreme(base=CUP, side="left")), set()),
        (Leading(base=CUP, count=2, side="right"), {2, 3}),
        (Leading(base=CUP, count=4, side="right"), set()),  # there are no others
    ],
)
def test_set_operators_select_by_definition(program: Program, selected: set[int]) -> None:
    scene = _row("rbrb")
    assert ProgramEvaluator(scene, 0.03).evaluate(program) == meaning(to_json(program), scene) == selected
    assert from_json(to_json(program)) == program


def test_several_are_named_in_the_plural_and_counted() -> None:
    texts = _texts(_row("rbrb"))
    assert texts["both red cups"] == texts["the two red cups"] == texts["red cups"] == (0, 2)
    assert texts["all cups"] == texts["the four cups"] == (0, 1, 2, 3)
    assert texts["two leftmost cups"] == (0, 1)
    assert texts["cups that are not red"] == (1, 3)
    assert texts["every cup but the left one"] == (1, 2, 3)
    assert "both cups" not in texts and "red cup" not in texts


def test_one_red_one_is_left_out_and_joined() -> None:
    texts = _texts(_row("rbb", ball=True))
    assert texts["every cup but the red one"] == (1, 2)
    assert texts["red cup and ball"] == (0, 3)


def test_two_that_look_alike_are_the_only_two() -> None:
    def find(looks: str, style: Style = "refcoco") -> dict[str, tuple[int, ...]]:
        facts = {"r": "red", "b": "blue", "g": "green"}
        objects = tuple(
            replace(cup, attributes={"color": facts[look]})
            for cup, look in zip(_row("r" * len(looks)).objects, looks, strict=True)
        )
        texts = _texts(Scene(width=480, height=360, objects=objects), style)
        return {text: targets for text, targets in texts.items() if "look" in text or "same" in text}

    texts = find("rbrg")
    assert set(texts) >= {"the two cups that look alike", "two cups with the same color"}
    assert set(texts.values()) == {(0, 2)}
    assert "the two cups that have the same color" in find("rbrg", "refcocog")
    assert find("rbrb") == find("rrrb") == {}


def test_the_unknown_is_in_no_set_of_a_color() -> None:
    assert not any("red" in text or "blue" in text for text in _texts(_row("rr?b")))


def test_the_two_on_a_side_are_not_said_where_others_could_be_counted_as_well() -> None:
    objects = tuple(SceneObject(box_xyxy=(x - 15, 160, x + 15, 200), category="cup") for x in (40, 90, 140, 400))
    texts = _texts(Scene(width=480, height=360, objects=objects))
    assert texts["the three cups on the left side"] == (0, 1, 2)
    assert not any("two" in text and "side" in text for text in texts)


def test_a_noun_without_a_plural_of_its_own_has_no_sets() -> None:
    assert _texts(_row("rbrb"), plurals={"cup": "cup"}) == {}


def test_a_style_without_location_words_has_none_for_sets() -> None:
    words = {word for text in _texts(_row("rbrb", ball=True), "refcoco+") for word in text.split()}
    assert words.isdisjoint({"left", "right", "leftmost", "rightmost", "side", "row"})


@pytest.mark.parametrize("style", STYLES)
def test_the_parser_reads_the_phrases_of_sets_as_several(style: Style) -> None:
    parser, realizer = RoundTripParser(), PhraseRealizer(style=style, plurals=PLURALS)
    for seed in range(20):
        for query in generate_set_queries(random_scene(seed), "cup", realizer, 100, seed):
            assert parser.names_several(query.text, query.program), query.text
    assert not parser.names_several("red cup on the left", RED)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_the_program_of_a_set_selects_its_targets_even_if_the_boxes_are_off(seed: int) -> None:
    scene, realizer = random_scene(seed), PhraseRealizer(style=STYLES[seed % 3], plurals=PLURALS)
    scenes = [scene, *(jittered(scene, 0.03, Random(seed + i)) for i in range(3))]
    for query in generate_set_queries(scene, "cup", realizer, 2, seed):
        assert len(query.targets) >= 2
        assert all(meaning(to_json(query.program), one) == set(query.targets) for one in scenes)


@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_both_readers_agree_on_sets(seed: int) -> None:
    scene = random_scene(seed)
    programs = list(enumerate_set_programs(scene, "cup", PhraseRealizer(plurals=PLURALS)))
    evaluator = ProgramEvaluator(scene)
    one_of_each = {type(program): program for program in Random(seed).sample(programs, len(programs))}
    for program in one_of_each.values():
        assert evaluator.evaluate(program) == meaning(to_json(program), scene), program
