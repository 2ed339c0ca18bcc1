"""Metrics of queries with any number of targets, with intervals, and the calibration of presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.generalized import METRICS, SetPrediction, compute_generalized_scores
from trainer.evaluation.metrics import compute_auroc, compute_calibration_error, compute_reliability
from workflows.cli.console import UserError


def summarize_sets(sets: Sequence[SetPrediction]) -> dict[str, Any]:
    """Compute the metrics with 95 % intervals over images, and how well presence is calibrated.

    Returns:
        The scores of ``compute_generalized_scores``, their ``intervals``, ``auroc`` of presence between queries with a
        target and without one (None without both), its ``calibration_error``, and its ``reliability``.
    """
    scores, intervals = compute_generalized_scores(sets), {}
    for name in METRICS:
        outcomes = [(one.key, value) for one in sets if (value := one.score()[name]) is not None]
        if outcomes:
            keys, values = zip(*outcomes, strict=True)
            (interval,) = compute_intervals(values, keys, are_shares=True)
            intervals[name] = [interval.low, interval.high]
    present = [one.presence for one in sets if one.targets_xyxy]
    absent = [one.presence for one in sets if not one.targets_xyxy]
    bins = compute_reliability([*present, *absent], [*([True] * len(present)), *([False] * len(absent))])
    return {
        **scores,
        "intervals": intervals,
        "auroc": compute_auroc(present, absent),
        "calibration_error": compute_calibration_error(bins),
        "reliability": [asdict(one) for one in bins],
    }


def compare_sets(first: Sequence[SetPrediction], second: Sequence[SetPrediction]) -> dict[str, Any]:
    """Compare two networks on the same queries of a split; each metric with its paired difference.

    Raises:
        UserError: the two answer different queries.
    """
    theirs = {one.query_id: one for one in second}
    if {one.query_id for one in first} != theirs.keys():
        raise UserError(
            f"the evaluations have different queries with any number of targets ({len(first):,} and {len(second):,}); "
            "evaluate both on the same splits of the same dataset"
        )
    metrics = {}
    for name in METRICS:
        rows = [
            (one.key, ours, other)
            for one in first
            if (ours := one.score()[name]) is not None and (other := theirs[one.query_id].score()[name]) is not None
        ]
        if rows:
            keys, ours_all, others = zip(*rows, strict=True)
            (difference,) = compute_intervals([a - b for a, b in zip(ours_all, others, strict=True)], keys)
            metrics[name] = {
                "num_queries": len(rows),
                "first": sum(ours_all) / len(rows),
                "second": sum(others) / len(rows),
                "difference": asdict(difference),
            }
    return metrics
