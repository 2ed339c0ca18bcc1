"""Result of the demo: both networks by group of test queries, and what it means in three lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.evaluate import read_predictions
from trainer.evaluation.bootstrap import ConfidenceInterval
from trainer.evaluation.metrics import PredictionRecord, compute_scores
from workflows.reports.accuracy import compute_paired_difference, format_difference, format_percent

TEST = ("testA", "testB")
Size = Literal["short", "full", "smoke"]
"""Size of the demo; the networks of ``smoke`` are too small to be useful."""

SEVERAL = "two or more distractors"

ANOTHER_SEED = 'make demo ARGS="--seed 1 --output runs/demo-1"'

GROUPS: dict[str, Callable[[PredictionRecord], bool]] = {
    "all test queries": lambda one: True,
    "no distractor": lambda one: one.num_distractors == 0,
    "one distractor": lambda one: one.num_distractors == 1,
    SEVERAL: lambda one: (one.num_distractors or 0) >= 2,
    "testA (told apart by color and pattern)": lambda one: one.split == "testA",
    "testB (told apart by position)": lambda one: one.split == "testB",
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Acc@0.5 of both networks on a group of test queries, in 0..1."""

    name: str
    num_queries: int
    base: float
    """Accuracy without generated data."""

    both: float
    """Accuracy with priors and scenes."""

    difference: ConfidenceInterval
    """Difference ``both`` minus ``base``, paired by query, over images."""


def compare_groups(base: Path, both: Path) -> list[Group]:
    """Compare two evaluations of the same queries, by group."""
    theirs = {(one.split, one.query_id): one for one in read_predictions(base)}
    records = read_predictions(both)
    groups = []
    for name, is_member in GROUPS.items():
        ours = [one for one in records if is_member(one)]
        if not ours:
            continue
        paired = [theirs[one.split, one.query_id] for one in ours]
        first, second = (compute_scores(some)["accuracy"]["0.50"] for some in (paired, ours))
        difference = ConfidenceInterval(**compute_paired_difference(ours, paired)["difference"]["0.50"])
        groups.append(Group(name=name, num_queries=len(ours), base=first, both=second, difference=difference))
    return groups


def list_cells(groups: Sequence[Group]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the head and the rows of the table of results."""
    head: tuple[str, ...] = ("test queries", "number", "without generated data", "with priors and scenes", "difference")
    rows: list[tuple[str, ...]] = [
        (
            group.name,
            f"{group.num_queries:,}",
            format_percent(group.base),
            format_percent(group.both),
            format_difference(vars(group.difference)),
        )
        for group in groups
    ]
    return head, rows


def describe_result(groups: Sequence[Group], size: Size = "short") -> tuple[str, str, str]:
    """Say what the table shows, what to look at, and what to try next.

    Args:
        groups: rows of the table; the row of several distractors counts, or else the first.
        size: size of the demo.
    """
    if size == "smoke":
        return (
            "These networks have hardly been trained: ignore the figures.",
            "Look at the page: it has a part for every step.",
            "Try make demo: it trains networks that you can compare.",
        )
    group = next((group for group in groups if group.name == SEVERAL), groups[0])
    lowest, *_, highest = sorted(groups, key=lambda one: one.difference.mean)
    extremes = f"{highest.name} ({_format_points(highest)}) and {lowest.name} ({_format_points(lowest)})"
    shown = (
        f"with {group.name}, {format_percent(group.base)} % of {group.num_queries:,} answers are right without "
        f"generated data, {format_percent(group.both)} % with it ({_format_points(group)})"
    )
    look_at = f"Look at the groups with the highest and the lowest difference: {extremes}."
    if group.difference.low > 0:
        return (
            f"Generated data helps: {shown}.",
            look_at,
            "Try make demo SIZE=full: with thousands of training queries the gain shrinks."
            if size == "short"
            else "Try make demo, with fewer training queries: the gain grows.",
        )
    if group.difference.high < 0:
        return (
            f"Generated data harms: {shown}.",
            look_at,
            f"Try another training, {ANOTHER_SEED}; if it agrees, look for wrong boxes in the scenes.",
        )
    width = format_percent(group.difference.high - group.difference.low)
    return (
        f"This run shows no effect of generated data: {shown}; the interval contains zero.",
        f"Look at the interval: it is {width} points wide, and smaller effects do not show.",
        f"Try another training, {ANOTHER_SEED}, or fewer training queries, where the effect is larger.",
    )


def _format_points(group: Group) -> str:
    """Format a difference, as in "+20.0 points, +15.0 to +25.0"."""
    mean, low, high = (100 * value for value in (group.difference.mean, group.difference.low, group.difference.high))
    return f"{mean:+.1f} points, {low:+.1f} to {high:+.1f}"
