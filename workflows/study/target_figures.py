"""Figures of the study of queries without a target: N-acc and T-acc at one threshold of each network, and Acc@0.5.

A network's threshold is chosen on val, so that it finds a target for ``T_ACC`` of the queries with one target. So all
variants are compared at equal T-acc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.generalized import SetPrediction
from trainer.evaluation.metrics import PredictionRecord, compute_auroc
from workflows.miniature.world.target_expressions import ABSENT_KINDS
from workflows.study.figures import summarize_seeds

T_ACC = 0.95
"""Share of the queries of val with one target for which a network answers with a box, by its threshold."""

EASY = "category"
"""Kind of the negatives that are easy: the image lacks the category. The others are one word from true queries."""

HARD = tuple(kind for kind in ABSENT_KINDS if kind != EASY)
TEST = ("testA", "testB")

METRICS = {
    "accuracy": "Acc@0.5, one target",
    "t_acc": "T-acc, one target",
    "t_acc_several": "T-acc, several",
    "n_acc_hard": "N-acc, hard",
    **{f"n_acc_{kind}": f"N-acc, {kind}" for kind in ABSENT_KINDS},
}
"""Titles of the metrics, which are all means of 0 and 1 over queries of the tests."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Predictions of one network."""

    records: Sequence[PredictionRecord]
    """Predictions for the queries with a target."""

    sets: Sequence[SetPrediction]
    """Predictions for all queries."""


Outcomes = dict[str, dict[str, tuple[str, float]]]
"""Metric -> query -> (image, 0 or 1)."""


def choose_threshold(answers: Answers, kinds: Mapping[str, str]) -> float:
    """Choose the largest threshold by which ``T_ACC`` of the queries of val with one target get a box."""
    presences = [one.presence for one in answers.sets if one.split == "val" and kinds[one.query_id] == "one"]
    return float(np.quantile(presences, 1 - T_ACC, method="lower"))


def score_answers(answers: Answers, kinds: Mapping[str, str]) -> Outcomes:
    """Score the queries of the tests, each by the metrics that it counts for."""
    threshold = choose_threshold(answers, kinds)
    outcomes: Outcomes = {name: {} for name in METRICS}
    for record in answers.records:
        if record.split in TEST and kinds[record.query_id] == "one":
            outcomes["accuracy"][record.query_id] = (record.key, float(record.iou > 0.5))
    for one in answers.sets:
        if one.split not in TEST:
            continue
        kind, predicts = kinds[one.query_id], one.presence >= threshold
        if kind in ("one", "several"):
            outcomes["t_acc" if kind == "one" else "t_acc_several"][one.query_id] = (one.key, float(predicts))
            continue
        outcomes[f"n_acc_{kind}"][one.query_id] = (one.key, float(not predicts))
        if kind in HARD:
            outcomes["n_acc_hard"][one.query_id] = (one.key, float(not predicts))
    return outcomes


def compute_hard_auroc(answers: Answers, kinds: Mapping[str, str]) -> float:
    """Compute the AUROC of presence between queries of the tests with one target and hard negatives."""
    tests = [one for one in answers.sets if one.split in TEST]
    positive = [one.presence for one in tests if kinds[one.query_id] == "one"]
    auroc = compute_auroc(positive, [one.presence for one in tests if kinds[one.query_id] in HARD])
    assert auroc is not None
    return auroc


def compute_figures(answers: Mapping[tuple[str, int], Answers], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Compute the levels of each variant over its seeds, and paired differences between successive variants.

    Args:
        answers: predictions by variant and seed.
        kinds: kind of each query, ``one``, ``several`` or of ``ABSENT_KINDS``.
    """
    outcomes = {trial: score_answers(one, kinds) for trial, one in answers.items()}
    variants = list(dict.fromkeys(variant for variant, _ in answers))

    levels: dict[str, dict[str, Any]] = {}
    for variant in variants:
        own = [trial for trial in answers if trial[0] == variant]
        levels[variant] = {
            name: summarize_seeds(
                [float(np.mean([value for _, value in outcomes[trial][name].values()])) for trial in own]
            )
            for name in METRICS
            if outcomes[own[0]][name]
        }
        levels[variant]["auroc_hard"] = summarize_seeds([compute_hard_auroc(answers[trial], kinds) for trial in own])
    first = next(iter(outcomes.values()))
    return {
        "t_acc": T_ACC,
        "num_queries": {name: len(of) for name, of in first.items()},
        "levels": levels,
        "comparisons": [
            {"first": first, "second": second, "metric": name, **difference}
            for second, first in pairwise(variants)
            for name in METRICS
            if (difference := _compute_difference(outcomes, first, second, name))
        ],
    }


def _compute_difference(
    outcomes: Mapping[tuple[str, int], Outcomes], first: str, second: str, metric: str
) -> dict[str, Any] | None:
    """Compute a difference over the seeds of both variants, and over images; None without seeds or queries."""
    seeds = [seed for variant, seed in outcomes if variant == first and (second, seed) in outcomes]
    if not seeds or not outcomes[first, seeds[0]][metric]:
        return None
    keys = [key for key, _ in outcomes[first, seeds[0]][metric].values()]
    rows = np.array(
        [
            [value - outcomes[second, seed][metric][query][1] for query, (_, value) in of.items()]
            for seed in seeds
            for of in [outcomes[first, seed][metric]]
        ]
    )  # (seeds, queries)
    (over_images,) = compute_intervals(rows.mean(0), keys)
    return {"over_seeds": summarize_seeds([float(row.mean()) for row in rows]), "over_images": vars(over_images)}


def format_figures(record: Mapping[str, Any]) -> str:
    """Format the levels and the differences as Markdown tables."""
    networks, variants = record["networks"], list(record["levels"])
    return "\n".join(
        [
            "# Queries without a target",
            "",
            f"{networks['finished']} of {networks['all']} networks. Percent on testA and testB: mean over seeds and",
            f"its 95 % interval (Student's t). Thresholds are chosen on val, for T-acc {100 * record['t_acc']:.0f}.",
            "",
            f"| metric | queries | {' | '.join(variants)} |",
            f"|---|--:|{'--:|' * len(variants)}",
            *_format_levels(record),
            "",
            "Differences in points, paired by query: over seeds (Student's t) and over images (bootstrap of the mean).",
            "",
            "| variants | metric | over seeds | over images |",
            "|---|---|--:|--:|",
            *(
                f"| {one['first']} - {one['second']} | {METRICS[one['metric']]} | {_format(one['over_seeds'], '+')} | "
                f"{_format(one['over_images'], '+')} |"
                for one in record["comparisons"]
            ),
            "",
        ]
    )


def _format_levels(record: Mapping[str, Any]) -> Iterator[str]:
    for name, title in {**METRICS, "auroc_hard": "AUROC, one target against hard"}.items():
        cells = [_format(level[name]) if name in level else "" for level in record["levels"].values()]
        count = record["num_queries"].get(name)
        yield f"| {title} | {'' if count is None else f'{count:,}'} | {' | '.join(cells)} |"


def _format(row: Mapping[str, Any], sign: str = "") -> str:
    mean, low, high = (
        None if row[name] is None else f"{100 * row[name]:{sign}.1f}" for name in ("mean", "low", "high")
    )
    return f"{mean}" if low is None else f"{mean} ({low} to {high})"
