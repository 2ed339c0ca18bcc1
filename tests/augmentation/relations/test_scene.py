"""Scenes that are refused."""

from __future__ import annotations

import pytest

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
