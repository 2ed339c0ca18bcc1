"""Metrics of predictions: accuracy at IoU thresholds and mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

THRESHOLDS = tuple(percent / 100 for percent in range(50, 91, 5))
"""IoU thresholds; a prediction is correct if its IoU exceeds the threshold. The first gives Acc@0.5."""

PriorMode = Literal["own", "none", "shuffled"]
"""Prior mode: each query with its own prior, with none, or with the prior of a random other query of the split."""


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """Prediction for one query, with its ground truth: a line of ``predictions.jsonl``."""

    key: str
    """Key of the sample."""

    query_id: str
    """Id of the query."""

    text: str
    """Text of the query."""

    split: str
    """Split of the query."""

    source: str
    """Dataset of the query."""

    num_distractors: int | None
    """Number of other instances of the target's category in the image; None if unknown."""

    category: str
    """Category of the target; empty if unknown."""

    target_share: float
    """Area of the target's box as a fraction of the image."""

    box_xyxy: tuple[float, float, float, float]
    """Predicted box in pixels of the image, inside it."""

    target_xyxy: tuple[float, float, float, float]
    """Target box; of several targets the smallest box around them (Flickr30k's merged-box protocol)."""

    iou: float
    """IoU of the predicted box and the target box."""

    any_iou: float
    """Largest IoU with one of several targets (Flickr30k's any-box protocol); else ``iou``."""

    score: float | None = None
    """Probability that the box is right; see ``trainer.confidence``."""

    presence: float | None = None
    """Probability that the object is in the image; None without a calibration."""

    absent_presence: float | None = None
    """``presence`` of this query about another image, without an object of its category; None without such an image."""

    priors: PriorMode = "own"
    """Prior mode of the prediction."""


def compute_auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Compute the area under the ROC curve: the share of pairs with the larger value in ``positive``, ties half.

    Returns:
        0..1, 0.5 by chance; None if either is empty.
    """
    if not positive or not negative:
        return None
    from scipy.stats import rankdata

    ranks = rankdata([*positive, *negative])[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def compute_scores(records: Sequence[PredictionRecord]) -> dict[str, Any]:
    """Compute the number of queries, the accuracy at each threshold and the mean IoU; None without queries."""
    count = len(records)
    overlaps = [record.iou for record in records]
    return {
        "num_queries": count,
        "accuracy": {f"{t:.2f}": sum(o > t for o in overlaps) / count if count else None for t in THRESHOLDS},
        "mean_iou": sum(overlaps) / count if count else None,
    }
