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

from trainer.evaluation.bootstrap import intervals
from trainer.evaluation.metrics import Judgement
from workflows.reports.accuracy import kinds_of_words
from workflows.study.arms import names_withheld

Answers = Mapping[tuple[int, str, int], Sequence[Judgement]]
"""(size, arm, seed) to its judgements with each query's own prior."""

Modes = Mapping[tuple[int, str, int], Mapping[str, Sequence[Judgement]]]
"""(size, arm, seed) to way of giving priors to judgements; the first way is with each query's own."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Queries that a claim is about."""

    name: str
    holds: Callable[[Judgement], bool]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm less another, on a group of queries."""

    question: str
    one: str
    other: str
    group: str


def _compared(question: str, one: str, other: str, *names: str) -> tuple[Comparison, ...]:
    return tuple(Comparison(question=question, one=one, other=other, group=name) for name in names)


ON_VAL = ("val, positional", "val, not positional")
"""testB's queries are all positional and testA's are not; val has both kinds about the same pictures."""

COMPARISONS = (
    *_compared("Do priors and scenes help?", "both", "base", "two or more rivals", "test"),
    *_compared("Where do priors help?", "priors", "base", "test", "unseen combinations", "seen combinations"),
    *_compared("Where do scenes help?", "scenes", "base", "test", "testA", "testB", "ordinal", *ON_VAL),
    *_compared("Do priors help beside scenes?", "both", "scenes", "test", "unseen combinations"),
    *_compared("Must it be the query's own prior?", "priors", "shuffled priors", "test"),
    *_compared("Would better priors help?", "oracle priors", "priors", "test"),
    *_compared(
        "Do priors tell what words never taught?",
        "priors, colours withheld",
        "base, colours withheld",
        "withheld colours",
        "other colours",
    ),
    *_compared(
        "Are programs better than Pseudo-Q's rules?",
        "scenes",
        "Pseudo-Q's rules",
        "test",
        "testA",
        "testB",
        "ordinal",
        ON_VAL[0],
    ),
    *_compared("Are plain prompts better?", "plain prompts", "scenes", "test", "testA", "testB", "ordinal"),
    *_compared("Do scenes of plain prompts help?", "plain prompts", "base", "two or more rivals", "testA", "testB"),
    *_compared(
        "Are programs better than Pseudo-Q's rules, of plain prompts?",
        "plain prompts",
        "plain prompts, Pseudo-Q's rules",
        "test",
        "testA",
        "testB",
        "ordinal",
        ON_VAL[0],
    ),
    *_compared("Are scenes better than photographs?", "scenes", "more photographs", "test", "testB"),
    *_compared("Are those of plain prompts?", "plain prompts", "more photographs", "test", "testB"),
    *_compared("Are pasted scenes better?", "pasted scenes", "scenes", "test", "ordinal"),
    *_compared("Do pasted scenes help?", "pasted scenes", "base", "two or more rivals", "testA", "testB"),
    *_compared("Must scenes be few?", "scenes", "all scenes in each epoch", "test", "testA", "testB"),
    *_compared(
        "Do they help with four times the steps?",
        "both, four times the steps",
        "base, four times the steps",
        "two or more rivals",
        "test",
    ),
    *_compared(
        "Do verifying priors tell what words never taught?",
        "verifying priors, colours withheld",
        "base, colours withheld",
        "withheld colours",
        "other colours",
    ),
    *_compared("Are verifying priors better?", "verifying priors", "priors", "test"),
    *_compared("Are they, beside scenes?", "verifying priors and scenes", "both", "test"),
    *_compared("Are louder priors better?", "scaled priors", "priors", "test", "unseen combinations"),
)
"""What is asked of the arms."""


def groups(judgements: Sequence[Judgement], unseen: Collection[str], splits: Collection[str]) -> list[Group]:
    """Of queries.

    Args:
        unseen: ids of the queries whose target is of a combination that real training pictures never show.
        splits: those that all groups but ``val`` and the like are made of.
    """
    kinds = kinds_of_words(one.text for one in judgements)

    def speaks_of(*of: str) -> Callable[[Judgement], bool]:
        return lambda one: not kinds.get(one.text, frozenset()).isdisjoint(of)

    is_positional = speaks_of("spatial", "relational")
    of_test: dict[str, Callable[[Judgement], bool]] = {
        "test": lambda one: True,
        "no rival": lambda one: one.num_rivals == 0,
        "one rival": lambda one: one.num_rivals == 1,
        "two or more rivals": lambda one: (one.num_rivals or 0) >= 2,
        "unseen combinations": lambda one: one.query_id in unseen,
        "seen combinations": lambda one: one.split == "testA" and one.query_id not in unseen,
        "withheld colours": lambda one: one.split == "testA" and names_withheld(one.text),
        "other colours": lambda one: one.split == "testA" and not names_withheld(one.text),
        "ordinal": speaks_of("ordinal"),
    }
    of_val = dict(zip(ON_VAL, (is_positional, lambda one: not is_positional(one)), strict=True))
    every = dict.fromkeys(one.split for one in judgements)
    return [
        *starmap(partial(_of_splits, splits), of_test.items()),
        *starmap(partial(_of_splits, ("val",)), of_val.items()),
        *(_of_split(split) for split in every),
    ]


def _of_splits(splits: Collection[str], name: str, holds: Callable[[Judgement], bool]) -> Group:
    return Group(name=name, holds=lambda one: one.split in splits and holds(one))


def _of_split(split: str) -> Group:
    return Group(name=split, holds=lambda one: one.split == split)


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean with its 95 % interval by Student's t; no interval of a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "seeds": 1}
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": len(values)}


def levels(answers: Answers, chosen: Sequence[Group]) -> dict[str, Any]:
    """Size, arm and group to Acc@0.5 and mean IoU over seeds."""
    seeds: dict[tuple[int, str], list[Sequence[Judgement]]] = defaultdict(list)
    for (size, arm, _), judgements in answers.items():
        seeds[size, arm].append(judgements)
    result: dict[str, Any] = {}
    for (size, arm), of_seeds in seeds.items():
        of_arm = result.setdefault(str(size), {}).setdefault(arm, {})
        for group in chosen:
            overlaps = [np.array([one.iou for one in some if group.holds(one)]) for some in of_seeds]
            if len(overlaps[0]):
                of_arm[group.name] = {
                    "num_queries": len(overlaps[0]),
                    "accuracy": over_seeds([float((some > 0.5).mean()) for some in overlaps]),
                    "mean_iou": over_seeds([float(some.mean()) for some in overlaps]),
                }
    return result


def difference(answers: Answers, size: int, one: str, other: str, group: Group) -> dict[str, Any] | None:
    """How many more of the same queries the one arm answers right than the other, of the seeds that both have; None
    without any.

    ``over_seeds`` says how it varies from training to training, ``over_pictures`` (of the mean over seeds) from
    picture to picture.
    """
    of_arm = [{seed for n, arm, seed in answers if (n, arm) == (size, name)} for name in (one, other)]
    seeds = sorted(of_arm[0] & of_arm[1])
    if not seeds:
        return None
    rows = np.array([_paired(answers[size, one, seed], answers[size, other, seed], group) for seed in seeds])
    if not rows.size:
        return None
    pictures = [judged.key for judged in answers[size, one, seeds[0]] if group.holds(judged)]
    (over_pictures,) = intervals(rows.mean(0), pictures)
    return {
        "num_queries": rows.shape[1],
        "over_seeds": over_seeds([float(row.mean()) for row in rows]),
        "over_pictures": {"mean": over_pictures.mean, "low": over_pictures.low, "high": over_pictures.high},
    }


def _paired(these: Sequence[Judgement], those: Sequence[Judgement], group: Group) -> list[float]:
    theirs = {one.query_id: one for one in those}
    return [(one.iou > 0.5) * 1.0 - (theirs[one.query_id].iou > 0.5) for one in these if group.holds(one)]


def heeded(modes: Modes, test: Group) -> list[dict[str, Any]]:
    """Whether networks heed their priors: how much better each arm answers with them than without, or with others'."""
    rows = []
    for size, arm in dict.fromkeys((size, arm) for size, arm, _ in modes):
        answers = {
            (size, mode, seed): some
            for (n, name, seed), of in modes.items()
            if (n, name) == (size, arm)
            for mode, some in of.items()
        }
        for mode in ("without", "shuffled"):
            if found := difference(answers, size, "true", mode, test):
                rows.append({"arm": arm, "size": size, "priors": mode, **found})
    return rows


def report(
    modes: Modes,
    unseen: Collection[str],
    splits: Collection[str],
) -> dict[str, Any]:
    """All figures as JSON values.

    Args:
        modes: of all networks; the first way of giving priors counts.
        unseen, splits: see ``groups``.
    """
    answers: Answers = {key: next(iter(of.values())) for key, of in modes.items()}
    chosen = groups(next(iter(answers.values())), unseen, splits)
    by_name = {group.name: group for group in chosen}
    sizes = sorted({size for size, _, _ in answers})
    comparisons = [
        {**vars(one), "size": size, **found}
        for one in COMPARISONS
        for size in sizes
        if one.group in by_name and (found := difference(answers, size, one.one, one.other, by_name[one.group]))
    ]
    return {
        "levels": levels(answers, chosen),
        "comparisons": comparisons,
        "heeded": heeded(modes, by_name["test"]),
    }
