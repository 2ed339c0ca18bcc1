"""Phrases of programs in each style, by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from augmentation.errors import AugmentationError
from augmentation.queries.generator import enumerate_programs
from augmentation.queries.parse_check import POSITION_WORDS
from augmentation.queries.realizer import PhraseRealizer, get_relation_types
from augmentation.queries.templates import Style
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
    Odd,
    Ordinal,
    Program,
    Region,
    Superlative,
    WithAttribute,
    to_json,
)
from augmentation.relations.scene import Contact, Scene, SceneObject
from augmentation.relations.types import get_relation_type
from generation.parsing.lexicon import LOCATION_WORDS
from tests.augmentation.mirror import flip

STYLES: tuple[Style, ...] = get_args(Style)


PLURALS = {"cup": "cups", "ball": "balls"}


CUP = Category(name="cup")


RED = WithAttribute(base=CUP, attribute="color", value="red")


STRIPED = WithAttribute(base=RED, attribute="pattern", value="striped")


BALL = Category(name="ball")


def realize(program: Program, style: Style = "refcoco") -> tuple[str, ...]:
    return PhraseRealizer(style=style, plurals=PLURALS).realize(program)


@pytest.mark.parametrize(
    ("program", "phrases"),
    [
        (Extreme(base=CUP, side="left"), {"left cup", "cup on the left", "leftmost cup", "the left cup"}),
        (Extreme(base=Category(name="car"), side="right"), {"rightmost car"}),
        (Extreme(base=Category(name="ball"), side="top"), {"top ball", "ball at the top"}),
        (Ordinal(base=CUP, rank=2, side="right"), {"second cup from the right", "2nd cup from right"}),
        (Ordinal(base=Category(name="fish"), rank=3, side="left"), {"3rd fish from left", "fish third from the left"}),
        (Middle(base=Category(name="bottle")), {"middle bottle", "bottle in the middle"}),
        (Extreme(base=Region(base=CUP, region="left"), side="left"), {"cup on the far left", "far left cup"}),
        (Region(base=Region(base=CUP, region="top"), region="left"), {"top left cup", "cup in the top left corner"}),
        (Region(base=CUP, region="right"), {"cup on the right side", "right side cup"}),
        (Extreme(base=STRIPED, side="left"), {"left striped red cup"}),
        (RED, {"red cup", "the red cup"}),
        (Odd(base=CUP, attribute=None), {"odd cup out", "the different cup", "cup unlike the others"}),
        (Odd(base=CUP, attribute="color"), {"cup with a different color", "the cup with a different color"}),
        (Superlative(base=CUP, measure="biggest"), {"biggest cup", "the largest cup"}),
        (Superlative(base=Region(base=CUP, region="left"), measure="tallest"), {"tallest cup on the left"}),
        (Ordinal(base=Line(base=CUP, rank=1, side="top"), rank=2, side="left"), {"2nd cup from left in top row"}),
        (Extreme(base=Line(base=CUP, rank=2, side="left"), side="top"), {"top cup in second column from the left"}),
        (Beside(base=CUP, direction="left", anchor=BALL), {"cup left of ball", "cup to the left of the ball"}),
        (Beside(base=CUP, direction="above", anchor=RED), {"cup above the red one", "cup above red cup"}),
        (NextTo(base=RED, anchor=BALL), {"red cup next to ball", "red cup beside the ball"}),
        (Nearest(base=CUP, anchor=BALL), {"cup closest to the ball"}),
        (Between(base=CUP, ends=BALL), {"cup between balls", "cup between the two balls"}),
        (Depth(base=CUP, position="back"), {"back cup", "cup furthest away"}),
    ],
)
def test_programs_are_said_as_people_say_them(program: Program, phrases: set[str]) -> None:
    assert phrases <= set(realize(program))


def test_adjectives_come_in_english_order_whatever_the_order_of_the_filters() -> None:
    other = WithAttribute(
        base=WithAttribute(base=CUP, attribute="pattern", value="striped"), attribute="color", value="red"
    )
    assert realize(other) == realize(STRIPED) == ("striped red cup", "the striped red cup")


@pytest.mark.parametrize("style", STYLES)
def test_a_mirrored_program_is_said_with_left_and_right_swapped(style: Style) -> None:
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    for program in _programs():
        mirrored = tuple(" ".join(swap.get(word, word) for word in text.split()) for text in realize(program, style))
        assert mirrored == realize(flip(program), style)


@pytest.mark.parametrize(
    "program", [Middle(base=Extreme(base=CUP, side="left")), Ordinal(base=CUP, rank=11, side="left")]
)
def test_a_program_without_words_is_refused(program: Program) -> None:
    with pytest.raises(AugmentationError, match="no words for"):
        realize(program)


def test_two_things_are_named_together_only_where_their_plural_is_known() -> None:
    assert PhraseRealizer(style="refcoco").realize(Between(base=CUP, ends=BALL)) == ()


def test_one_style_never_says_a_location() -> None:
    texts = [text for program in _programs() for text in realize(program, "refcoco+")]
    said = {word for text in texts for word in text.split()}
    assert said & POSITION_WORDS == {"next", "beside", "closest", "nearest", "between"}  # of relations alone
    assert not said & {*LOCATION_WORDS} - {"closest", "nearest", "next"}
    assert {get_relation_type(to_json(program)) for program in _programs() if realize(program, "refcoco+")} == set(
        get_relation_types("refcoco+")
    )


def test_careful_writers_use_articles_and_more_words() -> None:
    short, long = ([t for p in _programs() for t in realize(p, style)] for style in ("refcoco", "refcocog"))
    assert sum(len(text.split()) for text in long) / len(long) > sum(len(text.split()) for text in short) / len(short)
    assert sum(text.split()[0] in ("a", "an", "the") for text in long) > 0.7 * len(long)


def _programs() -> list[Program]:
    """All that can be said of red, blue and striped cups among two balls, one blue, in perspective and in contact."""
    objects = [
        SceneObject(
            box_xyxy=(10 * i, 10, 10 * i + 8, 20),
            category=category,
            attributes={"color": color, "pattern": "striped" if i == 1 else ""},
        )
        for i, (category, color) in enumerate(
            [
                *(("cup", color) for color in ("red", "red", "blue", "red", "red", "red")),
                ("ball", "red"),
                ("ball", "blue"),
            ]
        )
    ]
    on, inside = (Contact(kind=kind, object_index=0, anchor_index=6) for kind in ("on", "in"))
    scenes = (
        Scene(width=100, height=100, objects=tuple(objects), perspective=one, contacts=(on, inside))
        for one in (True, False)
    )
    return list(dict.fromkeys(program for scene in scenes for program in enumerate_programs(scene, "cup", PLURALS)))
