"""Metrics of queries with no target, one or several, as published for gRefCOCO (GREC, He et al., arXiv:2308.16182).

| metric | share of |
|---|---|
| Pr@(F1=1, IoU>=0.5) | queries whose predicted boxes are exactly the targets |
| N-acc | queries without a target for which no box is predicted |
| T-acc | queries with a target for which a box is predicted |

Boxes and targets are matched one to one, the largest overlap first. The overlap is the IoU, as in the paper; the
published code takes the generalized IoU, which is never larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shards.boxes import Box, iou

MIN_IOU = 0.5
"""Minimum IoU of a predicted box with the target that it matches."""

MIN_PRESENCE = 0.5
"""Minimum presence of a predicted box; below it, the prediction is that there is no target."""


@dataclass(frozen=True, kw_only=True)
class SetPrediction:
    """Prediction for one query, with all of its targets."""

    box_xyxy: Box
    """Predicted box in pixels of the image."""

    presence: float
    """Probability that the image has a target."""

    targets_xyxy: tuple[Box, ...]
    """Boxes of the targets; empty if there is none."""

    @property
    def boxes_xyxy(self) -> tuple[Box, ...]:
        """Predicted boxes: the box, or none if a target is improbable."""
        return (self.box_xyxy,) if self.presence >= MIN_PRESENCE else ()


def compute_f1(boxes: Sequence[Box], targets: Sequence[Box]) -> float:
    """Compute the F1 score of predicted boxes, in 0..1; 1 if there are neither boxes nor targets."""
    pairs = sorted(
        ((iou(box, target), i, j) for i, box in enumerate(boxes) for j, target in enumerate(targets)), reverse=True
    )
    matched_boxes, matched_targets = set[int](), set[int]()
    for overlap, i, j in pairs:
        if overlap >= MIN_IOU and i not in matched_boxes and j not in matched_targets:
            matched_boxes.add(i)
            matched_targets.add(j)
    total = len(boxes) + len(targets)
    return 2 * len(matched_boxes) / total if total else 1.0


def compute_generalized_scores(predictions: Sequence[SetPrediction]) -> dict[str, Any]:
    """Compute the numbers of queries and the three metrics; None without such queries."""
    absent = [not one.boxes_xyxy for one in predictions if not one.targets_xyxy]
    present = [bool(one.boxes_xyxy) for one in predictions if one.targets_xyxy]
    exact = [compute_f1(one.boxes_xyxy, one.targets_xyxy) == 1 for one in predictions]
    return {
        "num_queries": len(predictions),
        "num_without_target": len(absent),
        "num_with_several": sum(len(one.targets_xyxy) > 1 for one in predictions),
        "precision_f1": _compute_share(exact),
        "n_acc": _compute_share(absent),
        "t_acc": _compute_share(present),
    }


def _compute_share(outcomes: Sequence[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None


def format_generalized_scores(scores: Mapping[str, Any]) -> str:
    """Format the three metrics in a line; those without such queries are left out."""
    names = {"precision_f1": "Pr@(F1=1, IoU>=0.5)", "n_acc": "N-acc", "t_acc": "T-acc"}
    return ", ".join(f"{title} {scores[name]:.3f}" for name, title in names.items() if scores[name] is not None)
