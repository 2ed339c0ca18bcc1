"""Predictions of a study."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.evaluation.metrics import PredictionRecord


def make_predictions(right: Sequence[bool], distractors: int = 2) -> list[PredictionRecord]:
    """Two queries an image, of which those that are right have an IoU of 0.8."""
    return [
        PredictionRecord(
            key=f"image-{i // 2}",
            query_id=f"q{i}",
            text="left cup" if i % 2 else "red cup",
            split="testA" if i < 4 else "testB",
            source="miniature",
            num_distractors=distractors,
            category="cup",
            target_share=0.1,
            box_xyxy=(0, 0, 1, 1),
            target_xyxy=(0, 0, 1, 1),
            iou=0.8 if one else 0.1,
            any_iou=0.8 if one else 0.1,
        )
        for i, one in enumerate(right)
    ]
