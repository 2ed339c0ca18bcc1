"""Plots of an evaluation's report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.reports.accuracy import LABELS
from workflows.reports.plot_style import new_figure, plot_bars, plot_curves, save_figure

Report = Mapping[str, Mapping[str, Any]]


def plot_report(report: Report, folder: Path) -> None:
    """Write ``thresholds.png``, ``groups.png`` and ``confidence.png``.

    Several prior modes add ``priors.png``; queries with any number of targets add ``reliability.png``.
    """
    plot_thresholds(report, folder / "thresholds.png")
    plot_confidence(report, folder / "confidence.png")
    plot_groups(report, folder / "groups.png")
    if any(figures["other_priors"] for figures in report.values()):
        plot_priors(report, folder / "priors.png")
    if any("generalized" in figures for figures in report.values()):
        plot_reliability(report, folder / "reliability.png")


def plot_thresholds(report: Report, path: Path) -> None:
    """Plot accuracy against the IoU threshold."""
    figure, (axes,) = new_figure(5, 3.4)
    lines = {}
    for split, figures in report.items():
        thresholds = [float(threshold) for threshold in figures["accuracy"]]
        lines[split] = (thresholds, [100 * value for value in figures["accuracy"].values()])
    plot_curves(axes, lines, "IoU threshold", "accuracy (%)")
    axes.set_ylim(0, 100)
    save_figure(figure, path)


def plot_confidence(report: Report, path: Path) -> None:
    """Plot Acc@0.5 of the surest queries against their share."""
    figure, (axes,) = new_figure(5, 3.4)
    lines = {}
    for split, figures in report.items():
        curve = {
            float(share): value for share, value in figures["confidence"]["risk_coverage"].items() if value is not None
        }
        lines[split] = ([100 * share for share in curve], [100 * value for value in curve.values()])
    plot_curves(axes, lines, "queries with the highest scores (%)", "Acc@0.5 (%)")
    axes.set_ylim(0, 100)
    save_figure(figure, path)


def plot_reliability(report: Report, path: Path) -> None:
    """Plot the share of queries with a target against their presence; a calibrated network lies on the diagonal."""
    figure, (axes,) = new_figure(5, 3.4)
    lines = {}
    for split, figures in report.items():
        bins = figures.get("generalized", {}).get("reliability", [])
        lines[split] = ([100 * one["probability"] for one in bins], [100 * one["share"] for one in bins])
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=0.8)
    plot_curves(axes, lines, "presence (%)", "queries with a target (%)")
    axes.set_ylim(0, 100)
    save_figure(figure, path)


def plot_groups(report: Report, path: Path) -> None:
    """Plot Acc@0.5 by groups of queries, with intervals."""
    figure, panels = new_figure(10, 6.4, len(LABELS), columns=2)
    for axes, grouping in zip(panels, LABELS, strict=True):
        labels = [label for label in LABELS[grouping] if any(label in f["by"][grouping] for f in report.values())]
        series = {
            split: [_get_bar(figures["by"][grouping].get(label)) for label in labels]
            for split, figures in report.items()
        }
        plot_bars(axes, labels, series, "Acc@0.5 (%)", f"by {grouping}")
        axes.set_ylim(0, 100)
    save_figure(figure, path)


def plot_priors(report: Report, path: Path) -> None:
    """Plot Acc@0.5 by prior mode."""
    figure, (axes,) = new_figure(5.5, 3.4)
    modes = list(dict.fromkeys(mode for f in report.values() for mode in (f["priors"], *f["other_priors"])))
    ways = {split: {f["priors"]: f, **f["other_priors"]} for split, f in report.items()}
    series = {mode: [_get_bar(ways[split].get(mode)) for split in report] for mode in modes}
    plot_bars(axes, list(report), series, "Acc@0.5 (%)", "priors given")
    axes.set_ylim(0, 100)
    save_figure(figure, path)


def _get_bar(figures: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    if figures is None:
        return None
    low, high = figures["intervals"]["0.50"]
    return 100 * figures["accuracy"]["0.50"], 100 * low, 100 * high
