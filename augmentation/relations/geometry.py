"""Positions and sizes of the objects of a scene, with bounds for noise of their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from augmentation.relations.interval import ZERO, Interval, make_exact, maximum, minimum
from augmentation.relations.programs import Side
from augmentation.relations.scene import Scene

Axis = Literal[0, 1]
"""Axis: 0 across the image, 1 down."""

AXIS: Mapping[Side, Axis] = {"left": 0, "right": 0, "top": 1, "bottom": 1}

MIN_CENTER_GAP = 0.06
"""Minimum difference of two centers that are in order along an axis, as a share of the image's extent."""

MIN_CENTER_GAP_OF_SIZE = 0.4
"""Minimum difference of the same centers as a share of the objects' mean size along the axis; both must hold."""


@dataclass(frozen=True)
class Geometry:
    """Measurements in a scene; each box edge may be off by ``noise``, a share of the box's size along its axis."""

    scene: Scene
    noise: float

    def extent_px(self, axis: Axis) -> int:
        return (self.scene.width, self.scene.height)[axis]

    def size(self, i: int, axis: Axis) -> Interval:
        size_px = self._size_px(i, axis)
        return Interval(size_px, 2 * self.noise * size_px)

    def center(self, i: int, axis: Axis) -> Interval:
        box = self.scene.objects[i].box_xyxy
        return Interval((box[axis] + box[axis + 2]) / 2, self.noise * self._size_px(i, axis))

    def start(self, i: int, axis: Axis) -> Interval:
        """Return the left or upper edge."""
        return Interval(self.scene.objects[i].box_xyxy[axis], self.noise * self._size_px(i, axis))

    def end(self, i: int, axis: Axis) -> Interval:
        """Return the right or lower edge."""
        return Interval(self.scene.objects[i].box_xyxy[axis + 2], self.noise * self._size_px(i, axis))

    def area(self, i: int) -> Interval:
        return self.size(i, 0) * self.size(i, 1)

    def mean_side(self, i: int) -> Interval:
        """Return the mean of width and height."""
        return (self.size(i, 0) + self.size(i, 1)).scale(0.5)

    def distance_from_side(self, i: int, side: Side) -> Interval:
        """Return the distance of the center from a side of the image."""
        center = self.center(i, AXIS[side])
        return center if side in ("left", "top") else make_exact(self.extent_px(AXIS[side])) - center

    def center_distance(self, i: int, j: int, axis: Axis) -> Interval:
        """Return the distance of two centers along an axis."""
        return abs(self.center(j, axis) - self.center(i, axis))

    def mean_size(self, i: int, j: int, axis: Axis) -> Interval:
        return (self.size(i, axis) + self.size(j, axis)).scale(0.5)

    def squared_distance(self, i: int, j: int) -> Interval:
        """Return the squared distance of two centers."""
        across, down = self.center_distance(i, j, 0), self.center_distance(i, j, 1)
        return across * across + down * down

    def gap(self, i: int, j: int, axis: Axis) -> Interval:
        """Return the gap between two boxes along an axis; 0 if they overlap."""
        before, behind = self.start(j, axis) - self.end(i, axis), self.start(i, axis) - self.end(j, axis)
        return maximum(maximum(before, behind), ZERO)

    def overlap(self, i: int, j: int, axis: Axis) -> Interval:
        """Return the overlap of two boxes along an axis; negative if they are apart."""
        return minimum(self.end(i, axis), self.end(j, axis)) - maximum(self.start(i, axis), self.start(j, axis))

    def squared_gap(self, i: int, j: int) -> Interval:
        """Return the squared gap between two boxes."""
        across, down = self.gap(i, j, 0), self.gap(i, j, 1)
        return across * across + down * down

    def is_clearly_before(self, i: int, j: int, side: Side) -> bool:
        """Return whether ``i`` is certainly nearer to the side than ``j``, by a clear gap of their centers."""
        axis = AXIS[side]
        between = self.distance_from_side(j, side) - self.distance_from_side(i, side)
        min_gap_of_image = make_exact(MIN_CENTER_GAP * self.extent_px(axis))
        min_gap_of_size = self.mean_size(i, j, axis).scale(MIN_CENTER_GAP_OF_SIZE)
        return min_gap_of_image.is_certainly_le(between) and min_gap_of_size.is_certainly_le(between)

    def _size_px(self, i: int, axis: Axis) -> float:
        box = self.scene.objects[i].box_xyxy
        return box[axis + 2] - box[axis]
