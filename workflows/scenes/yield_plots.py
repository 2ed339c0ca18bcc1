"""Plots of the scenes' yield, from ``yield.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upath import UPath

from workflows.reports.plot_style import FONT_PT, new_figure, plot_heat_map, plot_levels, save_figure
from workflows.reports.run_report import compute_time_shares, count_outcomes

Record = Mapping[str, Any]


def plot_yield(record: Record, folder: UPath) -> None:
    """Save ``yield.png``, ``coverage.png`` and ``time.png`` to the folder."""
    composers = record["composers"]
    funnels = {name: _count_composer_outcomes(composer_record) for name, composer_record in composers.items()}
    _plot_composers(funnels, folder / "yield.png", "scenes", decimals=0)
    times = {name: compute_time_shares(composer_record["work_seconds"]) for name, composer_record in composers.items()}
    _plot_composers(times, folder / "time.png", "working time by stage (%)", decimals=1)
    plot_coverage(record["quotas"]["by_relation_type_and_count"], folder / "coverage.png")


def _count_composer_outcomes(composer_record: Record) -> dict[str, float]:
    away = {f"excluded: {name.replace('_', ' ')}": composer_record[name] for name in ("near_duplicate", "quota_full")}
    kept = {**away, "kept": composer_record["kept_scenes"]}
    return count_outcomes(
        composer_record["attempted"],
        composer_record["accepted"],
        composer_record["rejected"],
        composer_record["failed"],
        kept,
    )


def _plot_composers(values: Mapping[str, Mapping[str, float]], path: UPath, title: str, decimals: int) -> None:
    """Plot a panel for each composer."""
    longest = max(map(len, values.values()), default=1)
    figure, panels = new_figure(5.5 * max(1, len(values)), 1.2 + 0.26 * longest, len(values), columns=len(values) or 1)
    for axes, (name, one) in zip(panels, values.items(), strict=True):
        plot_levels(axes, one, f"{name}: {title}", decimals)
    save_figure(figure, path)


def plot_coverage(relation_types: Mapping[str, Mapping[str, Mapping[str, int]]], path: UPath) -> None:
    """Plot the share of reached quotas of all categories, by relation type and count."""
    counts = sorted({count for of_count in relation_types.values() for count in of_count}, key=int)
    figure, (axes,) = new_figure(1.8 + 0.9 * len(counts), 1.6 + 0.3 * len(relation_types))
    cells = [[of_count.get(count) for count in counts] for of_count in relation_types.values()]
    values = [[one["reached"] / one["total"] if one else None for one in row] for row in cells]
    texts = [[f"{one['reached']}/{one['total']}" if one else "" for one in row] for row in cells]
    plot_heat_map(axes, values, texts, list(relation_types), counts)
    axes.set_xlabel("objects of the category", fontsize=FONT_PT)
    axes.set_title("reached quotas / all", fontsize=FONT_PT, loc="left")
    save_figure(figure, path)
