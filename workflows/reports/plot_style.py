"""One style for all plots: readable in print, without color and on a phone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import Location, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colors of Okabe and Ito, which people with any color vision can distinguish."""

MARKERS, LINES, HATCHES = "osD^vP", ("-", "--", "-.", ":"), ("", "//", "..", "xx", "\\\\", "++")

FONT_PT = 9
DPI = 130


def new_figure(width_in: float, height_in: float, num_axes: int = 1, columns: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure with ``count`` axes in rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = -(-num_axes // columns)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(num_axes)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=FONT_PT - 1)
        one.grid(axis="y", linewidth=0.4, alpha=0.6)
        one.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Figure, path: Location) -> None:
    """Write a PNG file completely or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomic(path, content.getvalue())


def plot_curves(axes: Any, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> None:
    """Plot named lines of (x, y) with different colors, markers and dashes."""
    for i, (name, (x_values, y_values)) in enumerate(lines.items()):
        style = {"color": COLORS[i % 6], "marker": MARKERS[i % 6], "linestyle": LINES[i % 4]}
        axes.plot(x_values, y_values, label=name, markersize=4, linewidth=1.4, **style)
    _label_axes(axes, x, y, len(lines))


def plot_bars(
    axes: Any,
    labels: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float] | None]],
    y: str,
    title: str = "",
) -> None:
    """Plot groups of bars; a bar is (value, low, high) with an interval, or None if there is no value."""
    width = 0.8 / max(1, len(series))
    for i, (name, values) in enumerate(series.items()):
        shown = [(position, value) for position, value in enumerate(values) if value is not None]
        centers = [position + (i - (len(series) - 1) / 2) * width for position, _ in shown]
        heights = [value[0] for _, value in shown]
        spread = [[value[0] - value[1] for _, value in shown], [value[2] - value[0] for _, value in shown]]
        axes.bar(
            centers,
            heights,
            width,
            yerr=spread,
            label=name,
            color=COLORS[i % 6],
            hatch=HATCHES[i % 6],
            edgecolor="white",
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"},
        )
    slanted = max(map(len, labels), default=0) > 12
    axes.set_xticks(range(len(labels)), labels, rotation=20 if slanted else 0, ha="right" if slanted else "center")
    axes.set_title(title, fontsize=FONT_PT, loc="left")
    _label_axes(axes, "", y, len(series))


def plot_levels(axes: Any, values: Mapping[str, float], title: str, decimals: int = 0) -> None:
    """Plot a horizontal bar per name, the first at the top, with its number."""
    axes.barh(list(values), list(values.values()), color=COLORS[0])
    for row, value in enumerate(values.values()):
        axes.text(value, row, f" {value:,.{decimals}f}", va="center", fontsize=FONT_PT - 1)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.margins(x=0.18)
    axes.set_title(title, fontsize=FONT_PT, loc="left")


def plot_heat_map(
    axes: Any,
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Plot a grid of shares from 0 to 1 with their texts; None stays empty."""
    filled = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)
    axes.imshow(filled, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), text in np.ndenumerate(np.array(texts, dtype=object)):
        color = "white" if filled[row, column] < 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=FONT_PT - 1, color=color)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)


def _label_axes(axes: Any, x: str, y: str, num_series: int) -> None:
    axes.set_xlabel(x, fontsize=FONT_PT)
    axes.set_ylabel(y, fontsize=FONT_PT)
    if num_series > 1:
        axes.legend(fontsize=FONT_PT - 1, frameon=False)
