"""What is measured of a network's answers: accuracy at IoU thresholds and mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from trainer.errors import TrainerError

THRESHOLDS = tuple(percent / 100 for percent in range(50, 91, 5))
"""A query counts as answered where IoU exceeds the threshold; the first one's share is the field's Acc@0.5."""

PriorMode = Literal["own", "none", "shuffled"]
"""Each query with its own prior, with none, or with that of another query of the split, drawn at random."""


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """The answer to one query, and the truth."""

    key: str
    """Of the sample."""

    query_id: str
    text: str
    split: str
    source: str
    num_distractors: int | None
    """Other instances of the target's category in the image; None where that is not known."""

    category: str
    """The target's; empty where it is not known."""

    target_share: float
    """Area of the target's box as a share of the image."""

    box_xyxy: tuple[float, float, float, float]
    """Predicted, in pixels of the image, inside it."""

    target_xyxy: tuple[float, float, float, float]
    """Where the phrase means several objects the smallest box around them: Flickr30k's merged-box protocol."""

    iou: float
    any_iou: float
    """The largest IoU with one of several objects that the phrase means (Flickr30k's any-box protocol); else
    ``iou``."""

    priors: PriorMode = "own"

    def to_json(self) -> dict[str, Any]:
        """As one line of ``predictions.jsonl``."""
        return asdict(self)

    @staticmethod
    def from_json(record: Any, origin: str) -> PredictionRecord:
        """The inverse of ``to_json``.

        Raises:
            TrainerError: it is no such record; names ``origin``.
        """
        if not isinstance(record, dict) or record.keys() != {field.name for field in fields(PredictionRecord)}:
            raise TrainerError(f"{origin} is no prediction of this version; evaluate the network again")
        boxes = {name: tuple(record[name]) for name in ("box_xyxy", "target_xyxy")}
        return PredictionRecord(**{**record, **boxes})


def scores(records: Sequence[PredictionRecord]) -> dict[str, Any]:
    """Number of queries, accuracy at each threshold and mean IoU; None where there are no queries."""
    count = len(records)
    overlaps = [record.iou for record in records]
    return {
        "num_queries": count,
        "accuracy": {f"{t:.2f}": sum(o > t for o in overlaps) / count if count else None for t in THRESHOLDS},
        "mean_iou": sum(overlaps) / count if count else None,
    }
