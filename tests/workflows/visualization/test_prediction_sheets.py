from __future__ import annotations

from trainer.evaluation.metrics import PredictionRecord
from workflows.visualization.prediction_sheets import select_worst


def _answer(number: int, iou: float, **changes: object) -> PredictionRecord:
    values: dict[str, object] = {
        "key": f"image-{number // 2}",
        "query_id": str(number),
        "text": "left cup",
        "split": "val",
        "source": "toy",
        "num_distractors": 1,
        "category": "cup",
        "target_share": 0.03,
        "box_xyxy": (0.0, 0.0, 9.0, 9.0),
        "target_xyxy": (0.0, 0.0, 10.0, 10.0),
        "iou": iou,
        "any_iou": iou,
    }
    return PredictionRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_the_worst_are_one_of_each_image() -> None:
    answers = [_answer(0, 0.0), _answer(1, 0.0, num_distractors=5), _answer(2, 0.5), _answer(4, 0.2)]
    assert [one.query_id for one in select_worst(answers)] == ["1", "4", "2"]
