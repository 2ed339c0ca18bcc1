"""The training loss: distance and overlap of the box of every stage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.boxes import cxcywh_to_xyxy, giou

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""DETR's weights, kept by TransVG, VLTVG and ResVG."""


@dataclass(frozen=True, kw_only=True)
class BoxLosses:
    """Unweighted losses of each stage and query."""

    l1: Tensor
    """(stages, queries): sum of the absolute differences of the four numbers."""

    giou: Tensor
    """(stages, queries): 1 - GIoU."""

    @property
    def per_query(self) -> Tensor:
        """(queries,): the weighted sum over stages."""
        return (L1_WEIGHT * self.l1 + GIOU_WEIGHT * self.giou).sum(0)


def box_losses(boxes: Tensor, targets: Tensor) -> BoxLosses:
    """
    Args:
        boxes: (stages, queries, 4) cxcywh as shares of the canvas.
        targets: (queries, 4), the same.
    """
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets).expand_as(boxes))
    return BoxLosses(l1=l1, giou=1 - overlap)
