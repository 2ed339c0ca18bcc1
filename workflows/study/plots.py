"""The study's results as plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.reports.plot_style import bars, new_figure, save
from workflows.study.arms import BY_NAME

GROUPS = ("testA", "testB", "two or more rivals", "unseen combinations", "val, positional", "ordinal")


def draw_study(record: Mapping[str, Any], output: Path) -> None:
    """``arms.png`` (the main arms by size) and ``comparisons.png``."""
    draw_arms(record["levels"], output / "arms.png")
    draw_comparisons(record["comparisons"], output / "comparisons.png")


def draw_arms(levels: Mapping[str, Any], path: Path) -> None:
    """A panel for each group of queries; the data's size across, a colour for each main arm."""
    arms = [name for name, arm in BY_NAME.items() if arm.is_main]
    figure, every = new_figure(11, 6.4, len(GROUPS), columns=3)
    for axes, group in zip(every, GROUPS, strict=True):
        series = {arm: [_bar(of.get(arm, {}).get(group)) for of in levels.values()] for arm in arms}
        bars(axes, [f"{int(size):,}" for size in levels], series, "Acc@0.5 (%)", group)
    for axes in every[1:]:  # one legend is enough
        axes.get_legend().remove()
    save(figure, path)


def draw_comparisons(comparisons: list[Mapping[str, Any]], path: Path) -> None:
    """Differences in points: thick over pictures, thin over seeds."""
    figure, (axes,) = new_figure(9, 0.9 + 0.3 * max(1, len(comparisons)))
    for row, one in enumerate(comparisons):
        for of, width in (("over_pictures", 3.0), ("over_seeds", 1.0)):
            if one[of]["low"] is not None:
                axes.plot([100 * one[of]["low"], 100 * one[of]["high"]], [row, row], color="#0072b2", linewidth=width)
        axes.plot([100 * one["over_pictures"]["mean"]], [row], marker="o", color="#0072b2")
    names = [f"{one['one']} - {one['other']}, {one['group']} ({one['size']:,})" for one in comparisons]
    axes.set_yticks(range(len(comparisons)), names)
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_xlabel("points of Acc@0.5, 95 %: thick over pictures, thin over seeds")
    save(figure, path)


def _bar(of: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    if of is None:
        return None
    one = of["accuracy"]
    low, high = (one["mean"] if one[end] is None else one[end] for end in ("low", "high"))
    return 100 * one["mean"], 100 * low, 100 * high
