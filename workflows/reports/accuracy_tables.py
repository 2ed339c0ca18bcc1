"""Markdown tables of an evaluation's report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainer.evaluation.generalized import METRICS
from workflows.reports.accuracy import format_difference, format_interval, format_percent

HEAD = ("Acc@0.5", "Acc@0.75", "Acc@0.9", "mean IoU")


def format_report(report: Mapping[str, Mapping[str, Any]], subject: str = "") -> str:
    """Format all splits: overall, by thresholds, by prior modes and by groups of queries."""
    lines = ["# Evaluation", "", f"{subject} In percent, with 95 % bootstrap intervals over images.".strip(), ""]
    rows: Iterable[Sequence[str]] = (
        [split, f"{f['num_queries']:,}", f"{f['num_images']:,}", f["priors"], *_format_scores(f)]
        for split, f in report.items()
    )
    lines += _format_table(("split", "queries", "images", "priors", *HEAD), rows)
    if merged := {split: figures["any_box"] for split, figures in report.items() if "any_box" in figures}:
        lines += [
            "",
            "Queries with several targets: above by the box around all of them (merged-box), here by the best",
        ]
        lines += ["of their boxes (any-box).", ""]
        lines += _format_table(
            ("split", *HEAD), ([split, *_format_scores(figures)] for split, figures in merged.items())
        )
    thresholds = list(next(iter(report.values()))["accuracy"])
    rows = ([split, *(format_percent(f["accuracy"][t]) for t in thresholds)] for split, f in report.items())
    lines += ["", "## Accuracy by IoU threshold", "", *_format_table(("split", *thresholds), rows)]
    lines += ["", "## Confidence", ""]
    lines += ["AUROC: 50 is chance, 100 is perfect. Acc@0.5 of the queries with the highest scores.", ""]
    lines += _format_confidence(report)
    if sets := {split: figures["generalized"] for split, figures in report.items() if "generalized" in figures}:
        lines += ["", "## Queries with any number of targets", ""]
        lines += [
            "Pr@(F1=1): the predicted boxes are exactly the targets. N-acc: no box without a target. T-acc: a box"
        ]
        lines += ["with a target. AUROC and expected calibration error are of the presence.", ""]
        lines += _format_sets(sets)
    if any(figures["other_priors"] for figures in report.values()):
        lines += ["", "## Effect of the priors", ""]
        lines += ["Gain of each query's own prior; * marks a paired interval that excludes zero.", ""]
        lines += _format_prior_modes(report)
    for split, figures in report.items():
        lines += ["", f"## {split}", ""]
        for grouping, groups in figures["by"].items():
            if groups:
                rows = ([label, f"{f['num_queries']:,}", *_format_scores(f)] for label, f in groups.items())
                lines += [*_format_table((grouping, "queries", *HEAD), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def _format_confidence(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ("split", "AUROC of the score", "AUROC of the presence", "absent", "surest 20 %", "surest 50 %", "all")
    rows = []
    for split, figures in report.items():
        confidence = figures["confidence"]
        values = [confidence["score_auroc"], confidence["presence_auroc"]]
        accuracies = [confidence["risk_coverage"][coverage] for coverage in ("0.2", "0.5", "1.0")]
        cells = ["" if value is None else format_percent(value) for value in (*values, *accuracies)]
        rows.append([split, *cells[:2], f"{confidence['num_absent']:,}", *cells[2:]])
    return _format_table(head, rows)


def _format_sets(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ("split", "queries", "no target", "several", *METRICS.values(), "AUROC", "calibration error")
    rows = []
    for split, figures in sets.items():
        counts = [f"{figures[name]:,}" for name in ("num_queries", "num_without_target", "num_with_several")]
        shares = [format_interval(figures, name) if name in figures["intervals"] else "" for name in METRICS]
        presence = [figures["auroc"], figures["calibration_error"]]
        cells = ["" if value is None else format_percent(value) for value in presence]
        rows.append([split, *counts, *shares, *cells])
    return _format_table(head, rows)


def _format_prior_modes(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = (
        [split, mode, format_interval(f, "0.50"), format_interval(f, "mean_iou"), *_format_gains(f)]
        for split, figures in report.items()
        for mode, f in figures["other_priors"].items()
    )
    return _format_table(("split", "instead", "Acc@0.5", "mean IoU", "gain in Acc@0.5", "gain in mean IoU"), rows)


def format_comparison(names: Sequence[str], comparison: Mapping[str, Mapping[str, Any]]) -> str:
    """Format both runs and their paired difference, overall and by distractors."""
    lines = [f"# {names[0]} against {names[1]}", ""]
    lines += ["Acc@0.5 in percent; differences in points, paired by query, with 95 % bootstrap intervals over"]
    lines += ["images; * marks an interval that excludes zero.", ""]
    rows = []
    for split, figures in comparison.items():
        both = [format_percent(figures[which]["accuracy"]["0.50"]) for which in ("first", "second")]
        rows.append([split, "all", f"{figures['first']['num_queries']:,}", *both, *_format_gains(figures)])
        for group, group_figures in figures["by_distractors"].items():
            rows.append(
                [
                    split,
                    f"distractors: {group}",
                    f"{group_figures['num_queries']:,}",
                    "",
                    "",
                    *_format_gains(group_figures),
                ]
            )
    head = ("split", "queries", "number", *names, "difference", "in mean IoU")
    lines += _format_table(head, rows)
    sets = [
        [
            split,
            METRICS[name],
            f"{metric['num_queries']:,}",
            *(format_percent(metric[which]) for which in ("first", "second")),
            format_difference(metric["difference"]),
        ]
        for split, figures in comparison.items()
        for name, metric in figures.get("generalized", {}).items()
    ]
    if sets:
        lines += ["", "Queries with any number of targets:", ""]
        lines += _format_table(("split", "metric", "number", *names, "difference"), sets)
    return "\n".join([*lines, ""])


def _format_scores(figures: Mapping[str, Any]) -> list[str]:
    return [format_interval(figures, name) for name in ("0.50", "0.75", "0.90", "mean_iou")]


def _format_gains(figures: Mapping[str, Any]) -> list[str]:
    return [format_difference(figures["difference"][name]) for name in ("0.50", "mean_iou")]


def _format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a table with words on the left and figures on the right."""
    escaped = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    ruler = "|" + "|".join("---" if i == 0 else "--:" for i in range(len(head))) + "|"
    return [escaped[0], ruler, *escaped[1:]]
