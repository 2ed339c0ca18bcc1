"""Accuracy of predictions with intervals, overall and by groups of queries.

Queries are grouped by distractors, kinds of words (by the attribute parser), length, size of the target and category.
Every share has a 95 % bootstrap interval over images.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.normalization import is_empty
from trainer.evaluation.bootstrap import ConfidenceInterval, compute_intervals
from trainer.evaluation.generalized import SetPrediction
from trainer.evaluation.metrics import THRESHOLDS, PredictionRecord, compute_auroc, compute_scores
from workflows.cli.console import UserError
from workflows.reports.distractors import DISTRACTOR_GROUPS, get_distractor_group
from workflows.reports.generalized import compare_sets, summarize_sets

WORDS = ("spatial", "ordinal", "attribute", "relational", "none of these")
LENGTHS = {2: "1-2 words", 4: "3-4", 8: "5-8"}
SIZES = {0.01: "below 1 % of the image", 0.05: "1-5 %", 0.2: "5-20 %"}
LONGER, LARGER = "9+", "20 % and more"
MAX_CATEGORIES = 20

LABELS: dict[str, tuple[str, ...]] = {
    "distractors": DISTRACTOR_GROUPS,
    "words": WORDS,
    "length": (*LENGTHS.values(), LONGER),
    "target size": (*SIZES.values(), LARGER),
}
"""Groups in order, by grouping; ``category`` has the most frequent ones in addition."""

Kinds = Mapping[str, frozenset[str]]
"""``WORDS`` of each query, by its text."""


def find_word_kinds(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the kinds of words of each query; a query can have several, or none of them."""
    nonempty = [text for text in dict.fromkeys(texts) if not is_empty(text)]
    return {text: _find_kinds(parsed) for text, parsed in zip(nonempty, AttributeParser().parse(nonempty), strict=True)}


def _find_kinds(parsed: Attributes) -> frozenset[str]:
    target = parsed.target
    appearance = (
        target.colors,
        target.patterns,
        target.materials,
        target.sizes,
        target.other_modifiers,
        parsed.wearing,
    )
    mentioned = {
        "spatial": bool(parsed.absolute_location or parsed.ordinals or parsed.relative_location),
        "ordinal": bool(parsed.ordinals),
        "attribute": any(appearance) or bool(parsed.carrying or parsed.parts or parsed.actions),
        "relational": bool(parsed.related),
    }
    return frozenset(kind for kind, is_so in mentioned.items() if is_so) or frozenset(["none of these"])


def build_report(records: Sequence[PredictionRecord], sets: Sequence[SetPrediction] = ()) -> dict[str, Any]:
    """Return the figures of each split; with ``sets``, also those of queries with any number of targets."""
    kinds = find_word_kinds(one.text for one in records)
    splits: dict[str, list[PredictionRecord]] = defaultdict(list)
    for one in records:
        splits[one.split].append(one)
    report = {split: _build_split_report(some, kinds) for split, some in splits.items()}
    for split, figures in report.items():
        own = [one for one in sets if one.split == split and one.priors == figures["priors"]]
        if own:
            figures["generalized"] = summarize_sets(own)
    return report


def _build_split_report(records: Sequence[PredictionRecord], kinds: Kinds) -> dict[str, Any]:
    """Return figures of the first prior mode, of groups of queries, and of the other modes."""
    modes: dict[str, list[PredictionRecord]] = defaultdict(list)
    for one in records:
        modes[one.priors].append(one)
    first, *remaining = modes
    own = modes[first]
    report = {**summarize_records(own), "priors": first, "by": _summarize_groups(own, kinds)}
    report["confidence"] = summarize_confidence(own)
    if any(one.any_iou != one.iou for one in own):
        report["any_box"] = summarize_records(own, any_box=True)
    report["other_priors"] = {
        mode: {**summarize_records(modes[mode]), **compute_paired_difference(own, modes[mode])} for mode in remaining
    }
    return report


def summarize_records(records: Sequence[PredictionRecord], any_box: bool = False) -> dict[str, Any]:
    """Compute accuracies by threshold and mean IoU, with 95 % intervals.

    Args:
        records: predictions.
        any_box: whether a prediction is compared with the best of several targets instead of the box around them.
    """
    overlaps = np.array([one.any_iou if any_box else one.iou for one in records])
    columns = np.column_stack([*(overlaps > threshold for threshold in THRESHOLDS), overlaps])
    summaries = compute_intervals(columns, [one.key for one in records], are_shares=True)
    names = [*(f"{threshold:.2f}" for threshold in THRESHOLDS), "mean_iou"]
    means = {name: one.mean for name, one in zip(names, summaries, strict=True)}
    return {
        "num_queries": len(records),
        "num_images": len({one.key for one in records}),
        "accuracy": {name: means[name] for name in names[:-1]},
        "mean_iou": means["mean_iou"],
        "intervals": {name: [one.low, one.high] for name, one in zip(names, summaries, strict=True)},
    }


