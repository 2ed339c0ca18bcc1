"""Intervals, differences and calibration of queries with any number of targets, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.boxes import Box
from tests.workflows.toy_predictions import make_prediction
from trainer.evaluate import read_set_predictions, write_predictions
from trainer.evaluation.generalized import SetPrediction
from workflows.cli.console import UserError
from workflows.reports.accuracy import build_report, compare_evaluations
from workflows.reports.accuracy_plots import plot_report
from workflows.reports.accuracy_tables import format_comparison, format_report
from workflows.reports.generalized import compare_sets, summarize_sets

A: Box = (0.0, 0.0, 10.0, 10.0)


def predict(number: int, presence: float, *targets: Box, split: str = "val") -> SetPrediction:
    return SetPrediction(
        key=f"image-{number // 2}",
        query_id=str(number),
        split=split,
        candidates_xyxy=(A,),
        presences=(presence,),
        targets_xyxy=targets,
    )


FIRST = [*(predict(i, 0.8, A) for i in range(20)), *(predict(i, 0.6 if i % 4 == 0 else 0.1) for i in range(20, 40))]
"""All of 20 targets are predicted, and 15 of 20 absent ones are told."""


def test_metrics_have_intervals_over_images() -> None:
    figures = summarize_sets(FIRST)
    assert (figures["t_acc"], figures["n_acc"], figures["precision_f1"]) == (1.0, 0.75, 35 / 40)
    low, high = figures["intervals"]["n_acc"]
    assert 0.5 <= low < 0.75 < high <= 1
    low, high = figures["intervals"]["t_acc"]
    assert low < 1 == high  # Wilson's interval, of ten images
    assert figures["auroc"] == 1.0  # 0.8 is larger than 0.6 and 0.1
    # 15 at 0.1 that are all absent, 5 at 0.6 also, 20 at 0.8 that are all present:
    assert figures["calibration_error"] == pytest.approx((15 * 0.1 + 5 * 0.6 + 20 * 0.2) / 40)


def test_two_networks_are_compared_query_by_query() -> None:
    second = [*FIRST[:20], *(predict(i, 0.6) for i in range(20, 40))]
    metrics = compare_sets(FIRST, second)
    n_acc = metrics["n_acc"]
    assert (n_acc["first"], n_acc["second"], n_acc["num_queries"]) == (0.75, 0.0, 20)
    assert n_acc["difference"]["mean"] == 0.75 and n_acc["difference"]["low"] > 0
    assert metrics["t_acc"]["difference"]["mean"] == 0
    with pytest.raises(UserError, match=r"different queries with any number of targets \(40 and 39\)"):
        compare_sets(FIRST, second[:-1])


def test_the_report_shows_them_beside_accuracy(tmp_path: Path) -> None:
    records = [make_prediction(i, 0.9) for i in range(20)]
    report = build_report(records, [*FIRST, predict(0, 0.9, split="test")])
    text = format_report(report)
    assert "## Queries with any number of targets" in text and "| val | 40 | 20 | 0 | 87.5 (" in text
    assert "## Queries with any number of targets" not in format_report(build_report(records))
    plot_report(report, tmp_path)
    assert (tmp_path / "reliability.png").is_file()
    comparison = compare_evaluations(records, records, (FIRST, FIRST))
    assert "| val | N-acc | 20 | 75.0 | 75.0 | +0.0 (" in format_comparison(("a", "b"), comparison)
    assert "generalized" not in compare_evaluations(records, records)["val"]


def test_predictions_are_read_back_and_do_not_outlive_an_evaluation_without_them(tmp_path: Path) -> None:
    records = [make_prediction(0, 0.9)]
    write_predictions(tmp_path, records, FIRST)
    assert read_set_predictions(tmp_path) == FIRST
    write_predictions(tmp_path, records)
    assert read_set_predictions(tmp_path) == [] and not (tmp_path / "generalized.json").exists()
