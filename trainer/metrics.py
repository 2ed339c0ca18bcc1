"""What is measured: accuracy at IoU thresholds and mean IoU, overall and by the number of the target's rivals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

THRESHOLDS = tuple(percent / 100 for percent in range(50, 91, 5))
"""A query counts as answered where IoU exceeds the threshold; the first one's share is the field's Acc@0.5."""

RIVAL_GROUPS = ("0", "1", "2-3", "4+", "unknown")
"""Other instances of the target's category in the image."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer to one query, and the truth."""

    key: str
    """Of the sample."""

    query_id: str
    text: str
    split: str
    source: str
    num_rivals: int | None
    box_xyxy: tuple[float, float, float, float]
    """Predicted, in pixels of the picture, inside it."""

    target_xyxy: tuple[float, float, float, float]
    iou: float

    def to_json(self) -> dict[str, Any]:
        """As one line of ``predictions.jsonl``."""
        return asdict(self)


def rival_group(num_rivals: int | None) -> str:
    """One of ``RIVAL_GROUPS``."""
    if num_rivals is None:
        return "unknown"
    return "0" if num_rivals == 0 else "1" if num_rivals == 1 else "2-3" if num_rivals <= 3 else "4+"


def scores(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Number of queries, accuracy at each threshold and mean IoU; None where there are no queries."""
    count = len(judgements)
    overlaps = [judgement.iou for judgement in judgements]
    return {
        "num_queries": count,
        "accuracy": {f"{t:.2f}": sum(o > t for o in overlaps) / count if count else None for t in THRESHOLDS},
        "mean_iou": sum(overlaps) / count if count else None,
    }


def metrics_of(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """``scores`` of all, and under ``by_rivals`` of each group that occurs."""
    groups = _grouped(judgements, lambda judgement: rival_group(judgement.num_rivals))
    return {**scores(judgements), "by_rivals": {g: scores(groups[g]) for g in RIVAL_GROUPS if g in groups}}


def _grouped(judgements: Sequence[Judgement], group_of: Callable[[Judgement], str]) -> dict[str, list[Judgement]]:
    groups: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        groups.setdefault(group_of(judgement), []).append(judgement)
    return groups
