"""What the answers of all cells say: means over seeds, and paired differences between arms, each with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from trainer.bootstrap import intervals
from trainer.metrics import Judgement
from workflows.accuracy import kinds_of_words
from workflows.study.arms import names_withheld

Answers = Mapping[tuple[int, str, int], Sequence[Judgement]]
"""(size, arm, seed) to its judgements with each query's own prior."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Queries that a claim is about."""

    name: str
    holds: Callable[[Judgement], bool]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An arm is better than another on a group of queries."""

    text: str
    better: str
    worse: str
    group: str


CLAIMS = (
    Claim(text="priors and scenes help among rivals", better="both", worse="base", group="two or more rivals"),
    Claim(text="priors help on unseen combinations", better="priors", worse="base", group="unseen combinations"),
    Claim(text="priors help on seen combinations", better="priors", worse="base", group="seen combinations"),
    Claim(text="own priors beat shuffled ones", better="priors", worse="shuffled priors", group="all"),
    Claim(text="oracle priors beat drawn ones", better="oracle priors", worse="priors", group="all"),
    Claim(
        text="priors know withheld colours",
        better="priors, colours withheld",
        worse="base, colours withheld",
        group="withheld colours",
    ),
    Claim(text="scenes help on positional queries", better="scenes", worse="base", group="positional"),
    Claim(text="scenes help on other queries", better="scenes", worse="base", group="not positional"),
    Claim(text="scenes help on ordinals", better="scenes", worse="base", group="ordinal"),
    Claim(text="programs beat Pseudo-Q's rules", better="scenes", worse="Pseudo-Q's rules", group="all"),
    Claim(text="scenes beat as many photographs", better="scenes", worse="more photographs", group="all"),
    Claim(text="pasted beat prompted scenes", better="pasted scenes", worse="scenes", group="all"),
    Claim(text="pasted beat prompted scenes on ordinals", better="pasted scenes", worse="scenes", group="ordinal"),
    Claim(text="scaled priors beat those as they are", better="scaled priors", worse="priors", group="all"),
    Claim(text="scaled priors help on unseen ones", better="scaled priors", worse="base", group="unseen combinations"),
    Claim(
        text="scaled priors and scenes help among rivals",
        better="scaled priors and scenes",
        worse="base",
        group="two or more rivals",
    ),
    Claim(
        text="scaled priors know withheld colours",
        better="scaled priors, colours withheld",
        worse="base, colours withheld",
        group="withheld colours",
    ),
    Claim(text="verifying priors beat published ones", better="verifying priors", worse="priors", group="all"),
)


def groups(judgements: Sequence[Judgement], unseen: Collection[str]) -> list[Group]:
    """Of queries, over all splits and of each.

    Args:
        unseen: ids of the queries whose target is of a combination that training never shows.
    """
    kinds = kinds_of_words(one.text for one in judgements)

    def speaks_of(kind: str) -> Callable[[Judgement], bool]:
        return lambda one: kind in kinds.get(one.text, ())

    is_positional = speaks_of("spatial")

    found = [
        Group(name="all", holds=lambda one: True),
        Group(name="no rival", holds=lambda one: one.num_rivals == 0),
        Group(name="one rival", holds=lambda one: one.num_rivals == 1),
        Group(name="two or more rivals", holds=lambda one: (one.num_rivals or 0) >= 2),
        Group(name="unseen combinations", holds=lambda one: one.query_id in unseen),
        Group(name="seen combinations", holds=lambda one: one.split == "testA" and one.query_id not in unseen),
        Group(name="withheld colours", holds=lambda one: one.split == "testA" and names_withheld(one.text)),
        Group(name="positional", holds=is_positional),
        Group(name="ordinal", holds=speaks_of("ordinal")),
        Group(name="not positional", holds=lambda one: not is_positional(one)),
    ]
    splits = dict.fromkeys(one.split for one in judgements)
    return [*found, *(_of_split(split) for split in splits)]


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


def difference(answers: Answers, size: int, better: str, worse: str, group: Group) -> dict[str, Any] | None:
    """How many more of the same queries the one arm answers right, of the seeds that both have; None without any.

    ``over_seeds`` says how it varies from training to training, ``over_pictures`` (of the mean over seeds) from
    picture to picture.
    """
    of_arm = [{seed for n, arm, seed in answers if (n, arm) == (size, name)} for name in (better, worse)]
    seeds = sorted(of_arm[0] & of_arm[1])
    if not seeds:
        return None
    rows = np.array([_paired(answers[size, better, seed], answers[size, worse, seed], group) for seed in seeds])
    if not rows.size:
        return None
    pictures = [one.key for one in answers[size, better, seeds[0]] if group.holds(one)]
    (over_pictures,) = intervals(rows.mean(0), pictures)
    return {
        "num_queries": rows.shape[1],
        "over_seeds": over_seeds([float(row.mean()) for row in rows]),
        "over_pictures": {"mean": over_pictures.mean, "low": over_pictures.low, "high": over_pictures.high},
    }


def _paired(these: Sequence[Judgement], those: Sequence[Judgement], group: Group) -> list[float]:
    theirs = {one.query_id: one for one in those}
    return [(one.iou > 0.5) * 1.0 - (theirs[one.query_id].iou > 0.5) for one in these if group.holds(one)]


def report(answers: Answers, unseen: Collection[str]) -> dict[str, Any]:
    """All figures as JSON values."""
    chosen = groups(next(iter(answers.values())), unseen)
    by_name = {group.name: group for group in chosen}
    sizes = sorted({size for size, _, _ in answers})
    claims = [
        {**vars(claim), "size": size, **found}
        for claim in CLAIMS
        for size in sizes
        if (found := difference(answers, size, claim.better, claim.worse, by_name[claim.group]))
    ]
    return {"levels": levels(answers, chosen), "claims": claims}
