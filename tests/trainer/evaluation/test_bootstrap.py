from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.bootstrap import compute_intervals


def test_an_interval_of_independent_rows_is_the_textbooks() -> None:
    values = np.random.default_rng(0).random(4000) < 0.3
    (found,) = compute_intervals(values, [str(i) for i in range(4000)])
    error = (0.3 * 0.7 / 4000) ** 0.5
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_rows_of_one_image_count_as_one_observation() -> None:
    """Ten equal rows in each of 400 images say no more than one each."""
    values = np.random.default_rng(1).random(400) < 0.5
    alone, repeated = (
        compute_intervals(np.repeat(values, n), [str(i) for i in range(400) for _ in range(n)])[0] for n in (1, 10)
    )
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_a_single_image_has_an_interval_of_no_width() -> None:
    (found,) = compute_intervals([0.0, 1.0], ["one", "one"])
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)
    assert found.excludes_zero


def test_shares_without_variance_have_the_interval_of_wilson() -> None:
    """The limits for 0 of 10 are published: 0 and 0.2775 (Brown, Cai and DasGupta, 2001)."""
    images = [str(i // 2) for i in range(20)]
    rows = np.column_stack([np.zeros(20), np.arange(20) % 3 == 0, np.ones(20)])
    none, some, all_right = compute_intervals(rows, images, are_shares=True)
    assert (none.mean, none.low) == (0, pytest.approx(0)) and none.high == pytest.approx(0.2775, abs=1e-4)
    assert (all_right.mean, all_right.high) == (1, pytest.approx(1))
    assert all_right.low == pytest.approx(0.7225, abs=1e-4)
    assert some == compute_intervals(rows, images)[1]
    assert compute_intervals(rows, images)[0].high == 0  # a difference of zero has no such interval
