"""How sure a mean over queries is: bootstrap intervals, by image.

Queries about one image stand or fall together, so whole images are drawn again, not single queries (cluster
bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 2000
CONFIDENCE_LEVEL = 0.95

_MAX_DRAWS_IN_MEMORY = 4_000_000
"""Drawn numbers in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """A mean and where it would lie in 95 of 100 samples of images like these."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def compute_intervals(values: npt.ArrayLike, clusters: Sequence[str], seed: int = 0) -> list[ConfidenceInterval]:
    """The mean of each column with its 95 % interval, percentile bootstrap over clusters.

    Args:
        values: (n, columns), or (n,) for a single one; n at least 1.
        clusters: (n,) which image each row is about.
        seed: of the draws.

    Returns:
        One interval a column.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table  # (n, columns)
    numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
    num_clusters = int(numbers.max()) + 1
    sums = np.zeros((num_clusters, table.shape[1]))
    np.add.at(sums, numbers, table)
    counts = np.bincount(numbers, minlength=num_clusters).astype(np.float64)
    means = np.concatenate(list(_iterate_resamples(sums, counts, np.random.default_rng(seed))))  # (resamples, columns)
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [
        ConfidenceInterval(mean=float(mean), low=float(a), high=float(b))
        for mean, a, b in zip(table.mean(0), low, high, strict=True)
    ]


def _iterate_resamples(sums: npt.NDArray[Any], counts: npt.NDArray[Any], random: np.random.Generator) -> Any:
    """Means of resamples, some of them at a time."""
    num_clusters, left = len(counts), NUM_RESAMPLES
    while left:
        num_draws = min(left, max(1, _MAX_DRAWS_IN_MEMORY // num_clusters))
        sampled = random.integers(0, num_clusters, (num_draws, num_clusters))
        weights = np.stack([np.bincount(row, minlength=num_clusters) for row in sampled])  # (some, clusters)
        yield (weights @ sums) / (weights @ counts)[:, None]
        left -= num_draws