def summarize_confidence(records: Sequence[PredictionRecord]) -> dict[str, Any]:
    """Compute how well confidence tells right from wrong boxes, and objects that are there from absent ones.

    Returns:
        ``score_auroc`` and ``presence_auroc``, None without examples of both; ``num_absent``, the number of queries
        about an image without an object of their category; ``risk_coverage``, Acc@0.5 of the surest tenth, two tenths
        and so on of the queries.
    """
    scored = sorted((one for one in records if one.score is not None), key=lambda one: -(one.score or 0.0))
    correct = [one.iou > THRESHOLDS[0] for one in scored]
    scores = [(one.score or 0.0, is_correct) for one, is_correct in zip(scored, correct, strict=True)]
    absent = [one.absent_presence for one in records if one.absent_presence is not None]
    curve = {}
    for tenths in range(1, 11):
        count = -(-len(correct) * tenths // 10)
        curve[f"{tenths / 10:.1f}"] = sum(correct[:count]) / count if count else None
    return {
        "score_auroc": compute_auroc([v for v, right in scores if right], [v for v, right in scores if not right]),
        "presence_auroc": compute_auroc([one.presence for one in records if one.presence is not None], absent),
        "num_absent": len(absent),
        "risk_coverage": curve,
    }


def _summarize_groups(records: Sequence[PredictionRecord], kinds: Kinds) -> dict[str, dict[str, Any]]:
    counts = Counter(one.category for one in records if one.category)
    labels = {**LABELS, "category": tuple(name for name, _ in counts.most_common(MAX_CATEGORIES))}
    members: dict[tuple[str, str], list[PredictionRecord]] = defaultdict(list)
    for one in records:
        for grouping, label in _iterate_group_labels(one, kinds):
            members[grouping, label].append(one)
    return {
        grouping: {
            label: summarize_records(members[grouping, label]) for label in names if (grouping, label) in members
        }
        for grouping, names in labels.items()
    }


def _iterate_group_labels(one: PredictionRecord, kinds: Kinds) -> Iterable[tuple[str, str]]:
    yield "distractors", get_distractor_group(one.num_distractors)
    for kind in kinds.get(one.text, ()):
        yield "words", kind
    num_words = len(one.text.split())
    yield "length", next((label for max_words, label in LENGTHS.items() if num_words <= max_words), LONGER)
    yield "target size", next((label for max_share, label in SIZES.items() if one.target_share < max_share), LARGER)
    if one.category:
        yield "category", one.category


def compute_paired_difference(first: Sequence[PredictionRecord], second: Sequence[PredictionRecord]) -> dict[str, Any]:
    """Compute the difference in Acc@0.5 and mean IoU on the same queries, with intervals.

    Raises:
        UserError: the two answer different queries.
    """
    ours, theirs = ({(one.split, one.query_id): one for one in some} for some in (first, second))
    if ours.keys() != theirs.keys():
        only = len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys())
        raise UserError(
            f"the evaluations have different queries: {only[0]:,} only in the first, {only[1]:,} only in the second; "
            "evaluate both on the same splits of the same dataset"
        )
    rows = [
        ((one.iou > THRESHOLDS[0]) * 1.0 - (theirs[name].iou > THRESHOLDS[0]), one.iou - theirs[name].iou)
        for name, one in ours.items()
    ]
    accuracy, overlap = compute_intervals(rows, [one.key for one in ours.values()])
    return {"difference": {"0.50": asdict(accuracy), "mean_iou": asdict(overlap)}}


def compare_evaluations(
    first: Sequence[PredictionRecord],
    second: Sequence[PredictionRecord],
    sets: tuple[Sequence[SetPrediction], Sequence[SetPrediction]] = ((), ()),
) -> dict[str, Any]:
    """Compare two evaluations by split, overall and by distractors.

    Args:
        first: predictions of the first network for the queries with a target.
        second: predictions of the second network for the same queries.
        sets: predictions of both for queries with any number of targets; these are compared if both have them.
    """
    theirs = {(one.split, one.query_id): one for one in second}
    result: dict[str, Any] = {}
    for split in dict.fromkeys(one.split for one in first):
        own = [one for one in first if one.split == split]
        paired = [one for one in second if one.split == split]
        whole = {
            "first": compute_scores(own),
            "second": compute_scores(paired),
            **compute_paired_difference(own, paired),
            "by_distractors": {},
        }
        for group in DISTRACTOR_GROUPS:
            some = [one for one in own if get_distractor_group(one.num_distractors) == group]
            if some:
                whole["by_distractors"][group] = {
                    "num_queries": len(some),
                    **compute_paired_difference(some, [theirs[one.split, one.query_id] for one in some]),
                }
        ours, others = ([one for one in some if one.split == split] for some in sets)
        if ours and others:
            whole["generalized"] = compare_sets(ours, others)
        result[split] = whole
    return result


def format_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def format_interval(figures: Mapping[str, Any], name: str) -> str:
    """Format accuracy at a threshold, or another metric, as in "71.2 (69.8 to 72.5)"."""
    value = {**figures, **figures.get("accuracy", {})}[name]
    low, high = figures["intervals"][name]
    return f"{format_percent(value)} ({format_percent(low)} to {format_percent(high)})"


def format_difference(difference: Mapping[str, float]) -> str:
    """Format a difference in points, as in "+1.4 (0.3 to 2.6)"; a star marks an interval that excludes zero."""
    one = ConfidenceInterval(mean=difference["mean"], low=difference["low"], high=difference["high"])
    star = " *" if one.excludes_zero else ""
    return f"{100 * one.mean:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f}){star}"
