"""Markdown tables of the study's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = (
    "val",
    "testA",
    "testB",
    "one distractor",
    "two or more distractors",
    "unseen combinations",
    "val, positional",
    "val, not positional",
    "ordinal",
)


def format_markdown(record: Mapping[str, Any]) -> str:
    """Return a table of levels for each size, of differences between variants, and of the effect of the priors."""
    finished, total = record["networks"]["finished"], record["networks"]["all"]
    lines = [
        "# Study",
        "",
        f"{finished:,} of {total:,} networks, {record['steps']:,} steps unless the variant has more.",
    ]
    if seconds := record.get("data_seconds"):
        took = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
        lines += ["", f"Minutes of data generation, summed over processes: {took}."]
    if extra_data := record.get("extra_data"):
        held = "; ".join(f"{kind} {entry['images']:,}, {entry['queries']:,}" for kind, entry in extra_data.items())
        lines += ["", f"Images and queries of the extra training data: {held}."]
    for size, variants in record["levels"].items():
        lines += ["", f"## {int(size):,} training queries", "", *_format_levels(variants, record["cost"].get(size, {}))]
    lines += ["", "## Differences between variants", "", *_format_comparisons(record["comparisons"])]
    return "\n".join(
        [*lines, "", "## Effect of the priors", "", *_format_prior_sensitivity(record["prior_sensitivity"]), ""]
    )


def _format_levels(variants: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[str]:
    yield "Acc@0.5 in percent: mean over seeds and its 95 % interval (Student's t). The last column is of one training."
    yield ""
    yield f"| variant | seeds | {' | '.join(COLUMNS)} | mean IoU | CPU minutes |"
    yield f"|---|--:|{'--:|' * (len(COLUMNS) + 2)}"
    for variant, entry in variants.items():
        cells = [_format_interval(entry[name]["accuracy"]) if name in entry else "" for name in COLUMNS]
        cells += [
            _format_interval(entry["test"]["mean_iou"]),
            f"{seconds[variant] / 60:.1f}" if variant in seconds else "",
        ]
        yield f"| {variant} | {entry['test']['accuracy']['num_seeds']} | {' | '.join(cells)} |"


def _format_comparisons(comparisons: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "Points of Acc@0.5 on the same queries: over seeds (paired, Student's t) and over images (bootstrap of the"
    yield "mean over seeds). The last column has a sign if both intervals exclude zero, without a correction for the"
    yield "number of tests."
    yield ""
    yield "| question | variants | queries of | size | queries | seeds | over seeds | over images | |"
    yield "|---|---|---|--:|--:|--:|--:|--:|---|"
    for row in comparisons:
        words = (row["question"], f"{row['first']} - {row['second']}", row["group"], f"{row['size']:,}")
        yield f"| {' | '.join(words)} | {_format_difference(row)} |"


def _format_prior_sensitivity(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "Points of Acc@0.5 of the same network on the test queries: with each query's own prior, minus without priors"
    yield "or with priors of other queries."
    yield ""
    yield "| variant | size | own minus | queries | seeds | over seeds | over images | |"
    yield "|---|--:|---|--:|--:|--:|--:|---|"
    for row in rows:
        yield f"| {row['variant']} | {row['size']:,} | {row['priors']} | {_format_difference(row)} |"


def _format_difference(row: Mapping[str, Any]) -> str:
    seeds, images = row["over_seeds"], row["over_images"]
    sign = "" if not (_excludes_zero(seeds) and _excludes_zero(images)) else "+" if seeds["mean"] > 0 else "-"
    figures = (
        f"{row['num_queries']:,}",
        str(seeds["num_seeds"]),
        _format_interval(seeds, "+"),
        _format_interval(images, "+"),
        sign,
    )
    return " | ".join(figures)


def _excludes_zero(row: Mapping[str, Any]) -> bool:
    return row["low"] is not None and (row["low"] > 0 or row["high"] < 0)


def _format_interval(row: Mapping[str, Any], sign: str = "") -> str:
    def format_percent(value: float) -> str:
        return f"{100 * value:{sign}.1f}"

    if row["low"] is None:
        return format_percent(row["mean"])
    return f"{format_percent(row['mean'])} ({format_percent(row['low'])} to {format_percent(row['high'])})"
