"""Plots of the study's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.reports.plot_style import new_figure, plot_bars, save_figure
from workflows.study.variants import VARIANTS_BY_NAME

GROUPS = ("testA", "testB", "two or more distractors", "unseen combinations", "val, positional", "ordinal")


def plot_study(record: Mapping[str, Any], output: Path) -> None:
    """Write ``variants.png``, the main variants by size, and ``comparisons.png``."""
    plot_variants(record["levels"], output / "variants.png")
    plot_comparisons(record["comparisons"], output / "comparisons.png")


def plot_variants(levels: Mapping[str, Any], path: Path) -> None:
    """Plot Acc@0.5 against training queries, one panel per group of queries, one color per main variant."""
    variants = [name for name, variant in VARIANTS_BY_NAME.items() if variant.is_main]
    figure, panels = new_figure(11, 6.4, len(GROUPS), columns=3)
    for axes, group in zip(panels, GROUPS, strict=True):
        series = {
            variant: [_get_bar(level.get(variant, {}).get(group)) for level in levels.values()] for variant in variants
        }
        plot_bars(axes, [f"{int(size):,}" for size in levels], series, "Acc@0.5 (%)", group)
    for axes in panels[1:]:  # one legend is enough
        axes.get_legend().remove()
    save_figure(figure, path)


def plot_comparisons(comparisons: list[Mapping[str, Any]], path: Path) -> None:
    """Plot differences in points; the thick interval is over images, the thin one over seeds."""
    figure, (axes,) = new_figure(9, 0.9 + 0.3 * max(1, len(comparisons)))
    for row, entry in enumerate(comparisons):
        for level, width in (("over_images", 3.0), ("over_seeds", 1.0)):
            if entry[level]["low"] is not None:
                axes.plot(
                    [100 * entry[level]["low"], 100 * entry[level]["high"]],
                    [row, row],
                    color="#0072b2",
                    linewidth=width,
                )
        axes.plot([100 * entry["over_images"]["mean"]], [row], marker="o", color="#0072b2")
    names = [f"{entry['first']} - {entry['second']}, {entry['group']} ({entry['size']:,})" for entry in comparisons]
    axes.set_yticks(range(len(comparisons)), names)
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_xlabel("points of Acc@0.5, 95 %: thick over images, thin over seeds")
    save_figure(figure, path)


def _get_bar(level: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    if level is None:
        return None
    entry = level["accuracy"]
    low, high = (entry["mean"] if entry[end] is None else entry[end] for end in ("low", "high"))
    return 100 * entry["mean"], 100 * low, 100 * high
