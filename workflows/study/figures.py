"""What the answers of all networks say: means over seeds, and paired differences of arms, each with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any

import numpy as np
from scipy.stats import t as student

from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.metrics import PredictionRecord
from workflows.reports.accuracy import find_word_kinds
from workflows.study.arms import has_held_out_color

PredictionsByTrial = Mapping[tuple[int, str, int], Sequence[PredictionRecord]]
"""(size, arm, seed) to its judgements with each query's own prior."""

PredictionsByMode = Mapping[tuple[int, str, int], Mapping[str, Sequence[PredictionRecord]]]
"""(size, arm, seed) to way of giving priors to judgements; the first way is with each query's own."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Queries that a claim is about."""

    name: str
    holds: Callable[[PredictionRecord], bool]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm less another, on a group of queries."""

    question: str
    one: str
    other: str
    group: str


def _make_comparisons(question: str, one: str, other: str, *names: str) -> tuple[Comparison, ...]:
    return tuple(Comparison(question=question, one=one, other=other, group=name) for name in names)


ON_VAL = ("val, positional", "val, not positional")
"""testB's queries are all positional and testA's are not; val has both kinds about the same images."""

COMPARISONS = (
    *_make_comparisons("Do priors and scenes help?", "both", "base", "two or more distractors", "test"),
    *_make_comparisons("Where do priors help?", "priors", "base", "test", "unseen combinations", "seen combinations"),
    *_make_comparisons("Where do scenes help?", "scenes", "base", "test", "testA", "testB", "ordinal", *ON_VAL),
    *_make_comparisons("Do priors help beside scenes?", "both", "scenes", "test", "unseen combinations"),
    *_make_comparisons("Must it be the query's own prior?", "priors", "shuffled priors", "test"),
    *_make_comparisons("Would better priors help?", "oracle priors", "priors", "test"),
    *_make_comparisons(
        "Do priors tell what words never taught?",
        "priors, colors held out",
        "base, colors held out",
        "held-out colors",
        "other colors",
    ),
    *_make_comparisons(
        "Are programs better than Pseudo-Q's rules?",
        "scenes",
        "Pseudo-Q's rules",
        "test",
        "testA",
        "testB",
        "ordinal",
        ON_VAL[0],
    ),
    *_make_comparisons(
        "Are prompts without attributes better?",
        "prompts without attributes",
        "scenes",
        "test",
        "testA",
        "testB",
        "ordinal",
    ),
    *_make_comparisons(
        "Do scenes of prompts without attributes help?",
        "prompts without attributes",
        "base",
        "two or more distractors",
        "testA",
        "testB",
    ),
    *_make_comparisons(
        "Are programs better than Pseudo-Q's rules, for prompts without attributes?",
        "prompts without attributes",
        "prompts without attributes, Pseudo-Q's rules",
        "test",
        "testA",
        "testB",
        "ordinal",
        ON_VAL[0],
    ),
    *_make_comparisons("Are scenes better than real images?", "scenes", "more real images", "test", "testB"),
    *_make_comparisons(
        "Are scenes of prompts without attributes better than real images?",
        "prompts without attributes",
        "more real images",
        "test",
        "testB",
    ),
    *_make_comparisons("Are pasted scenes better?", "pasted scenes", "scenes", "test", "ordinal"),
    *_make_comparisons("Do pasted scenes help?", "pasted scenes", "base", "two or more distractors", "testA", "testB"),
    *_make_comparisons("Must scenes be few?", "scenes", "all scenes in each epoch", "test", "testA", "testB"),
    *_make_comparisons(
        "Do they help with four times the steps?",
        "both, four times the steps",
        "base, four times the steps",
        "two or more distractors",
        "test",
    ),
    *_make_comparisons(
        "Do verifying priors tell what words never taught?",
        "verifying priors, colors held out",
        "base, colors held out",
        "held-out colors",
        "other colors",
    ),
    *_make_comparisons("Are verifying priors better?", "verifying priors", "priors", "test"),
    *_make_comparisons("Are they, beside scenes?", "verifying priors and scenes", "both", "test"),
    *_make_comparisons("Are scaled priors better?", "scaled priors", "priors", "test", "unseen combinations"),
)
"""What is asked of the arms."""


def make_groups(records: Sequence[PredictionRecord], unseen: Collection[str], splits: Collection[str]) -> list[Group]:
    """Of queries.

    Args:
        unseen: ids of the queries whose target is of a combination that real training images never show.
        splits: those that all groups but ``val`` and the like are made of.
    """
    kinds = find_word_kinds(one.text for one in records)

    def has_kind(*of: str) -> Callable[[PredictionRecord], bool]:
        return lambda one: not kinds.get(one.text, frozenset()).isdisjoint(of)

    is_positional = has_kind("spatial", "relational")
    of_test: dict[str, Callable[[PredictionRecord], bool]] = {
        "test": lambda one: True,
        "no distractor": lambda one: one.num_distractors == 0,
        "one distractor": lambda one: one.num_distractors == 1,
        "two or more distractors": lambda one: (one.num_distractors or 0) >= 2,
        "unseen combinations": lambda one: one.query_id in unseen,
        "seen combinations": lambda one: one.split == "testA" and one.query_id not in unseen,
        "held-out colors": lambda one: one.split == "testA" and has_held_out_color(one.text),
        "other colors": lambda one: one.split == "testA" and not has_held_out_color(one.text),
        "ordinal": has_kind("ordinal"),
    }
    of_val = dict(zip(ON_VAL, (is_positional, lambda one: not is_positional(one)), strict=True))
    all_splits = dict.fromkeys(one.split for one in records)
    return [
        *starmap(partial(_make_group, splits), of_test.items()),
        *starmap(partial(_make_group, ("val",)), of_val.items()),
        *(_make_split_group(split) for split in all_splits),
    ]


def _make_group(splits: Collection[str], name: str, holds: Callable[[PredictionRecord], bool]) -> Group:
    return Group(name=name, holds=lambda one: one.split in splits and holds(one))


def _make_split_group(split: str) -> Group:
    return Group(name=split, holds=lambda one: one.split == split)


def summarize_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean with its 95 % interval by Student's t; no interval of a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "num_seeds": 1}
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "num_seeds": len(values)}


def compute_levels(predictions: PredictionsByTrial, groups: Sequence[Group]) -> dict[str, Any]:
    """Size, arm and group to Acc@0.5 and mean IoU over seeds."""
    seeds: dict[tuple[int, str], list[Sequence[PredictionRecord]]] = defaultdict(list)
    for (size, variant, _), records in predictions.items():
        seeds[size, variant].append(records)
    result: dict[str, Any] = {}
    for (size, variant), of_seeds in seeds.items():
        of_arm = result.setdefault(str(size), {}).setdefault(variant, {})
        for group in groups:
            overlaps = [np.array([one.iou for one in some if group.holds(one)]) for some in of_seeds]
            if len(overlaps[0]):
                of_arm[group.name] = {
                    "num_queries": len(overlaps[0]),
                    "accuracy": summarize_seeds([float((some > 0.5).mean()) for some in overlaps]),
                    "mean_iou": summarize_seeds([float(some.mean()) for some in overlaps]),
                }
    return result


def compute_difference(
    predictions: PredictionsByTrial, size: int, one: str, other: str, group: Group
) -> dict[str, Any] | None:
    """How many more of the same queries the one arm answers right than the other, of the seeds that both have; None
    without any.

    ``summarize_seeds`` says how it varies from training to training, ``over_images`` (of the mean over seeds) from
    image to image.
    """
    of_arm = [{seed for n, variant, seed in predictions if (n, variant) == (size, name)} for name in (one, other)]
    seeds = sorted(of_arm[0] & of_arm[1])
    if not seeds:
        return None
    rows = np.array(
        [
            _compute_paired_differences(predictions[size, one, seed], predictions[size, other, seed], group)
            for seed in seeds
        ]
    )
    if not rows.size:
        return None
    image_keys = [record.key for record in predictions[size, one, seeds[0]] if group.holds(record)]
    (over_images,) = compute_intervals(rows.mean(0), image_keys)
    return {
        "num_queries": rows.shape[1],
        "summarize_seeds": summarize_seeds([float(row.mean()) for row in rows]),
        "over_images": {"mean": over_images.mean, "low": over_images.low, "high": over_images.high},
    }


def _compute_paired_differences(
    first: Sequence[PredictionRecord], second: Sequence[PredictionRecord], group: Group
) -> list[float]:
    by_query_id = {one.query_id: one for one in second}
    return [(one.iou > 0.5) * 1.0 - (by_query_id[one.query_id].iou > 0.5) for one in first if group.holds(one)]


def compute_prior_sensitivity(modes: PredictionsByMode, test: Group) -> list[dict[str, Any]]:
    """Whether networks heed their priors: how much better each arm answers with them than without, or with others'."""
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
    """All figures as JSON values.

    Args:
        modes: of all networks; the first way of giving priors counts.
        unseen, splits: see ``make_groups``.
    """
    predictions: PredictionsByTrial = {key: next(iter(of.values())) for key, of in modes.items()}
    groups = make_groups(next(iter(predictions.values())), unseen, splits)
    by_name = {group.name: group for group in groups}
    sizes = sorted({size for size, _, _ in predictions})
    comparisons = [
        {**vars(one), "size": size, **summary}
        for one in COMPARISONS
        for size in sizes
        if one.group in by_name
        and (summary := compute_difference(predictions, size, one.one, one.other, by_name[one.group]))
    ]
    return {
        "levels": compute_levels(predictions, groups),
        "comparisons": comparisons,
        "prior_sensitivity": compute_prior_sensitivity(modes, by_name["test"]),
    }
