"""The order of training: the queries of each epoch as a pure function of (seed, epoch).

An epoch contains every query exactly once. A query group is an image with up to k of its queries; an image with more
queries has several groups. If the mixing ratio of a run is not 1, its endless sequence of passes is cut into epochs
of that ratio. A pass is a shuffled order of all groups of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, kw_only=True)
class QueryGroup:
    """An image and some of its queries, which the network answers together."""

    sample: int
    """Index of the sample, counted through all runs."""

    queries: tuple[int, ...]
    """Indices into the sample's queries."""


def group_queries(num_queries: Sequence[int], max_queries: int) -> list[QueryGroup]:
    """Return groups that contain every query once, in the order of samples and queries.

    Args:
        num_queries: number of queries of each sample.
        max_queries: largest size of a group.
    """
    return [
        QueryGroup(sample=sample, queries=tuple(range(first, min(first + max_queries, count))))
        for sample, count in enumerate(num_queries)
        for first in range(0, count, max_queries)
    ]


def count_groups(num_queries: Sequence[int], max_queries: int) -> int:
    """Return the number of groups in a pass over samples with these numbers of queries."""
    return sum(-(-count // max_queries) for count in num_queries)


def limit_mixing_ratios(
    runs: Sequence[Sequence[int]], max_queries: int, max_synthetic_fraction: float
) -> tuple[float, ...]:
    """Compute mixing ratios that keep the first run whole and limit all others together.

    Args:
        runs: number of queries of each sample of each run.
        max_queries: largest size of a group.
        max_synthetic_fraction: largest fraction of an epoch's groups that the other runs may have, in 0..1.

    Returns:
        One ratio for each run: 1 for the first, and one common ratio of at most 1 for the others.
    """
    real, *others = (count_groups(run, max_queries) for run in runs)
    allowed = real * max_synthetic_fraction / (1 - max_synthetic_fraction)
    return (1.0, *(min(1.0, allowed / sum(others)) for _ in others))


@dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """Sampler of query groups; an epoch is a function of (seed, epoch) alone."""

    runs: Sequence[Sequence[int]]
    """Number of queries of each sample of each run."""

    mixing_ratios: Sequence[float] = ()
    """Part of each run in an epoch; default 1 for every run. With 0.5 two epochs contain the run once, with 2 an epoch
    contains it twice."""

    max_queries: int = 1
    """Largest size of a group, at least 1."""

    seed: int = 0
    """Seed of all orders."""

    @property
    def groups_per_epoch(self) -> list[int]:
        """Number of groups of each run in an epoch."""
        mixing_ratios = self.mixing_ratios or [1.0] * len(self.runs)
        groups = [count_groups(run, self.max_queries) for run in self.runs]
        return [max(1, round(ratio * number)) for ratio, number in zip(mixing_ratios, groups, strict=True)]

    def sample_epoch(self, epoch: int) -> list[QueryGroup]:
        """Return the groups of an epoch in order; samples are numbered through all runs."""
        groups: list[QueryGroup] = []
        first_sample = 0
        for number, (run, num_groups) in enumerate(zip(self.runs, self.groups_per_epoch, strict=True)):
            groups += self._slice_passes(number, first_sample, epoch * num_groups, (epoch + 1) * num_groups)
            first_sample += len(run)
        Random(f"{self.seed}/order/{epoch}").shuffle(groups)
        return groups

    def _slice_passes(self, run: int, first_sample: int, start: int, stop: int) -> list[QueryGroup]:
        """Return groups ``start`` to ``stop`` of a run's endless sequence of passes."""
        groups: list[QueryGroup] = []
        number, begin = divmod(start, count_groups(self.runs[run], self.max_queries))
        while len(groups) < stop - start:
            groups += self._shuffle_pass(run, first_sample, number)[begin : begin + stop - start - len(groups)]
            number, begin = number + 1, 0
        return groups

    def _shuffle_pass(self, run: int, first_sample: int, number: int) -> list[QueryGroup]:
        """Return groups that contain every query of a run once, in the order of pass ``number``."""
        random = Random(f"{self.seed}/run/{run}/pass/{number}")
        groups = []
        for sample, count in enumerate(self.runs[run], first_sample):
            order = list(range(count))
            random.shuffle(order)
            groups += [
                QueryGroup(sample=sample, queries=tuple(order[first : first + self.max_queries]))
                for first in range(0, count, self.max_queries)
            ]
        random.shuffle(groups)
        return groups


def shuffle_priors(num_queries: Sequence[int], seed: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Map each (sample, query) to another one at random; each is used once, and none maps to itself."""
    order = [(sample, query) for sample, count in enumerate(num_queries) for query in range(count)]
    Random(f"{seed}/shuffled").shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))
