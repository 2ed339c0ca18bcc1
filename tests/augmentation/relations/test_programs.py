"""Records and mirror images of programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from augmentation.errors import AugmentationError
from augmentation.relations.programs import (
    MAX_NESTING,
    Category,
    Ordinal,
    Region,
    WithAttribute,
    from_json,
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


def test_programs_survive_json() -> None:
    program = Ordinal(base=WithAttribute(base=CUP, attribute="color", value="red"), rank=2, side="top")
    record = to_json(program)
    assert record == {
        "op": "ordinal",
        "base": {
            "op": "with_attribute",
            "base": {"op": "category", "name": "cup"},
            "attribute": "color",
            "value": "red",
        },
        "rank": 2,
        "side": "top",
    }
    assert from_json(json.loads(json.dumps(record))) == program


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"op": "inside"}, "unknown operator 'inside'; known are category"),
        ({"op": "nearest"}, r"nearest takes \['anchor', 'base'\], got \[\]"),
        ({"op": "middle", "base": 3}, "a program is an object"),
        ({}, "unknown operator None"),
        ({"op": "category"}, r"category takes \['name'\], got \[\]"),
        ({"op": "extreme", "base": {"op": "category", "name": "cup"}, "side": "up"}, "one of left, right, top, bottom"),
        ({"op": "ordinal", "base": {"op": "category", "name": "a"}, "side": "top", "rank": 0}, "counts from 1, got 0"),
    ],
)
def test_a_record_that_is_no_program_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentationError, match=message):
        from_json(record)


def test_the_mirror_swaps_left_and_right_only() -> None:
    corner = Region(base=Region(base=CUP, region="top"), region="left")
    assert flip(corner) == Region(base=Region(base=CUP, region="top"), region="right")
    assert flip(Ordinal(base=CUP, rank=2, side="bottom")) == Ordinal(base=CUP, rank=2, side="bottom")
    assert flip_scene(_scene((10, 20))).objects[0].box_xyxy == (85, 15, 95, 25)


def test_programs_nest_as_deep_as_allowed_and_no_deeper() -> None:
    record: dict[str, Any] = {"op": "category", "name": "cup"}
    for _ in range(MAX_NESTING - 1):
        record = {"op": "middle", "base": record}
    from_json(record)
    with pytest.raises(AugmentationError, match=f"at most {MAX_NESTING} nested ones"):
        from_json({"op": "middle", "base": record})
