"""The study's results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = (
    "val",
    "testA",
    "testB",
    "one rival",
    "two or more rivals",
    "unseen combinations",
    "val, positional",
    "val, not positional",
    "ordinal",
)


def markdown(record: Mapping[str, Any]) -> str:
    """A table of levels for each size, of the differences between arms, and of what priors matter to a network."""
    finished, every = record["networks"]["finished"], record["networks"]["all"]
    lines = ["# Study", "", f"{finished:,} of {every:,} networks, {record['steps']:,} steps unless the arm says more."]
    if seconds := record.get("data_seconds"):
        took = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
        lines += ["", f"Minutes that the data took, all processes together: {took}."]
    if further := record.get("further_data"):
        held = "; ".join(f"{kind} {of['pictures']:,}, {of['queries']:,}" for kind, of in further.items())
        lines += ["", f"Pictures and queries of further training data: {held}."]
    for size, arms in record["levels"].items():
        lines += ["", f"## {int(size):,} training queries", "", *_levels(arms, record["cost"].get(size, {}))]
    lines += ["", "## Differences of arms", "", *_comparisons(record["comparisons"])]
    return "\n".join([*lines, "", "## Are priors heeded?", "", *_heeded(record["heeded"]), ""])


def _levels(arms: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[str]:
    yield "Acc@0.5 in percent, mean over seeds with its 95 % interval (Student's t), and a training's CPU minutes."
    yield ""
    yield f"| arm | seeds | {' | '.join(COLUMNS)} | mean IoU | CPU minutes |"
    yield f"|---|--:|{'--:|' * (len(COLUMNS) + 2)}"
    for arm, of in arms.items():
        cells = [_interval(of[name]["accuracy"]) if name in of else "" for name in COLUMNS]
        cells += [_interval(of["test"]["mean_iou"]), f"{seconds[arm] / 60:.1f}" if arm in seconds else ""]
        yield f"| {arm} | {of['test']['accuracy']['seeds']} | {' | '.join(cells)} |"


def _comparisons(comparisons: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "Points of Acc@0.5 on the same queries: over seeds (paired, Student's t) and over pictures (bootstrap of the"
    yield "mean over seeds). + or - where both intervals are clear of zero, not corrected for their number."
    yield ""
    yield "| question | arms | of | size | queries | seeds | over seeds | over pictures | |"
    yield "|---|---|---|--:|--:|--:|--:|--:|---|"
    for one in comparisons:
        words = (one["question"], f"{one['one']} - {one['other']}", one["group"], f"{one['size']:,}")
        yield f"| {' | '.join(words)} | {_difference(one)} |"


def _heeded(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "The same network's answers to the test queries with their own priors, less those without any or with those"
    yield "of other queries."
    yield ""
    yield "| arm | size | own less | queries | seeds | over seeds | over pictures | |"
    yield "|---|--:|---|--:|--:|--:|--:|---|"
    for one in rows:
        yield f"| {one['arm']} | {one['size']:,} | {one['priors']} | {_difference(one)} |"


def _difference(one: Mapping[str, Any]) -> str:
    seeds, pictures = one["over_seeds"], one["over_pictures"]
    sign = "" if not (_is_clear(seeds) and _is_clear(pictures)) else "+" if seeds["mean"] > 0 else "-"
    figures = (f"{one['num_queries']:,}", str(seeds["seeds"]), _interval(seeds, "+"), _interval(pictures, "+"), sign)
    return " | ".join(figures)


def _is_clear(one: Mapping[str, Any]) -> bool:
    return one["low"] is not None and (one["low"] > 0 or one["high"] < 0)


def _interval(one: Mapping[str, Any], sign: str = "") -> str:
    def shown(value: float) -> str:
        return f"{100 * value:{sign}.1f}"

    if one["low"] is None:
        return shown(one["mean"])
    return f"{shown(one['mean'])} ({shown(one['low'])} to {shown(one['high'])})"
