"""Statistics of a study: means over seeds and paired differences between variants, each with a 95 % interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.metrics import PredictionRecord
from workflows.reports.accuracy import find_word_kinds
from workflows.study.variants import VARIANTS_BY_NAME, WORD_LIMITS, find_limited_words

PredictionsByTrial = Mapping[tuple[int, str, int], Sequence[PredictionRecord]]
"""Predictions with each query's own prior, by (training queries, variant, seed)."""

PredictionsByMode = Mapping[tuple[int, str, int], Mapping[str, Sequence[PredictionRecord]]]
"""Predictions by (training queries, variant, seed), then by prior mode; the first mode is each query's own prior."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Queries that a comparison is about."""

    name: str
    holds: Callable[[PredictionRecord], bool]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A variant minus another one, on a group of queries."""

    question: str
    first: str
    """Variant that is compared."""

    second: str
    """Variant that is subtracted."""

    group: str


def _make_comparisons(question: str, first: str, second: str, *groups: str) -> tuple[Comparison, ...]:
    return tuple(Comparison(question=question, first=first, second=second, group=group) for group in groups)


def name_without_priors(variant: str) -> str:
    """Return the name of a variant's networks when they are evaluated without priors."""
    return f"{variant}; no priors at test"


ON_VAL = ("val, positional", "val, not positional")
"""Groups of val, which has both kinds of queries about the same images; testA has one kind and testB the other."""

_ALL, _PLAIN, _PSEUDO_Q = ("test", "testA", "testB", "ordinal"), "prompts without attributes", "Pseudo-Q's rules"
_VARIED, _WEIGHTED = "varied phrases", "weighted scenes"
_HARD, _COLORS = ("two or more distractors", "testA", "testB"), ("held-out colors", "other colors")
_HELD_OUT, _EXEMPLARS_HELD_OUT = "base, colors held out", "exemplars, colors held out"

COMPARISONS = (
    *_make_comparisons("Do priors and scenes help?", "both", "base", "two or more distractors", "test"),
    *_make_comparisons("Where do priors help?", "priors", "base", "test", "unseen combinations", "seen combinations"),
    *_make_comparisons("Where do scenes help?", "scenes", "base", *_ALL, *ON_VAL),
    *_make_comparisons("Do priors help in addition to scenes?", "both", "scenes", "test", "unseen combinations"),
    *_make_comparisons("Does it have to be the query's own prior?", "priors", "shuffled priors", "test"),
    *_make_comparisons("Would better priors help?", "oracle priors", "priors", "test"),
    *_make_comparisons(
        "Do priors help with colors held out of training?", "priors, colors held out", _HELD_OUT, *_COLORS
    ),
    *_make_comparisons("Are programs better than Pseudo-Q's rules?", "scenes", _PSEUDO_Q, *_ALL, ON_VAL[0]),
    *_make_comparisons("Are varied phrases better?", _VARIED, "scenes", *_ALL),
    *_make_comparisons("Is it better to balance what decides them?", f"{_VARIED}, balanced", _VARIED, *_ALL),
    *(
        comparison
        for varied in (_VARIED, f"{_VARIED}, balanced")
        for comparison in _make_comparisons(
            "Are varied phrases better than Pseudo-Q's rules?", varied, _PSEUDO_Q, *_ALL, ON_VAL[0]
        )
    ),
    *_make_comparisons("Are prompts without attributes better?", _PLAIN, "scenes", *_ALL),
    *_make_comparisons("Do scenes of prompts without attributes help?", _PLAIN, "base", *_HARD),
    *_make_comparisons(
        "Are programs better than Pseudo-Q's rules, for prompts without attributes?",
        _PLAIN,
        f"{_PLAIN}, {_PSEUDO_Q}",
        *_ALL,
        ON_VAL[0],
    ),
    *_make_comparisons("Are scenes better than real images?", "scenes", "more real images", "test", "testB"),
    *_make_comparisons(
        "Are scenes of prompts without attributes better than real images?", _PLAIN, "more real images", "test", "testB"
    ),
    *_make_comparisons("Are pasted scenes better?", "pasted scenes", "scenes", "test", "ordinal"),
    *_make_comparisons("Do pasted scenes help?", "pasted scenes", "base", *_HARD),
    *_make_comparisons("Is it better to weight relation types?", _WEIGHTED, "pasted scenes", *_ALL),
    *_make_comparisons("Do weighted scenes help?", _WEIGHTED, "base", *_ALL),
    *_make_comparisons("Are weighted scenes better than prompted ones?", _WEIGHTED, "scenes", *_ALL),
    *_make_comparisons("Is it better to name attributes?", f"{_WEIGHTED}, attributes added", _WEIGHTED, *_ALL),
    *_make_comparisons(
        "Are programs that name attributes better than Pseudo-Q's rules?",
        f"{_WEIGHTED}, attributes added",
        f"{_WEIGHTED}, {_PSEUDO_Q}",
        *_ALL,
        ON_VAL[0],
    ),
    *_make_comparisons(
        "Are programs better than Pseudo-Q's rules, for weighted scenes?",
        _WEIGHTED,
        f"{_WEIGHTED}, {_PSEUDO_Q}",
        *_ALL,
        ON_VAL[0],
    ),
    *_make_comparisons(
        "Does limiting scenes to 25 % of an epoch help?", "scenes", "all scenes in each epoch", *_ALL[:3]
    ),
    *_make_comparisons(
        "Do priors and scenes help with four times the steps?",
        "both, four times the steps",
        "base, four times the steps",
        "two or more distractors",
        "test",
    ),
    *_make_comparisons(
        "Do exemplars help with colors held out of training?",
        _EXEMPLARS_HELD_OUT,
        _HELD_OUT,
        *(*_COLORS, "unseen combinations", "two or more distractors", "one distractor", *_ALL, "val"),
    ),
    *_make_comparisons(
        "Does training with exemplars harm the network without priors?",
        name_without_priors(_EXEMPLARS_HELD_OUT),
        _HELD_OUT,
        *("test", "val", "testB"),
    ),
    *_make_comparisons(
        "Do exemplars help?", "exemplars", "base", *_ALL, "two or more distractors", "unseen combinations", "val"
    ),
    *_make_comparisons(
        "Do exemplars and scenes help?", "exemplars and scenes", "base", "two or more distractors", *_ALL
    ),
    *_make_comparisons("Do scenes help in addition to exemplars?", "exemplars and scenes", "exemplars", *_ALL),
    *_make_comparisons("Are priors better as exemplars?", "exemplars", "priors", "test"),
    *_make_comparisons("Are priors better as exemplars in addition to scenes?", "exemplars and scenes", "both", "test"),
    *_make_comparisons("Is it the further boxes, or the priors?", "exemplars of words", "base", *_ALL),
    *_make_comparisons("Is it the further boxes, or the priors?", "exemplars", "exemplars of words", *_ALL),
    *_make_comparisons("Would better priors help exemplars?", "oracle exemplars", "exemplars", *_ALL[:3]),
    *_make_comparisons(
        "Do exemplars help with rare words?",
        "exemplars, rare words",
        "base, rare words",
        *("no rare word", *(f"rare word {word}" for word in WORD_LIMITS["rare words"])),
    ),
    *_make_comparisons("Are scaled priors better?", "scaled priors", "priors", "test", "unseen combinations"),
)
"""Comparisons of the report, in order."""


