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


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Predictions whose probabilities lie in one of equally wide intervals."""

    count: int
    """Number of predictions, at least 1."""

    probability: float
    """Mean of their probabilities."""

    share: float
    """Share of them that are true."""


def compute_reliability(
    probabilities: Sequence[float], outcomes: Sequence[bool], num_bins: int = 10
) -> list[ReliabilityBin]:
    """Compute how often predictions of about the same probability are true, for a reliability plot; no empty bins."""
    members: dict[int, list[tuple[float, bool]]] = {}
    for probability, outcome in zip(probabilities, outcomes, strict=True):
        members.setdefault(min(int(probability * num_bins), num_bins - 1), []).append((probability, outcome))
    return [
        ReliabilityBin(
            count=len(some),
            probability=sum(probability for probability, _ in some) / len(some),
            share=sum(outcome for _, outcome in some) / len(some),
        )
        for _, some in sorted(members.items())
    ]


def compute_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Compute the expected calibration error (Guo et al., ICML 2017, equation 3), in 0..1; None without predictions."""
    count = sum(one.count for one in bins)
    return sum(one.count * abs(one.share - one.probability) for one in bins) / count if count else None


def compute_scores(records: Sequence[PredictionRecord]) -> dict[str, Any]:
    """Compute the number of queries, the accuracy at each threshold and the mean IoU; None without queries."""
    count = len(records)
    overlaps = [record.iou for record in records]
    return {
        "num_queries": count,
        "accuracy": {f"{t:.2f}": sum(o > t for o in overlaps) / count if count else None for t in THRESHOLDS},
        "mean_iou": sum(overlaps) / count if count else None,
    }
