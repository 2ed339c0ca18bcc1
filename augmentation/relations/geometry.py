"""Where the things of a scene are and how large, within the bounds that noise leaves, and when two are in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from augmentation.relations.interval import ZERO, Interval, exactly, larger
from augmentation.relations.programs import Side
from augmentation.relations.scene import Scene

Axis = Literal[0, 1]
"""0 across the picture, 1 down."""

AXIS: Mapping[Side, Axis] = {"left": 0, "right": 0, "top": 1, "bottom": 1}

LEAST_GAP_OF_PICTURE = 0.06
"""Two things are in order along an axis if their centres differ by this share of the picture's extent ..."""

LEAST_GAP_OF_SIZE = 0.4
"""... and by this share of their mean size along that axis."""


@dataclass(frozen=True)
class Geometry:
    """A scene whose boxes may be off: each edge by up to ``noise``, a share of the box's size along its axis."""

    scene: Scene
    noise: float

    def extent_px(self, axis: Axis) -> int:
        return (self.scene.width, self.scene.height)[axis]

    def size(self, i: int, axis: Axis) -> Interval:
        size_px = self._size_px(i, axis)
        return Interval(size_px, 2 * self.noise * size_px)

    def centre(self, i: int, axis: Axis) -> Interval:
        box = self.scene.things[i].box_xyxy
        return Interval((box[axis] + box[axis + 2]) / 2, self.noise * self._size_px(i, axis))

    def start(self, i: int, axis: Axis) -> Interval:
        """The left or upper edge."""
        return Interval(self.scene.things[i].box_xyxy[axis], self.noise * self._size_px(i, axis))

    def end(self, i: int, axis: Axis) -> Interval:
        """The right or lower edge."""
        return Interval(self.scene.things[i].box_xyxy[axis + 2], self.noise * self._size_px(i, axis))

    def area(self, i: int) -> Interval:
        return self.size(i, 0) * self.size(i, 1)

    def girth(self, i: int) -> Interval:
        """Mean of width and height."""
        return (self.size(i, 0) + self.size(i, 1)).scaled(0.5)

    def from_side(self, i: int, side: Side) -> Interval:
        """Distance of the centre from a side of the picture."""
        centre = self.centre(i, AXIS[side])
        return centre if side in ("left", "top") else exactly(self.extent_px(AXIS[side])) - centre

    def apart(self, i: int, j: int, axis: Axis) -> Interval:
        """Distance of two centres along an axis."""
        return abs(self.centre(j, axis) - self.centre(i, axis))

    def mean_size(self, i: int, j: int, axis: Axis) -> Interval:
        return (self.size(i, axis) + self.size(j, axis)).scaled(0.5)

    def distance2(self, i: int, j: int) -> Interval:
        """Of two centres, squared."""
        across, down = self.apart(i, j, 0), self.apart(i, j, 1)
        return across * across + down * down

    def gap(self, i: int, j: int, axis: Axis) -> Interval:
        """What parts two boxes along an axis, 0 where they overlap."""
        before, behind = self.start(j, axis) - self.end(i, axis), self.start(i, axis) - self.end(j, axis)
        return larger(larger(before, behind), ZERO)

    def gap2(self, i: int, j: int) -> Interval:
        """What parts two boxes, squared."""
        across, down = self.gap(i, j, 0), self.gap(i, j, 1)
        return across * across + down * down

    def clearly_before(self, i: int, j: int, side: Side) -> bool:
        """Whether ``i`` must be nearer to the side than ``j``, by a clear gap of their centres."""
        axis = AXIS[side]
        between = self.from_side(j, side) - self.from_side(i, side)
        of_picture = exactly(LEAST_GAP_OF_PICTURE * self.extent_px(axis))
        of_size = self.mean_size(i, j, axis).scaled(LEAST_GAP_OF_SIZE)
        return of_picture.at_most(between) and of_size.at_most(between)

    def _size_px(self, i: int, axis: Axis) -> float:
        box = self.scene.things[i].box_xyxy
        return box[axis + 2] - box[axis]
