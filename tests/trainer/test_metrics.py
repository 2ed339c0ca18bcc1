from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.errors import TrainerError
from trainer.evaluate import read_predictions, write_predictions
from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.metrics import PredictionRecord, scores

ANSWER = PredictionRecord(
    key="k",
    query_id="q",
    text="cup",
    split="val",
    source="toy",
    num_distractors=0,
    category="cup",
    target_share=0.1,
    box_xyxy=(0, 0, 1, 1),
    target_xyxy=(0, 0, 1, 1),
    iou=1.0,
    any_iou=1.0,
)


def test_accuracy_counts_overlaps_above_the_threshold_and_not_at_it() -> None:
    found = scores([replace(ANSWER, iou=iou) for iou in (0.5, 0.6, 0.95, 0.1)])
    assert found["accuracy"]["0.50"] == 0.5
    assert found["accuracy"]["0.60"] == 0.25
    assert found["accuracy"]["0.90"] == 0.25
    assert list(found["accuracy"]) == [f"0.{percent}" for percent in range(50, 91, 5)]
    assert found["mean_iou"] == pytest.approx(2.15 / 4)


def test_no_queries_have_no_accuracy() -> None:
    assert scores([])["accuracy"]["0.50"] is None


def test_an_interval_of_independent_rows_is_the_textbooks() -> None:
    values = np.random.default_rng(0).random(4000) < 0.3
    (found,) = compute_intervals(values, [str(i) for i in range(4000)])
    error = (0.3 * 0.7 / 4000) ** 0.5
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_rows_of_one_picture_count_as_one_observation() -> None:
    """Ten equal rows in each of 400 images say no more than one each."""
    values = np.random.default_rng(1).random(400) < 0.5
    alone, repeated = (
        compute_intervals(np.repeat(values, n), [str(i) for i in range(400) for _ in range(n)])[0] for n in (1, 10)
    )
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_a_single_picture_has_an_interval_of_no_width() -> None:
    (found,) = compute_intervals([0.0, 1.0], ["one", "one"])
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)
    assert found.excludes_zero


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = [ANSWER, replace(ANSWER, query_id="r", num_distractors=None, priors="shuffled")]
    write_predictions(tmp_path, records)
    assert read_predictions(tmp_path) == records
    assert json.loads((tmp_path / "scores.json").read_text())["shuffled"]["val"]["num_queries"] == 1


def test_missing_and_damaged_predictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"predictions.jsonl does not exist; evaluate a network"):
        read_predictions(tmp_path)
    write_predictions(tmp_path, [ANSWER])
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write('{"key": "k", "que')
    with pytest.raises(TrainerError, match=r"predictions.jsonl, line 2: .*; evaluate the network again"):
        read_predictions(tmp_path)