def make_groups(records: Sequence[PredictionRecord], unseen: Collection[str], splits: Collection[str]) -> list[Group]:
    """Return the groups of queries of the report.

    Args:
        records: predictions that contain every query.
        unseen: ids of the queries whose target's combination no real training image shows.
        splits: splits of the groups; the groups of val and those of single splits are apart.
    """
    kinds = find_word_kinds(one.text for one in records)

    def has_kind(*of: str) -> Callable[[PredictionRecord], bool]:
        return lambda one: not kinds.get(one.text, frozenset()).isdisjoint(of)

    def has_held_out_color(one: PredictionRecord) -> bool:
        return bool(find_limited_words(one.text, "held-out colors"))

    def has_rarest(word: str) -> Callable[[PredictionRecord], bool]:
        return lambda one: find_limited_words(one.text, "rare words") == [word]

    is_positional = has_kind("spatial", "relational")
    of_test: dict[str, Callable[[PredictionRecord], bool]] = {
        "test": lambda one: True,
        "no distractor": lambda one: one.num_distractors == 0,
        "one distractor": lambda one: one.num_distractors == 1,
        "two or more distractors": lambda one: (one.num_distractors or 0) >= 2,
        "unseen combinations": lambda one: one.query_id in unseen,
        "seen combinations": lambda one: one.split == "testA" and one.query_id not in unseen,
        "held-out colors": lambda one: one.split == "testA" and has_held_out_color(one),
        "other colors": lambda one: one.split == "testA" and not has_held_out_color(one),
        "ordinal": has_kind("ordinal"),
        "no rare word": lambda one: not find_limited_words(one.text, "rare words"),
        **{f"rare word {word}": has_rarest(word) for word in WORD_LIMITS["rare words"]},
    }
    of_val = dict(zip(ON_VAL, (is_positional, lambda one: not is_positional(one)), strict=True))
    all_splits = dict.fromkeys(one.split for one in records)
    return [
        *(_make_group(splits, name, holds) for name, holds in of_test.items()),
        *(_make_group(("val",), name, holds) for name, holds in of_val.items()),
        *(_make_group((split,), split, lambda _: True) for split in all_splits),
    ]


