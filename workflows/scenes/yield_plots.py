"""What the scenes of all rounds brought, as plots: ``yield.json`` to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upath import UPath

from workflows.reports.plot_style import FONT_PT, heat_map, levels, new_figure, save
from workflows.reports.run_report import funnel, shares

Record = Mapping[str, Any]


def draw_yield(record: Record, folder: UPath) -> None:
    """``yield.png``, ``coverage.png`` and ``time.png``."""
    composers = record["composers"]
    funnels = {name: _funnel(of) for name, of in composers.items()}
    _draw_each(funnels, folder / "yield.png", "scenes", decimals=0)
    times = {name: shares(of["work_seconds"]) for name, of in composers.items()}
    _draw_each(times, folder / "time.png", "working time by stage (%)", decimals=1)
    draw_coverage(record["cells"]["by_family_and_count"], folder / "coverage.png")


def _funnel(of: Record) -> dict[str, float]:
    away = {f"left out: {name.replace('_', ' ')}": of[name] for name in ("near_duplicate", "quota_full")}
    kept = {**away, "kept": of["kept_scenes"]}
    return funnel(of["attempted"], of["accepted"], of["rejected"], of["failed"], kept)


def _draw_each(values: Mapping[str, Mapping[str, float]], path: UPath, title: str, decimals: int) -> None:
    """A panel for each composer."""
    longest = max(map(len, values.values()), default=1)
    figure, every = new_figure(5.5 * max(1, len(values)), 1.2 + 0.26 * longest, len(values), columns=len(values) or 1)
    for axes, (name, one) in zip(every, values.items(), strict=True):
        levels(axes, one, f"{name}: {title}", decimals)
    save(figure, path)


def draw_coverage(families: Mapping[str, Mapping[str, Mapping[str, int]]], path: UPath) -> None:
    """Share of cells (relation x count x category) that hold enough queries, by relation and count of rivals."""
    counts = sorted({count for of_count in families.values() for count in of_count}, key=int)
    figure, (axes,) = new_figure(1.8 + 0.9 * len(counts), 1.6 + 0.3 * len(families))
    cells = [[of_count.get(count) for count in counts] for of_count in families.values()]
    values = [[one["reached"] / one["total"] if one else None for one in row] for row in cells]
    texts = [[f"{one['reached']}/{one['total']}" if one else "" for one in row] for row in cells]
    heat_map(axes, values, texts, list(families), counts)
    axes.set_xlabel("things of the category in view", fontsize=FONT_PT)
    axes.set_title("cells with enough queries / all", fontsize=FONT_PT, loc="left")
    save(figure, path)
