"""Metrics of queries with no target, one or several, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shards.boxes import Box
from trainer.evaluation.generalized import SetPrediction, compute_f1, compute_generalized_scores

A: Box = (0, 0, 10, 10)
HALF_OF_A: Box = (0, 0, 10, 5)  # IoU 0.5, which is enough
B: Box = (20, 0, 30, 10)
C: Box = (40, 0, 50, 10)


def predict(boxes: Sequence[Box], presences: Sequence[float], *targets: Box) -> SetPrediction:
    return SetPrediction(
        key="a",
        query_id="a-1",
        split="val",
        candidates_xyxy=tuple(boxes),
        presences=tuple(presences),
        targets_xyxy=targets,
    )


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
        predict([A], [0.2]),  # right: nothing is predicted
        predict([A], [0.5]),
        predict([A], [0.9], A),  # right
        predict([B], [0.9], A),
        predict([A], [0.4], A),
        predict([A], [0.9], A, B),  # one box cannot be both
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
    scores = compute_generalized_scores([predict([A], [0.9], A)])
    assert scores["n_acc"] is None and scores["t_acc"] == 1


def test_only_probable_boxes_of_several_tokens_count() -> None:
    pair = predict([B, C, A], [0.9, 0.1, 0.5], A, B)
    assert pair.boxes_xyxy == (B, A) and pair.presence == 0.9
    assert pair.score() == {"precision_f1": 1.0, "n_acc": None, "t_acc": 1.0}
    assert predict([A, B], [0.4, 0.6]).score() == {"precision_f1": 0.0, "n_acc": 0.0, "t_acc": None}
