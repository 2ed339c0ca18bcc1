from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from trainer.data.sampler import (
    EpochSampler,
    QueryGroup,
    limit_mixing_ratios,
    shuffle_priors,
)


def _count_queries(groups: Sequence[QueryGroup]) -> Counter[tuple[int, int]]:
    return Counter((group.sample, query) for group in groups for query in group.queries)


def _real() -> Counter[tuple[int, int]]:
    return Counter((sample, query) for sample in range(6) for query in range(2))


def test_an_epoch_contains_every_query_once() -> None:
    counts = [3, 1, 5, 2]
    groups = EpochSampler(runs=[counts[:2], counts[2:]], max_queries=2).sample_epoch(0)
    assert _count_queries(groups) == Counter(
        (sample, query) for sample, count in enumerate(counts) for query in range(count)
    )
    assert Counter(group.sample for group in groups) == {0: 2, 1: 1, 2: 3, 3: 1}


def test_the_order_follows_from_seed_and_epoch() -> None:
    order = EpochSampler(runs=[[3] * 20], max_queries=2)
    first = order.sample_epoch(4)
    assert replace(order).sample_epoch(4) == first
    assert order.sample_epoch(5) != first
    assert replace(order, seed=1).sample_epoch(4) != first


def test_with_a_mixing_ratio_of_one_half_two_epochs_contain_all_of_it_once() -> None:
    order = EpochSampler(runs=[[2] * 6, [1] * 10], mixing_ratios=(1.0, 0.5))
    epochs = [order.sample_epoch(epoch) for epoch in range(4)]
    assert order.groups_per_epoch == [12, 5] and all(len(groups) == 17 for groups in epochs)
    generated = [_count_queries([group for group in groups if group.sample >= 6]) for groups in epochs]
    everything = Counter((sample, 0) for sample in range(6, 16))
    assert generated[0] + generated[1] == generated[2] + generated[3] == everything
    assert generated[0] != generated[2]
    assert all(_count_queries([group for group in groups if group.sample < 6]) == _real() for groups in epochs)


def test_with_a_mixing_ratio_of_two_and_a_half_an_epoch_contains_every_query_two_or_three_times() -> None:
    order = EpochSampler(runs=[[1] * 10], mixing_ratios=(2.5,))
    assert set(_count_queries(order.sample_epoch(0)).values()) == {2, 3}
    assert set((_count_queries(order.sample_epoch(0)) + _count_queries(order.sample_epoch(1))).values()) == {5}


@pytest.mark.parametrize(
    ("further", "groups_per_epoch"),
    [([[1] * 90], [30, 10]), ([[1] * 60, [5] * 15], [30, 7, 3]), ([[1] * 6], [30, 6]), ([], [30])],
)
def test_further_runs_make_a_quarter_of_the_groups_at_most(
    further: list[list[int]], groups_per_epoch: list[int]
) -> None:
    runs = [[3] * 30, *further]
    mixing_ratios = limit_mixing_ratios(runs, max_queries=4, max_synthetic_fraction=0.25)
    assert EpochSampler(runs=runs, mixing_ratios=mixing_ratios, max_queries=4).groups_per_epoch == groups_per_epoch


def test_a_shuffle_gives_every_query_the_prior_of_another_one() -> None:
    counts = [3, 1, 4]
    other = shuffle_priors(counts, seed=0)
    queries = [(sample, query) for sample, count in enumerate(counts) for query in range(count)]
    assert sorted(other) == sorted(other.values()) == queries
    assert all(source != target for source, target in other.items())
    assert shuffle_priors(counts, seed=1) != other
