"""Mirror images of programs and scenes, left and right swapped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from augmentation.relations.programs import Program, from_json, to_json
from augmentation.relations.scene import Scene

OPPOSITE = {"left": "right", "right": "left"}


def flip(program: Program) -> Program:
    """Return the program that selects in the mirrored scene what ``program`` selects in the scene."""
    return from_json(_flip_record(to_json(program)))


def _flip_record(record: dict[str, Any]) -> dict[str, Any]:
    for name, value in record.items():
        if isinstance(value, dict):
            record[name] = _flip_record(value)
        elif name in ("side", "region", "direction"):
            record[name] = OPPOSITE.get(value, value)
    return record


def flip_scene(scene: Scene) -> Scene:
    """Return the mirror image of a scene; objects keep their indices."""
    flipped = (
        replace(obj, box_xyxy=(scene.width - x2, y1, scene.width - x1, y2))
        for obj in scene.objects
        for x1, y1, x2, y2 in [obj.box_xyxy]
    )
    return replace(scene, objects=tuple(flipped))
