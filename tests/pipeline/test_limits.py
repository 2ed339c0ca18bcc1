"""Limits of numbers in configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from pipeline import LimitedConfig, PositiveFloat, PositiveInt, Range, ShareBelowOne


@dataclass(frozen=True, kw_only=True)
class _Config(LimitedConfig):
    count: PositiveInt = 1
    share: ShareBelowOne = 0.0
    odds: Annotated[float, Range(0, 0.5, low_open=True)] = 0.5
    limit_s: PositiveFloat | None = None


@dataclass(frozen=True, kw_only=True)
class _Derived(_Config):
    more: PositiveInt = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"share": 1.0}, r"share must lie in \[0, 1\), got 1.0"),
        ({"odds": 0.0}, r"odds must lie in \(0, 0.5\], got 0.0"),
        ({"limit_s": 0.0}, "limit_s must be positive, got 0.0"),
        ({"share": float("nan")}, "share must lie in"),
        ({"more": 0}, "more must be at least 1, got 0"),
    ],
)
def test_a_number_outside_its_range_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _Derived(**changes)


def test_ends_inside_a_range_and_none_are_accepted() -> None:
    assert _Derived(count=1, share=0.0, odds=0.5, limit_s=None, more=1).limit_s is None
