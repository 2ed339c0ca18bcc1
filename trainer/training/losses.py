"""Losses: box distance and overlap at every stage, and an optional loss on the verification score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.boxes import cxcywh_to_xyxy, giou, mask_covered_cells

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""Loss weights of DETR, TransVG, VLTVG and ResVG."""


@dataclass(frozen=True, kw_only=True)
class BoxLosses:
    """Unweighted box losses of each stage and query."""

    l1: Tensor
    """Sum of the absolute differences of the four numbers (stages, queries)."""

    giou: Tensor
    """Loss 1 - GIoU (stages, queries)."""

    @property
    def per_query(self) -> Tensor:
        """Weighted sum over stages (queries,)."""
        return (L1_WEIGHT * self.l1 + GIOU_WEIGHT * self.giou).sum(0)


def compute_verification_loss(scores: Tensor, padding: Tensor, targets: Tensor) -> Tensor:
    """Compute the negative log of the fraction of the verification score inside the target box.

    Not part of the published recipe, whose encoder is pretrained on COCO's boxes. An encoder from random weights learns
    many times faster with this loss.

    Args:
        scores: (queries, features), positive, on a square grid.
        padding: (queries, features) bool, True = padding.
        targets: (queries, 4) cxcywh as fractions of the canvas.

    Returns:
        (queries,)
    """
    inside = mask_covered_cells(targets, scores.shape[1])
    visible = scores.float().masked_fill(padding, 0.0)
    share = (visible * inside).sum(1) / visible.sum(1)
    return -share.clamp(min=1e-6).log()


def compute_box_losses(boxes: Tensor, targets: Tensor) -> BoxLosses:
    """Compute the L1 and GIoU losses of boxes.

    Args:
        boxes: (stages, queries, 4) cxcywh as fractions of the canvas.
        targets: (queries, 4) cxcywh as fractions of the canvas.
    """
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets).expand_as(boxes))
    return BoxLosses(l1=l1, giou=1 - overlap)
