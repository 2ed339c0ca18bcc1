"""Predictions for queries about cups."""

from __future__ import annotations

from trainer.evaluation.metrics import PredictionRecord


def make_prediction(number: int, iou: float, **changes: object) -> PredictionRecord:
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
