"""Limits of numbers in configurations, stated by the types of the fields: ``num_scenes: PositiveInt = 900``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints


@dataclass(frozen=True)
class Range:
    """Range of numbers, ``Annotated[float, Range(0, 1)]``; its ends are inside unless they are open.

    A range without a high end begins at 0 if its low end is open.
    """

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        is_above = value > self.low if self.low_open else value >= self.low
        return is_above and (value < self.high if self.high_open else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return "be positive" if self.low_open else f"be at least {self.low:g}"
        return f"lie in {'[('[self.low_open]}{self.low:g}, {self.high:g}{'])'[self.high_open]}"


PositiveInt = Annotated[int, Range(1)]
NotNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, low_open=True)]
NotNegativeFloat = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, low_open=True)]
OpenShare = Annotated[float, Range(0, 1, low_open=True, high_open=True)]
ShareBelowOne = Annotated[float, Range(0, 1, high_open=True)]


class LimitedConfig:
    """Base of dataclasses that refuse a number outside the range of its field; None is allowed."""

    def __post_init__(self) -> None:
        config: Any = type(self)
        for name, limits in _get_ranges(config).items():
            value = getattr(self, name)
            if value is not None and value not in limits:
                raise ValueError(f"{name} must {limits}, got {value}")


@cache
def _get_ranges(config: type) -> dict[str, Range]:
    """Return the ranges of a dataclass's fields, by name."""
    return {
        name: limits
        for name, hint in get_type_hints(config, include_extras=True).items()
        for part in (hint, *get_args(hint))  # a number, or a number or None
        for limits in getattr(part, "__metadata__", ())
        if isinstance(limits, Range)
    }
