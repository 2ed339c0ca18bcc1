from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.evaluation.metrics import PredictionRecord, compute_scores

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
    found = compute_scores([replace(ANSWER, iou=iou) for iou in (0.5, 0.6, 0.95, 0.1)])
    assert found["accuracy"]["0.50"] == 0.5
    assert found["accuracy"]["0.60"] == 0.25
    assert found["accuracy"]["0.90"] == 0.25
    assert list(found["accuracy"]) == [f"0.{percent}" for percent in range(50, 91, 5)]
    assert found["mean_iou"] == pytest.approx(2.15 / 4)


def test_no_queries_have_no_accuracy() -> None:
    assert compute_scores([])["accuracy"]["0.50"] is None
