"""Round trips of phrases through the query parser."""

from __future__ import annotations

from typing import get_args

import pytest

from augmentation.queries.generator import enumerate_programs
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.templates import Style
from augmentation.relations.programs import (
    Beside,
    Category,
    Extreme,
    Program,
)
from augmentation.relations.scene import Contact, Scene, SceneObject

STYLES: tuple[Style, ...] = get_args(Style)


PLURALS = {"cup": "cups", "ball": "balls"}


CUP = Category(name="cup")


BALL = Category(name="ball")


def realize(program: Program, style: Style = "refcoco") -> tuple[str, ...]:
    return PhraseRealizer(style=style, plurals=PLURALS).realize(program)


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


@pytest.mark.parametrize("style", STYLES)
def test_every_phrase_is_read_back_with_head_place_and_the_other_thing(style: Style) -> None:
    readback = RoundTripParser()
    misread = [t for p in _programs() for t in realize(p, style) if not readback.is_consistent(t, p)]
    assert misread == []


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("left ball", Extreme(base=CUP, side="left")),
        ("cup left of the hat", Beside(base=CUP, direction="left", anchor=BALL)),
    ],
)
def test_what_is_read_as_something_else_is_not_understood(text: str, program: Program) -> None:
    readback = RoundTripParser()
    assert readback.is_consistent(realize(program)[0], program)
    assert not readback.is_consistent(text, program)
