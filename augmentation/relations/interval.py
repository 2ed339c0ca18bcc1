"""Numbers that are known within bounds: what boxes say when each edge may be a little off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers at most ``radius`` away from ``center``.

    Every operation encloses all results that its operands allow. Mirroring a scene only turns signs of middles, so
    that a scene and its mirror image compare exactly alike.
    """

    center: float
    radius: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.center + other.center, self.radius + other.radius)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.center - other.center, self.radius + other.radius)

    def __mul__(self, other: Interval) -> Interval:
        across = abs(self.center) * other.radius + abs(other.center) * self.radius
        return Interval(self.center * other.center, across + self.radius * other.radius)

    def __abs__(self) -> Interval:
        return Interval(abs(self.center), self.radius)

    def scale(self, factor: float) -> Interval:
        return Interval(factor * self.center, abs(factor) * self.radius)

    def is_certainly_le(self, other: Interval) -> bool:
        """Whether it surely is."""
        return other.center - self.center >= self.radius + other.radius


def minimum(a: Interval, b: Interval) -> Interval:
    """The minimum of two numbers."""
    return Interval(min(a.center, b.center), max(a.radius, b.radius))


def maximum(a: Interval, b: Interval) -> Interval:
    """The maximum of two numbers."""
    return Interval(max(a.center, b.center), max(a.radius, b.radius))


ZERO = Interval(0.0, 0.0)


def make_exact(value: float) -> Interval:
    return Interval(value, 0.0)
