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
from trainer.evaluation.metrics import PriorMode

METRICS = {"precision_f1": "Pr@(F1=1, IoU>=0.5)", "n_acc": "N-acc", "t_acc": "T-acc"}
"""Titles of the metrics."""

MIN_IOU = 0.5
"""Minimum IoU of a predicted box with the target that it matches."""

MIN_PRESENCE = 0.5
"""Minimum presence of a predicted box; below it, the prediction is that there is no target."""


@dataclass(frozen=True, kw_only=True)
class SetPrediction:
    """Prediction for one query, with all of its targets: a line of ``set_predictions.jsonl``."""

    key: str
    """Key of the sample."""

    query_id: str
    """Id of the query."""

    split: str
    """Split of the query."""

    candidates_xyxy: tuple[Box, ...]
    """Box of each target token in pixels of the image."""

    presences: tuple[float, ...]
    """Probability that each of these is a target, 0..1."""

    targets_xyxy: tuple[Box, ...]
    """Boxes of the targets; empty if there is none."""

    priors: PriorMode = "own"
    """Prior mode of the prediction."""

    @property
    def presence(self) -> float:
        """Probability of the most probable target."""
        return max(self.presences)

    @property
    def boxes_xyxy(self) -> tuple[Box, ...]:
        """Predicted boxes: the probable ones."""
        pairs = zip(self.candidates_xyxy, self.presences, strict=True)
        return tuple(box for box, presence in pairs if presence >= MIN_PRESENCE)

    def score(self) -> dict[str, float | None]:
        """Return 1 or 0 for each metric, and None for N-acc of a query with a target and T-acc of one without."""
        predicts, has_target = bool(self.boxes_xyxy), bool(self.targets_xyxy)
        return {
            "precision_f1": float(compute_f1(self.boxes_xyxy, self.targets_xyxy) == 1),
            "n_acc": None if has_target else float(not predicts),
            "t_acc": float(predicts) if has_target else None,
        }


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
    outcomes = [one.score() for one in predictions]
    return {
        "num_queries": len(predictions),
        "num_without_target": sum(not one.targets_xyxy for one in predictions),
        "num_with_several": sum(len(one.targets_xyxy) > 1 for one in predictions),
        **{name: _compute_mean([outcome[name] for outcome in outcomes]) for name in METRICS},
    }


def _compute_mean(outcomes: Sequence[float | None]) -> float | None:
    known = [outcome for outcome in outcomes if outcome is not None]
    return sum(known) / len(known) if known else None


def format_generalized_scores(scores: Mapping[str, Any]) -> str:
    """Format the three metrics in a line; those without such queries are left out."""
    return ", ".join(f"{title} {scores[name]:.3f}" for name, title in METRICS.items() if scores[name] is not None)
