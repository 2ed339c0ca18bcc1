"""Phrases of programs, and queries that are never ambiguous in their scene."""

from __future__ import annotations

from random import Random

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.errors import AugmentationError
from augmentation.phrases import phrasings, say
from augmentation.programs import (
    Category,
    Extreme,
    Middle,
    Ordinal,
    Program,
    Region,
    WithAttribute,
    flip,
    run,
    to_json,
)
from augmentation.queries import proved_queries, repertoire
from augmentation.scene import Scene, Thing
from generation.attributes import AttributeParser
from generation.prompt import prior_prompt

CUP = Category(name="cup")
RED = WithAttribute(of=CUP, kind="colour", value="red")
STRIPED = WithAttribute(of=RED, kind="pattern", value="striped")


@pytest.mark.parametrize(
    ("program", "phrases"),
    [
        (Extreme(of=CUP, side="left"), {"left cup", "cup on the left", "leftmost cup", "the left cup"}),
        (Extreme(of=Category(name="car"), side="right"), {"rightmost car"}),
        (Extreme(of=Category(name="ball"), side="top"), {"top ball", "ball at the top"}),
        (Ordinal(of=CUP, rank=2, side="right"), {"second cup from the right", "2nd cup from right"}),
        (Ordinal(of=Category(name="fish"), rank=3, side="left"), {"3rd fish from left", "fish third from the left"}),
        (Middle(of=Category(name="bottle")), {"middle bottle", "bottle in the middle"}),
        (Extreme(of=Region(of=CUP, region="left"), side="left"), {"cup on the far left", "far left cup"}),
        (Region(of=Region(of=CUP, region="top"), region="left"), {"top left cup", "cup in the top left corner"}),
        (Region(of=CUP, region="right"), {"cup on the right side", "right side cup"}),
        (Extreme(of=STRIPED, side="left"), {"left striped red cup"}),
        (RED, {"red cup", "the red cup"}),
    ],
)
def test_programs_are_said_as_people_say_them(program: Program, phrases: set[str]) -> None:
    assert phrases <= set(phrasings(program))


def test_adjectives_come_in_english_order_whatever_the_order_of_the_filters() -> None:
    other = WithAttribute(of=WithAttribute(of=CUP, kind="pattern", value="striped"), kind="colour", value="red")
    assert phrasings(other) == phrasings(STRIPED) == ("striped red cup", "the striped red cup")


def test_a_phrase_follows_from_its_seed() -> None:
    program = Extreme(of=CUP, side="left")
    assert say(program, 7) == say(program, 7)
    assert {say(program, seed) for seed in range(200)} == set(phrasings(program))


def test_a_mirrored_program_is_said_with_left_and_right_swapped() -> None:
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    for program in repertoire(_row("red", "red", "blue"), "cup"):
        mirrored = tuple(" ".join(swap.get(word, word) for word in text.split()) for text in phrasings(program))
        assert mirrored == phrasings(flip(program))


@pytest.mark.parametrize("program", [Middle(of=Extreme(of=CUP, side="left")), Ordinal(of=CUP, rank=9, side="left")])
def test_a_program_without_words_is_refused(program: Program) -> None:
    with pytest.raises(AugmentationError, match="no words for"):
        phrasings(program)


def _row(*colours: str) -> Scene:
    """Cups of 10 px from left to right in a picture of 100 x 100."""
    step = 100 / (len(colours) + 1)
    things = tuple(
        Thing(box_xyxy=((i + 1) * step - 5, 45, (i + 1) * step + 5, 55), category="cup", attributes={"colour": colour})
        for i, colour in enumerate(colours)
    )
    return Scene(width=100, height=100, things=things)


def test_every_phrase_is_read_back_as_its_category_with_a_location() -> None:
    positions = [program for program in repertoire(_row(*["red"] * 5), "cup") if program not in (CUP, RED)]
    texts = sorted({text for program in positions for text in phrasings(program)})
    read = AttributeParser().parse(texts)
    assert {attributes.target.lemma for attributes in read} == {"cup"}
    assert {prior_prompt(attributes) for attributes in read} == {"a cup", "a red cup"}
    assert [text for text, a in zip(texts, read, strict=True) if not a.absolute_location and not a.ordinals] == []
    assert len(texts) > 200


def test_each_of_three_in_a_row_gets_its_own_queries() -> None:
    queries = proved_queries(_row("red", "red", "red"), "cup", per_thing=3, seed=0)
    assert [query.target for query in queries] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({query.text for query in queries}) == 9


def test_an_attribute_is_enough_where_only_one_has_it() -> None:
    every = proved_queries(_row("red", "blue", "red"), "cup", per_thing=100, seed=0)
    assert {query.text for query in every if query.program == WithAttribute(of=CUP, kind="colour", value="blue")} <= {
        "blue cup",
        "the blue cup",
    }
    assert {query.target for query in every if query.text in ("blue cup", "the blue cup")} == {1}
    assert not [query for query in every if query.text in ("red cup", "the red cup")]


def test_a_word_that_could_mean_another_thing_is_not_said() -> None:
    """The middle one of the three stands left of the picture's middle, where another one is."""
    centres = (10, 25, 50)
    things = tuple(Thing(box_xyxy=(x - 4, 46, x + 4, 54), category="cup") for x in centres)
    queries = proved_queries(Scene(width=100, height=100, things=things), "cup", per_thing=100, seed=0)
    assert run(Middle(of=CUP), Scene(width=100, height=100, things=things)) == {1}
    assert not [query for query in queries if query.text in ("middle cup", "cup in the middle", "center cup")]


def test_nothing_is_proved_of_things_in_one_place() -> None:
    things = tuple(Thing(box_xyxy=(40 + i, 40, 60 + i, 60), category="cup") for i in range(3))
    assert proved_queries(Scene(width=100, height=100, things=things), "cup", per_thing=2, seed=0) == []


def test_queries_follow_from_the_seed() -> None:
    scene = random_scene(3)
    assert proved_queries(scene, "cup", 2, seed=1) == proved_queries(scene, "cup", 2, seed=1)
    assert len({tuple(q.text for q in proved_queries(scene, "cup", 2, seed=seed)) for seed in range(10)}) > 1


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_a_query_is_never_ambiguous_even_if_the_boxes_are_off(seed: int) -> None:
    scene = random_scene(seed)
    queries = proved_queries(scene, "cup", per_thing=4, seed=seed)
    assert len({query.text for query in queries}) == len(queries)
    scenes = [scene, *(jittered(scene, 0.03, Random(seed + i)) for i in range(3))]
    for query in queries:
        assert scene.things[query.target].category == "cup"
        assert query.text in phrasings(query.program)
        assert all(meaning(to_json(query.program), one) == {query.target} for one in scenes)
