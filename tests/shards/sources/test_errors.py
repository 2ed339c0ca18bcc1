"""Values in error messages."""

from __future__ import annotations

from typing import Any

from shards.sources.errors import format_value


def test_a_value_takes_at_most_80_characters() -> None:
    assert format_value([1, "two"]) == "[1, 'two']"
    assert len(format_value(["x" * 100] * 100)) <= 80
    assert format_value(1 << 40_000) == "a int that is too long to show"


def test_parts_that_hold_each_other_2_to_the_60_times_are_shown_at_once() -> None:
    value: Any = ()
    for _ in range(60):
        value = (value, value)
    assert len(format_value(value)) <= 80
