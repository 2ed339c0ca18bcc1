"""The objects of one image, with their boxes and known attributes, on which relation programs are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from shards.boxes import Box, validate_box

GRID_PX = 1 / 64
"""Grid of box edges. Floats represent its multiples exactly, so a scene and its mirror image compare alike."""


def snap_to_grid(box: Box) -> Box:
    """Return the box with each edge moved to the nearest multiple of ``GRID_PX``."""
    x1, y1, x2, y2 = (round(edge / GRID_PX) * GRID_PX for edge in box)
    return (x1, y1, x2, y2)


NO_ATTRIBUTE = ""
"""Value of an attribute that is known to be absent, such as the pattern of a plain cup; never said in a query."""


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """An object of a scene: requested from a composer, or (``Detection``) reported by a detector."""

    box_xyxy: Box
    """Box in pixels; edges are moved to the grid of ``GRID_PX``."""

    category: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Known attributes, such as ``{"color": "red"}``; an attribute without an entry is unknown."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "box_xyxy", snap_to_grid(self.box_xyxy))


ContactKind = Literal["on", "in"]
"""``on``: the object stands on the anchor. ``in``: the anchor holds it and hides its lower part."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """An object that a composer placed on or in another one, by their indices."""

    kind: ContactKind
    object_index: int
    anchor_index: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All objects of an image, of every category; programs select them by index."""

    width: int
    height: int
    objects: tuple[SceneObject, ...]
    perspective: bool = False
    """Perspective flag: the objects of one category are known to stand on one ground plane."""

    attributes: tuple[str, ...] = ()
    """Attributes that its objects may have, known or not, besides those that are known of any."""

    contacts: tuple[Contact, ...] = ()
    """Contacts of its objects; boxes alone do not tell them."""

    placed: frozenset[int] = frozenset()
    """Indices of the objects that a composer placed. It is known that they have no other contacts with each other."""

    def __post_init__(self) -> None:
        for i, obj in enumerate(self.objects):
            validate_box(obj.box_xyxy, self.width, self.height, f"object {i} ({obj.category})")

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        """Return all attributes that its objects may have."""
        return tuple(sorted({*self.attributes, *(name for obj in self.objects for name in obj.attributes)}))
