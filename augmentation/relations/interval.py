"""Interval arithmetic, for measurements of boxes whose edges may be slightly off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Interval of all numbers at most ``radius`` away from ``center``.

    The result of an operation encloses all results of numbers in its operands. Mirroring a scene only changes signs of
    centers, so a scene and its mirror image compare exactly alike.
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
        """Return whether self <= other for every pair of numbers in both intervals."""
        return other.center - self.center >= self.radius + other.radius


def minimum(a: Interval, b: Interval) -> Interval:
    """Return an interval that encloses the minimum of two numbers."""
    return Interval(min(a.center, b.center), max(a.radius, b.radius))


def maximum(a: Interval, b: Interval) -> Interval:
    """Return an interval that encloses the maximum of two numbers."""
    return Interval(max(a.center, b.center), max(a.radius, b.radius))


ZERO = Interval(0.0, 0.0)


def make_exact(value: float) -> Interval:
    """Return the interval that holds one number."""
    return Interval(value, 0.0)
