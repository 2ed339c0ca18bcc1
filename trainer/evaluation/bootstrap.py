"""Bootstrap confidence intervals of means over queries, resampled by image.

Queries about one image are correlated. So whole images are resampled, not single queries (cluster bootstrap; Davison
and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
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
"""Number of drawn indices in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """Mean with its 95 % confidence interval."""

    mean: float
    """Mean of all rows."""

    low: float
    """Lower limit."""

    high: float
    """Upper limit."""

    @property
    def excludes_zero(self) -> bool:
        """Flag that the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def compute_intervals(
    values: npt.ArrayLike, clusters: Sequence[str], seed: int = 0, *, are_shares: bool = False
) -> list[ConfidenceInterval]:
    """Compute the mean of each column with its 95 % interval, by percentile bootstrap over clusters.

    Args:
        values: (n, columns), or (n,) for one column; n is at least 1.
        clusters: (n,) image of each row.
        seed: seed of the draws.
        are_shares: whether the values lie in 0..1. A column of zeros alone or of ones alone, where resampling finds no
            variance, then has Wilson's interval (1927) of as many observations as clusters.

    Returns:
        One interval for each column.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table  # (n, columns)
    numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
    counts = np.bincount(numbers).astype(np.float64)  # (clusters,)
    sums = np.zeros((len(counts), table.shape[1]))  # (clusters, columns)
    np.add.at(sums, numbers, table)

    def compute_means(drawn: npt.NDArray[Any], axis: int = -1) -> npt.NDArray[Any]:
        """Return the means (columns, resamples) of drawn clusters (resamples, clusters); one draw for all columns."""
        weights = np.stack([np.bincount(row, minlength=len(counts)) for row in drawn.reshape(-1, drawn.shape[axis])])
        means: npt.NDArray[Any] = ((weights @ sums) / (weights @ counts)[:, None]).T
        return means

    means = table.mean(0)
    if are_shares and any(is_constant := ((table == 0).all(0) | (table == 1).all(0))):
        varied = iter(compute_intervals(table[:, ~is_constant], clusters, seed) if not all(is_constant) else ())
        return [
            _compute_wilson_interval(mean, len(counts)) if constant else next(varied)
            for mean, constant in zip(means, is_constant, strict=True)
        ]
    if len(counts) == 1:  # scipy needs two observations; a single image has no variance
        return [ConfidenceInterval(mean=float(mean), low=float(mean), high=float(mean)) for mean in means]
    from scipy import stats

    interval = stats.bootstrap(
        (np.arange(len(counts)),),
        compute_means,
        vectorized=True,
        method="percentile",
        n_resamples=NUM_RESAMPLES,
        batch=max(1, _MAX_DRAWS_IN_MEMORY // len(counts)),
        confidence_level=CONFIDENCE_LEVEL,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return [
        ConfidenceInterval(mean=float(mean), low=float(low), high=float(high))
        for mean, low, high in zip(means, interval.low, interval.high, strict=True)
    ]


def _compute_wilson_interval(share: float, count: int) -> ConfidenceInterval:
    """Compute the interval of a share of 0 or 1 of ``count`` observations."""
    from scipy import stats

    interval = stats.binomtest(round(share * count), count).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return ConfidenceInterval(mean=share, low=float(interval.low), high=float(interval.high))