def _make_group(splits: Collection[str], name: str, holds: Callable[[PredictionRecord], bool]) -> Group:
    return Group(name=name, holds=lambda one: one.split in splits and holds(one))


def summarize_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and 95 % interval by Student's t; a single seed has no interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "num_seeds": 1}
    from scipy.stats import t as student

    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "num_seeds": len(values)}


def compute_levels(predictions: PredictionsByTrial, groups: Sequence[Group]) -> dict[str, Any]:
    """Compute Acc@0.5 and mean IoU over seeds, by training queries, variant and group."""
    seeds: dict[tuple[int, str], list[Sequence[PredictionRecord]]] = defaultdict(list)
    for (size, variant, _), records in predictions.items():
        seeds[size, variant].append(records)
    result: dict[str, Any] = {}
    for (size, variant), of_seeds in seeds.items():
        of_variant = result.setdefault(str(size), {}).setdefault(variant, {})
        for group in groups:
            overlaps = [np.array([one.iou for one in some if group.holds(one)]) for some in of_seeds]
            if len(overlaps[0]):
                of_variant[group.name] = {
                    "num_queries": len(overlaps[0]),
                    "accuracy": summarize_seeds([float((some > 0.5).mean()) for some in overlaps]),
                    "mean_iou": summarize_seeds([float(some.mean()) for some in overlaps]),
                }
    return result


def compute_difference(
    predictions: PredictionsByTrial, size: int, first: str, second: str, group: Group
) -> dict[str, Any] | None:
    """Compute the difference in Acc@0.5 between two variants, paired by query and seed.

    Returns:
        ``over_seeds``, the variation between trainings, and ``over_images``, that of the mean over seeds between
        images. None if the variants share no seed or the group has no query.
    """
    both = [{seed for n, variant, seed in predictions if (n, variant) == (size, name)} for name in (first, second)]
    seeds = sorted(both[0] & both[1])
    if not seeds:
        return None
    differences = []
    for seed in seeds:
        subtracted = {record.query_id: record.iou > 0.5 for record in predictions[size, second, seed]}
        records = [record for record in predictions[size, first, seed] if group.holds(record)]
        differences.append([(record.iou > 0.5) * 1.0 - subtracted[record.query_id] for record in records])
    rows = np.array(differences)  # (seeds, queries)
    if not rows.size:
        return None
    image_keys = [record.key for record in predictions[size, first, seeds[0]] if group.holds(record)]
    (over_images,) = compute_intervals(rows.mean(0), image_keys)
    return {
        "num_queries": rows.shape[1],
        "over_seeds": summarize_seeds([float(row.mean()) for row in rows]),
        "over_images": {"mean": over_images.mean, "low": over_images.low, "high": over_images.high},
    }


def compute_prior_sensitivity(modes: PredictionsByMode, test: Group) -> list[dict[str, Any]]:
    """Compute the gain in Acc@0.5 of each variant with own priors over no priors and over shuffled ones."""
    rows = []
    for size, variant in dict.fromkeys((size, variant) for size, variant, _ in modes):
        predictions = {
            (size, mode, seed): some
            for (n, name, seed), of in modes.items()
            if (n, name) == (size, variant)
            for mode, some in of.items()
        }
        for mode in ("none", "shuffled"):
            if summary := compute_difference(predictions, size, "own", mode, test):
                rows.append({"variant": variant, "size": size, "priors": mode, **summary})
    return rows


def report(
    modes: PredictionsByMode,
    unseen: Collection[str],
    splits: Collection[str],
) -> dict[str, Any]:
    """Return all figures of the study as JSON values.

    Args:
        modes: predictions of all networks; levels and comparisons use the first prior mode.
        unseen: see ``make_groups``.
        splits: see ``make_groups``.
    """
    predictions = {key: next(iter(of.values())) for key, of in modes.items()}
    for (size, variant, seed), of in modes.items():
        if VARIANTS_BY_NAME[variant].exemplars == "priors":
            predictions[size, name_without_priors(variant), seed] = of["none"]
    groups = make_groups(next(iter(predictions.values())), unseen, splits)
    by_name = {group.name: group for group in groups}
    sizes = sorted({size for size, _, _ in predictions})
    comparisons = [
        {**vars(comparison), "size": size, **summary}
        for comparison in COMPARISONS
        for size in sizes
        if (group := by_name.get(comparison.group))
        and (summary := compute_difference(predictions, size, comparison.first, comparison.second, group))
    ]
    return {
        "levels": compute_levels(predictions, groups),
        "comparisons": comparisons,
        "prior_sensitivity": compute_prior_sensitivity(modes, by_name["test"]),
    }
