"""What programs look at: the objects of one image, with boxes and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shards.schema import Box, validate_box

GRID_PX = 1 / 64
"""Boxes are kept to this, which floats hold exactly: a scene and its mirror image then compare exactly alike."""


def snap_to_grid(box: Box) -> Box:
    """The box with each edge at the nearest multiple of ``GRID_PX``."""
    x1, y1, x2, y2 = (round(edge / GRID_PX) * GRID_PX for edge in box)
    return (x1, y1, x2, y2)


NO_ATTRIBUTE = ""
"""The value of a kind of attribute that a object has none of: a plain cup has no pattern. Known, and never said."""


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object of a scene."""

    box_xyxy: Box
    """In pixels; edges that are off the grid are moved onto it."""

    category: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Known facts by kind, such as ``{"color": "red"}``; a kind that is absent is not known."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "box_xyxy", snap_to_grid(self.box_xyxy))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All objects of a image, of every category; programs select them by index."""

    width: int
    height: int
    objects: tuple[SceneObject, ...]
    perspective: bool = False
    """Whether objects of one category are known to stand on one ground, seen in perspective."""

    def __post_init__(self) -> None:
        for i, obj in enumerate(self.objects):
            validate_box(obj.box_xyxy, self.width, self.height, f"object {i} ({obj.category})")


def flip_scene(scene: Scene) -> Scene:
    """The scene in a mirror, left and right swapped; objects keep their indices."""
    return Scene(
        width=scene.width,
        height=scene.height,
        perspective=scene.perspective,
        objects=tuple(
            SceneObject(box_xyxy=_flip_box(obj.box_xyxy, scene.width), category=obj.category, attributes=obj.attributes)
            for obj in scene.objects
        ),
    )


def _flip_box(box: Box, width: int) -> Box:
    x1, y1, x2, y2 = box
    return (width - x2, y1, width - x1, y2)
