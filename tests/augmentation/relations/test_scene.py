"""Scenes that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from augmentation.relations.evaluator import evaluate_program
from augmentation.relations.programs import Category, Depth
from augmentation.relations.scene import Scene, SceneObject
from shards.errors import SchemaError


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


def test_a_thing_outside_the_picture_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"object 0 \(cup\).*outside the 100 x 100"):
        _scene((99, 50))


def test_edges_lie_on_a_grid_of_64ths_of_a_pixel() -> None:
    thing = SceneObject(box_xyxy=(10.01, 20.008, 30.3, 40.99), category="cup")
    assert thing.box_xyxy == (10 + 1 / 64, 20 + 1 / 64, 30 + 19 / 64, 40 + 63 / 64)
    assert thing.attributes == {}


def test_nothing_is_in_front_in_a_scene_not_known_to_be_in_perspective() -> None:
    boxes = ((10, 40, 30, 65), (50, 20, 70, 40))
    scene = Scene(width=100, height=100, objects=tuple(SceneObject(box_xyxy=box, category="cup") for box in boxes))
    front = Depth(base=Category(name="cup"), position="front")
    assert evaluate_program(front, scene) == frozenset()
    assert evaluate_program(front, replace(scene, perspective=True)) == {0}
