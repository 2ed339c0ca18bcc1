"""Losses: box distance and overlap at every stage, and two optional losses on verification and prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.boxes import cxcywh_to_xyxy, giou, mask_covered_cells
from trainer.model.prior_verification import AppearanceEmbeddings

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""Loss weights of DETR, TransVG, VLTVG and ResVG."""

TEMPERATURE, MIN_EQUAL_COSINE = 0.1, 0.95
"""Temperature of ``compute_prior_loss``, and the cosine at which two priors count as equal."""


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


def compute_prior_loss(
    appearance: AppearanceEmbeddings, prior: Tensor, prior_mask: Tensor, query_image: Tensor, targets: Tensor
) -> Tensor:
    """Compute the contrastive loss between priors and targets of a batch: InfoNCE both ways (CLIP), their mean.

    Not part of the published recipe. Many queries name a color or a pattern although no distractor requires it. Among
    the targets of other images, it decides. Pairs with the same target or nearly equal priors are excluded.

    Args:
        appearance: embeddings of the queries, see ``PriorVerification``.
        prior: (queries, prior_dim).
        prior_mask: (queries,) bool, False = no prior.
        query_image: (queries,) int64, the image of each query.
        targets: (queries, 4) cxcywh as fractions of the canvas.

    Returns:
        (queries,), 0 for a query without a prior.
    """
    inside = mask_covered_cells(targets, appearance.image.shape[1]).to(appearance.image.dtype)
    regions = F.normalize((appearance.image * inside[..., None]).sum(1), dim=-1)
    logits = (appearance.prior @ regions.T).float() / TEMPERATURE
    excluded = _mask_equal_pairs(prior, query_image, targets) | ~prior_mask | ~prior_mask[:, None]
    excluded.fill_diagonal_(False)
    own = torch.arange(len(logits), device=logits.device)
    logits = logits.masked_fill(excluded, float("-inf"))
    both_ways = [F.cross_entropy(direction_logits, own, reduction="none") for direction_logits in (logits, logits.T)]
    return torch.stack(both_ways).mean(0) * prior_mask


def _mask_equal_pairs(prior: Tensor, query_image: Tensor, targets: Tensor) -> Tensor:
    """Mask pairs (queries, queries) with the same target or nearly equal priors."""
    unit = F.normalize(prior.float(), dim=-1)
    same_image = query_image[:, None] == query_image
    same_box = (targets[:, None] - targets).abs().amax(-1) < 1e-4
    return (unit @ unit.T > MIN_EQUAL_COSINE) | (same_image & same_box)


def compute_box_losses(boxes: Tensor, targets: Tensor) -> BoxLosses:
    """Compute the L1 and GIoU losses of boxes.

    Args:
        boxes: (stages, queries, 4) cxcywh as fractions of the canvas.
        targets: (queries, 4) cxcywh as fractions of the canvas.
    """
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets).expand_as(boxes))
    return BoxLosses(l1=l1, giou=1 - overlap)
