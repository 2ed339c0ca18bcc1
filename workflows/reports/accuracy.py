"""What an evaluation's predictions say: accuracy with intervals, overall and by what makes queries hard.

Groups of queries: rivals of the target's category, kinds of words (as our parser of attributes reads them), length,
size of the target, category. Every share comes with its 95 % bootstrap interval over pictures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.normalization import is_empty
from trainer.evaluation.bootstrap import Interval, intervals
from trainer.evaluation.metrics import THRESHOLDS, Judgement, scores
from workflows.cli.console import UserError
from workflows.reports.distractors import RIVALS, rival_group

WORDS = ("spatial", "ordinal", "attribute", "relational", "none of these")
LENGTHS = {2: "1-2 words", 4: "3-4", 8: "5-8"}
SIZES = {0.01: "below 1 % of the picture", 0.05: "1-5 %", 0.2: "5-20 %"}
LONGER, LARGER = "9+", "20 % and more"
MOST_CATEGORIES = 20

LABELS: dict[str, tuple[str, ...]] = {
    "rivals": RIVALS,
    "words": WORDS,
    "length": (*LENGTHS.values(), LONGER),
    "target size": (*SIZES.values(), LARGER),
}
"""Grouping to its groups, in order; beside these there is ``category``, with the most frequent ones."""

Kinds = Mapping[str, frozenset[str]]
"""Query text to its ``WORDS``."""


def kinds_of_words(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """What each query speaks of; one can speak of several things, or of the category alone."""
    worded = [text for text in dict.fromkeys(texts) if not is_empty(text)]
    return {text: _kinds(read) for text, read in zip(worded, AttributeParser().parse(worded), strict=True)}


def _kinds(read: Attributes) -> frozenset[str]:
    target = read.target
    looks = (target.colours, target.patterns, target.materials, target.sizes, target.others, read.wearing)
    spoken = {
        "spatial": bool(read.absolute_location or read.ordinals or read.relative_location),
        "ordinal": bool(read.ordinals),
        "attribute": any(looks) or bool(read.carrying or read.parts or read.actions),
        "relational": bool(read.related),
    }
    return frozenset(kind for kind, is_so in spoken.items() if is_so) or frozenset(["none of these"])


def report_of(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Split to its figures: see ``_report_of_split``."""
    kinds = kinds_of_words(one.text for one in judgements)
    splits: dict[str, list[Judgement]] = defaultdict(list)
    for one in judgements:
        splits[one.split].append(one)
    return {split: _report_of_split(some, kinds) for split, some in splits.items()}


def _report_of_split(judgements: Sequence[Judgement], kinds: Kinds) -> dict[str, Any]:
    """Figures of the first way of giving priors, groups of queries, and what the other ways change."""
    modes: dict[str, list[Judgement]] = defaultdict(list)
    for one in judgements:
        modes[one.priors].append(one)
    first, *others = modes
    own = modes[first]
    report = {**measured(own), "priors": first, "by": _by_group(own, kinds)}
    if any(one.any_iou != one.iou for one in own):
        report["any_box"] = measured(own, any_box=True)
    report["other_priors"] = {mode: {**measured(modes[mode]), **compared(own, modes[mode])} for mode in others}
    return report


def measured(judgements: Sequence[Judgement], any_box: bool = False) -> dict[str, Any]:
    """``trainer.evaluation.metrics.scores`` with ``intervals``: threshold and ``mean_iou`` to (low, high).

    Args:
        any_box: by the best of several boxes that a phrase means.
    """
    overlaps = np.array([one.any_iou if any_box else one.iou for one in judgements])
    columns = np.column_stack([*(overlaps > threshold for threshold in THRESHOLDS), overlaps])
    found = intervals(columns, [one.key for one in judgements])
    names = [*(f"{threshold:.2f}" for threshold in THRESHOLDS), "mean_iou"]
    means = {name: one.mean for name, one in zip(names, found, strict=True)}
    return {
        "num_queries": len(judgements),
        "num_pictures": len({one.key for one in judgements}),
        "accuracy": {name: means[name] for name in names[:-1]},
        "mean_iou": means["mean_iou"],
        "intervals": {name: [one.low, one.high] for name, one in zip(names, found, strict=True)},
    }


def _by_group(judgements: Sequence[Judgement], kinds: Kinds) -> dict[str, dict[str, Any]]:
    counts = Counter(one.category for one in judgements if one.category)
    labels = {**LABELS, "category": tuple(name for name, _ in counts.most_common(MOST_CATEGORIES))}
    members: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for one in judgements:
        for grouping, label in _labels(one, kinds):
            members[grouping, label].append(one)
    return {
        grouping: {label: measured(members[grouping, label]) for label in names if (grouping, label) in members}
        for grouping, names in labels.items()
    }


def _labels(one: Judgement, kinds: Kinds) -> Iterable[tuple[str, str]]:
    yield "rivals", rival_group(one.num_rivals)
    for kind in kinds.get(one.text, ()):
        yield "words", kind
    num_words = len(one.text.split())
    yield "length", next((label for most, label in LENGTHS.items() if num_words <= most), LONGER)
    yield "target size", next((label for below, label in SIZES.items() if one.target_share < below), LARGER)
    if one.category:
        yield "category", one.category


def compared(these: Sequence[Judgement], those: Sequence[Judgement]) -> dict[str, Any]:
    """How much better the first are on the same queries: paired differences with intervals.

    Raises:
        UserError: they answer different queries.
    """
    ours, theirs = ({(one.split, one.query_id): one for one in some} for some in (these, those))
    if ours.keys() != theirs.keys():
        only = len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys())
        raise UserError(
            f"two evaluations of different queries: {only[0]:,} are in the first alone, {only[1]:,} in the second; "
            "evaluate both on the same splits of the same data set"
        )
    rows = [
        ((one.iou > THRESHOLDS[0]) * 1.0 - (theirs[name].iou > THRESHOLDS[0]), one.iou - theirs[name].iou)
        for name, one in ours.items()
    ]
    accuracy, overlap = intervals(rows, [one.key for one in ours.values()])
    return {"difference": {"0.50": asdict(accuracy), "mean_iou": asdict(overlap)}}


def comparison_of(these: Sequence[Judgement], those: Sequence[Judgement]) -> dict[str, Any]:
    """Split to both scores and their paired difference, overall and by rivals."""
    theirs = {(one.split, one.query_id): one for one in those}
    result: dict[str, Any] = {}
    for split in dict.fromkeys(one.split for one in these):
        own = [one for one in these if one.split == split]
        paired = [one for one in those if one.split == split]
        whole = {"first": scores(own), "second": scores(paired), **compared(own, paired), "by_rivals": {}}
        for group in RIVALS:
            some = [one for one in own if rival_group(one.num_rivals) == group]
            if some:
                whole["by_rivals"][group] = {
                    "num_queries": len(some),
                    **compared(some, [theirs[one.split, one.query_id] for one in some]),
                }
        result[split] = whole
    return result


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def with_interval(figures: Mapping[str, Any], name: str) -> str:
    """ "71.2 (69.8 to 72.5)", of a threshold or of ``mean_iou``."""
    value = figures["mean_iou"] if name == "mean_iou" else figures["accuracy"][name]
    low, high = figures["intervals"][name]
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def signed(difference: Mapping[str, float]) -> str:
    """ "+1.4 (0.3 to 2.6)" in points, with a star where the interval is clear of zero."""
    one = Interval(mean=difference["mean"], low=difference["low"], high=difference["high"])
    star = " *" if one.is_clear_of_zero else ""
    return f"{100 * one.mean:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f}){star}"
