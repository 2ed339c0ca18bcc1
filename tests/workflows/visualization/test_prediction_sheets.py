from __future__ import annotations

from tests.workflows.toy_predictions import make_prediction
from workflows.visualization.prediction_sheets import select_worst


def test_the_worst_are_one_of_each_image() -> None:
    answers = [
        make_prediction(0, 0.0),
        make_prediction(1, 0.0, num_distractors=5),
        make_prediction(2, 0.5),
        make_prediction(4, 0.2),
    ]
    assert [one.query_id for one in select_worst(answers)] == ["1", "4", "2"]
