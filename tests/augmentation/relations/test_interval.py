"""Interval arithmetic."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from augmentation.relations.interval import Interval, make_exact, maximum, minimum


def _sample(random: Random) -> Interval:
    return Interval(random.uniform(-5, 5), random.uniform(0, 3))


def _list_ends(interval: Interval) -> tuple[float, float]:
    return interval.center - interval.radius, interval.center + interval.radius


@pytest.mark.parametrize("seed", range(50))
def test_results_enclose_those_of_all_numbers_of_the_operands(seed: int) -> None:
    random = Random(seed)
    a, b = _sample(random), _sample(random)
    for x, y in product(_list_ends(a), _list_ends(b)):
        for result, value in (
            (a + b, x + y),
            (a - b, x - y),
            (a * b, x * y),
            (abs(a), abs(x)),
            (a.scale(-2), -2 * x),
            (minimum(a, b), min(x, y)),
            (maximum(a, b), max(x, y)),
        ):
            low, high = _list_ends(result)
            assert low - 1e-9 <= value <= high + 1e-9


def test_a_product_of_wide_intervals_is_as_wide_as_its_corners() -> None:
    assert Interval(0, 2) * Interval(0, 3) == Interval(0, 6)
    assert Interval(1, 2) * Interval(2, 1) == Interval(2, 7)  # -3 to 9, enclosed by -5 to 9


def test_an_order_is_certain_if_it_holds_for_every_pair() -> None:
    assert Interval(1, 1).is_certainly_le(Interval(4, 2)) and Interval(1, 1).is_certainly_le(make_exact(2))
    assert not Interval(1, 1).is_certainly_le(Interval(4, 2.1))
