"""Types of programs, and the smallest scenes in which one of each type selects an object."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from augmentation.relations.evaluator import evaluate_program
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
from augmentation.relations.types import MIN_OBJECTS, RELATION_TYPES, RelationType, get_relation_type
from shards.boxes import Box

CUP, BALL = Category(name="cup"), Category(name="ball")
RED = WithAttribute(base=CUP, attribute="color", value="red")
ROW = Line(base=CUP, rank=1, side="top")


@pytest.mark.parametrize(
    ("program", "type"),
    [
        (CUP, "attribute"),
        (RED, "attribute"),
        (Extreme(base=CUP, side="left"), "side"),
        (Ordinal(base=CUP, rank=1, side="left"), "side"),
        (Ordinal(base=CUP, rank=2, side="left"), "ordinal"),
        (Ordinal(base=ROW, rank=1, side="left"), "line"),
        (Extreme(base=ROW, side="left"), "line"),
        (Middle(base=ROW), "line"),
        (Middle(base=CUP), "middle"),
        (Region(base=CUP, region="left"), "region"),
        (Superlative(base=CUP, measure="tallest"), "size"),
        (Beside(base=CUP, direction="left", anchor=BALL), "beside"),
        (Beside(base=CUP, direction="above", anchor=BALL), "beside"),
        (Beside(base=CUP, direction="front", anchor=RED), "depth"),
        (Beside(base=CUP, direction="behind", anchor=RED), "depth"),
        (NextTo(base=CUP, anchor=BALL), "near"),
        (Nearest(base=CUP, anchor=BALL), "near"),
        (Between(base=CUP, ends=BALL), "between"),
        (Depth(base=CUP, position="back"), "depth"),
        (Odd(base=CUP, attribute=None), "attribute"),
        (Beside(base=CUP, direction="on", anchor=BALL), "contact"),
        (Beside(base=CUP, direction="in", anchor=BALL), "contact"),
    ],
)
def test_the_outermost_operator_decides_the_type_unless_it_counts_in_a_row(
    program: Program, type: RelationType
) -> None:
    assert get_relation_type(to_json(program)) == type


def _place(*centers: tuple[float, float]) -> tuple[Box, ...]:
    return tuple((x - 5, y - 5, x + 5, y + 5) for x, y in centers)


BALLS = (
    SceneObject(box_xyxy=(40, 45, 50, 55), category="ball"),
    SceneObject(box_xyxy=(80, 45, 90, 55), category="ball"),
)

SMALLEST: Mapping[RelationType, tuple[Program, tuple[Box, ...], int]] = {
    "attribute": (RED, _place((20, 50), (70, 50)), 0),
    "side": (Extreme(base=CUP, side="left"), _place((20, 50), (70, 50)), 0),
    "ordinal": (Ordinal(base=CUP, rank=2, side="left"), _place((20, 50), (50, 50), (80, 50)), 0),
    "middle": (Middle(base=CUP), _place((20, 50), (50, 50), (80, 50)), 0),
    "region": (Region(base=CUP, region="left"), _place((20, 50), (70, 50)), 0),
    "line": (Extreme(base=ROW, side="left"), _place((20, 20), (70, 20), (20, 80), (70, 80)), 0),
    "size": (Superlative(base=CUP, measure="biggest"), ((10, 10, 40, 40), (60, 60, 70, 70)), 0),
    "beside": (Beside(base=CUP, direction="left", anchor=BALL), _place((20, 50), (70, 50)), 1),
    "near": (NextTo(base=CUP, anchor=BALL), _place((32, 50), (90, 50)), 1),
    "between": (Between(base=CUP, ends=BALL), _place((65, 50), (20, 20)), 2),
    "contact": (Beside(base=CUP, direction="on", anchor=BALL), _place((45, 40), (90, 90)), 1),
    "depth": (Depth(base=CUP, position="front"), ((10, 40, 30, 65), (50, 20, 70, 40)), 0),
}
"""A program of each type, the cups of the smallest scene in which it selects one, and the number of balls."""


@pytest.mark.parametrize("type", RELATION_TYPES)
def test_the_smallest_scene_of_a_type_has_its_minimum_of_objects(type: RelationType) -> None:
    program, boxes, num_balls = SMALLEST[type]
    colors = ("red", *["blue"] * (len(boxes) - 1))
    cups = tuple(
        SceneObject(box_xyxy=box, category="cup", attributes={"color": color})
        for box, color in zip(boxes, colors, strict=True)
    )
    scene = Scene(
        width=100,
        height=100,
        objects=(*cups, *BALLS[:num_balls]),
        perspective=type == "depth",
        contacts=(Contact(kind="on", object_index=0, anchor_index=2),) if type == "contact" else (),
        placed=frozenset(range(len(cups) + num_balls)),
    )
    assert len(evaluate_program(program, scene)) == 1
    assert get_relation_type(to_json(program)) == type
    assert len(boxes) == MIN_OBJECTS[type]
