from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.evaluation.metrics import (
    THRESHOLDS,
    PredictionRecord,
    compute_auroc,
    compute_calibration_error,
    compute_reliability,
    compute_scores,
)

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


def test_the_thresholds_are_those_of_coco_up_to_90_percent() -> None:
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def test_no_queries_have_no_accuracy() -> None:
    scores = compute_scores([])
    assert scores["num_queries"] == 0 and scores["mean_iou"] is None
    assert set(scores["accuracy"].values()) == {None}
    assert compute_scores([ANSWER])["num_queries"] == 1


@pytest.mark.parametrize(
    ("positive", "negative", "area"),
    [
        ([3, 1], [2, 0], 0.75),  # 3 > 2, 3 > 0 and 1 > 0, but 1 < 2
        ([1], [1], 0.5),
        ([0.9], [0.1, 0.2, 0.9], 2.5 / 3),
        ([5, 6, 7], [1, 2], 1.0),
        ([1, 2], [5, 6, 7], 0.0),
        ([1.0], [], None),
        ([], [1.0], None),
    ],
)
def test_auroc_is_the_share_of_pairs_in_order_and_half_of_the_ties(
    positive: list[float], negative: list[float], area: float | None
) -> None:
    assert compute_auroc(positive, negative) == pytest.approx(area)


def test_the_calibration_error_is_the_mean_gap_of_equally_wide_bins() -> None:
    bins = compute_reliability([0.05, 0.15, 0.1, 1.0], [True, False, True, True])
    assert [(one.count, one.share) for one in bins] == [(1, 1.0), (2, 0.5), (1, 1.0)]  # 0.1 begins the second bin
    assert [one.probability for one in bins] == pytest.approx([0.05, 0.125, 1.0])
    assert compute_calibration_error(bins) == pytest.approx((0.95 + 2 * 0.375 + 0) / 4)
    assert compute_calibration_error([]) is None
