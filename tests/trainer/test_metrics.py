from __future__ import annotations

import pytest

from trainer.metrics import Judgement, metrics_of, rival_group


def _judgement(iou: float, num_rivals: int | None = 0) -> Judgement:
    return Judgement(
        key="k",
        query_id="q",
        text="cup",
        split="val",
        source="toy",
        num_rivals=num_rivals,
        box_xyxy=(0, 0, 1, 1),
        target_xyxy=(0, 0, 1, 1),
        iou=iou,
    )


def test_accuracy_counts_overlaps_above_the_threshold_and_not_at_it() -> None:
    metrics = metrics_of([_judgement(0.5), _judgement(0.6), _judgement(0.95), _judgement(0.1)])
    assert metrics["accuracy"]["0.50"] == 0.5
    assert metrics["accuracy"]["0.60"] == 0.25
    assert metrics["accuracy"]["0.90"] == 0.25
    assert list(metrics["accuracy"]) == [f"0.{percent}" for percent in range(50, 91, 5)]
    assert metrics["mean_iou"] == pytest.approx(2.15 / 4)


def test_rivals_are_grouped_as_none_one_few_many_and_unknown() -> None:
    assert [rival_group(n) for n in (0, 1, 2, 3, 4, 9, None)] == ["0", "1", "2-3", "2-3", "4+", "4+", "unknown"]
    metrics = metrics_of([_judgement(0.9, 0), _judgement(0.2, 2), _judgement(0.8, 3)])
    assert {name: group["accuracy"]["0.50"] for name, group in metrics["by_rivals"].items()} == {"0": 1, "2-3": 0.5}


def test_no_queries_have_no_accuracy() -> None:
    assert metrics_of([])["accuracy"]["0.50"] is None
