"""The training loss: distance and overlap of the box of every stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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


def attention_loss(scores: Tensor, padding: Tensor, targets: Tensor) -> Tensor:
    """How little of the verification score lies on the target: minus the logarithm of its share.

    Not part of the published recipe, whose encoder has learned from COCO's boxes where objects are. One that starts
    from random weights learns many times faster with it.

    Args:
        scores: (queries, features) positive, of a square grid.
        padding: (queries, features) bool, True = padding.
        targets: (queries, 4) cxcywh as shares of the canvas.

    Returns:
        (queries,)
    """
    grid = round(scores.shape[1] ** 0.5)
    centres = (torch.arange(grid, device=scores.device) + 0.5) / grid
    corners = cxcywh_to_xyxy(targets)
    low, high = corners[:, :2], corners[:, 2:]
    columns, rows = (_touched(centres, low[:, i], high[:, i], 0.5 / grid) for i in (0, 1))
    inside = (rows[:, :, None] & columns[:, None, :]).flatten(1)
    visible = scores.float().masked_fill(padding, 0.0)
    share = (visible * inside).sum(1) / visible.sum(1)
    return -share.clamp(min=1e-6).log()


def _touched(centres: Tensor, low: Tensor, high: Tensor, half: float) -> Tensor:
    """(queries, grid) bool: cells whose centre lies in low .. high, or whose extent holds the middle of it."""
    middle = (low + high)[:, None] / 2
    within = (centres >= low[:, None]) & (centres <= high[:, None])
    return within | ((centres - middle).abs() <= half)


def box_losses(boxes: Tensor, targets: Tensor) -> BoxLosses:
    """
    Args:
        boxes: (stages, queries, 4) cxcywh as shares of the canvas.
        targets: (queries, 4), the same.
    """
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets).expand_as(boxes))
    return BoxLosses(l1=l1, giou=1 - overlap)
