"""Metrics of queries with no target, one or several, by hand."""

from __future__ import annotations

import pytest

from shards.boxes import Box
from trainer.evaluation.generalized import SetPrediction, compute_f1, compute_generalized_scores

A: Box = (0, 0, 10, 10)
HALF_OF_A: Box = (0, 0, 10, 5)  # IoU 0.5, which is enough
B: Box = (20, 0, 30, 10)
C: Box = (40, 0, 50, 10)


@pytest.mark.parametrize(
    ("boxes", "targets", "f1"),
    [
        ((), (), 1.0),
        ((A,), (), 0.0),
        ((), (A,), 0.0),
        ((HALF_OF_A,), (A,), 1.0),
        (((0, 0, 10, 4.9),), (A,), 0.0),
        ((A,), (A, B), 2 / 3),
        ((A, HALF_OF_A), (A,), 2 / 3),  # a target matches once
        ((C, B, A), (A, B, C), 1.0),
    ],
)
def test_f1_matches_boxes_one_to_one(boxes: tuple[Box, ...], targets: tuple[Box, ...], f1: float) -> None:
    assert compute_f1(boxes, targets) == pytest.approx(f1)


def test_shares_are_those_of_the_paper() -> None:
    predictions = [
        SetPrediction(box_xyxy=A, presence=0.2, targets_xyxy=()),  # right: nothing is predicted
        SetPrediction(box_xyxy=A, presence=0.5, targets_xyxy=()),
        SetPrediction(box_xyxy=A, presence=0.9, targets_xyxy=(A,)),  # right
        SetPrediction(box_xyxy=B, presence=0.9, targets_xyxy=(A,)),
        SetPrediction(box_xyxy=A, presence=0.4, targets_xyxy=(A,)),
        SetPrediction(box_xyxy=A, presence=0.9, targets_xyxy=(A, B)),  # one box cannot be both
    ]
    assert compute_generalized_scores(predictions) == {
        "num_queries": 6,
        "num_without_target": 2,
        "num_with_several": 1,
        "precision_f1": 2 / 6,
        "n_acc": 1 / 2,
        "t_acc": 3 / 4,
    }


def test_no_queries_have_no_shares() -> None:
    scores = compute_generalized_scores([SetPrediction(box_xyxy=A, presence=0.9, targets_xyxy=(A,))])
    assert scores["n_acc"] is None and scores["t_acc"] == 1
