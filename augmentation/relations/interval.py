"""Numbers that are known within bounds: what boxes say when each edge may be a little off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers at most ``radius`` away from ``middle``.

    Every operation encloses all results that its operands allow. Mirroring a scene only turns signs of middles, so
    that a scene and its mirror image compare exactly alike.
    """

    middle: float
    radius: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.middle + other.middle, self.radius + other.radius)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.middle - other.middle, self.radius + other.radius)

    def __mul__(self, other: Interval) -> Interval:
        across = abs(self.middle) * other.radius + abs(other.middle) * self.radius
        return Interval(self.middle * other.middle, across + self.radius * other.radius)

    def __abs__(self) -> Interval:
        return Interval(abs(self.middle), self.radius)

    def scaled(self, factor: float) -> Interval:
        return Interval(factor * self.middle, abs(factor) * self.radius)

    def at_most(self, other: Interval) -> bool:
        """Whether it surely is."""
        return other.middle - self.middle >= self.radius + other.radius


def smaller(a: Interval, b: Interval) -> Interval:
    """The minimum of two numbers."""
    return Interval(min(a.middle, b.middle), max(a.radius, b.radius))


def larger(a: Interval, b: Interval) -> Interval:
    """The maximum of two numbers."""
    return Interval(max(a.middle, b.middle), max(a.radius, b.radius))


ZERO = Interval(0.0, 0.0)


def exactly(value: float) -> Interval:
    return Interval(value, 0.0)
