"""The training loss: distance and overlap of the box of every stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.boxes import cxcywh_to_xyxy, giou
from trainer.model.prior_verification import AppearanceEmbeddings

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""DETR's weights, kept by TransVG, VLTVG and ResVG."""

TEMPERATURE, MIN_EQUAL_COSINE = 0.1, 0.95
"""Of ``compute_prior_loss``: what cosines are divided by, and from which cosine on two priors count as the same."""


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


def compute_verification_loss(scores: Tensor, padding: Tensor, targets: Tensor) -> Tensor:
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
    inside = _mask_target_cells(targets, scores.shape[1])
    visible = scores.float().masked_fill(padding, 0.0)
    share = (visible * inside).sum(1) / visible.sum(1)
    return -share.clamp(min=1e-6).log()


def compute_prior_loss(
    appearance: AppearanceEmbeddings, prior: Tensor, prior_mask: Tensor, query_image: Tensor, targets: Tensor
) -> Tensor:
    """How badly priors and targets of a batch find each other: InfoNCE both ways (CLIP), mean of the two.

    Not part of the published recipe. Most queries name a color or a pattern that their image alone does not require,
    since nothing else in it is of the target's category; among the targets of other images it counts. Targets that
    the prior does not tell apart, since they are one and the same or their priors are alike, are left out.

    Args:
        looks: of the queries, see ``PriorVerification``.
        prior: (queries, prior_dim).
        prior_mask: (queries,) bool.
        query_image: (queries,) int64.
        targets: (queries, 4) cxcywh as shares of the canvas.

    Returns:
        (queries,), 0 where there is no prior.
    """
    inside = _mask_target_cells(targets, appearance.image.shape[1]).to(appearance.image.dtype)
    regions = F.normalize((appearance.image * inside[..., None]).sum(1), dim=-1)
    logits = (appearance.prior @ regions.T).float() / TEMPERATURE
    excluded = _mask_equal_pairs(prior, query_image, targets) | ~prior_mask | ~prior_mask[:, None]
    excluded.fill_diagonal_(False)
    own = torch.arange(len(logits), device=logits.device)
    logits = logits.masked_fill(excluded, float("-inf"))
    both_ways = [F.cross_entropy(direction_logits, own, reduction="none") for direction_logits in (logits, logits.T)]
    return torch.stack(both_ways).mean(0) * prior_mask


def _mask_equal_pairs(prior: Tensor, query_image: Tensor, targets: Tensor) -> Tensor:
    """(queries, queries) bool: of the same target, or of priors that are nearly the same."""
    unit = F.normalize(prior.float(), dim=-1)
    same_image = query_image[:, None] == query_image
    same_box = (targets[:, None] - targets).abs().amax(-1) < 1e-4
    return (unit @ unit.T > MIN_EQUAL_COSINE) | (same_image & same_box)


def _mask_target_cells(targets: Tensor, num_features: int) -> Tensor:
    """(queries, features) bool: cells of a square grid on which the targets lie, at least one each."""
    grid = round(num_features**0.5)
    centers = (torch.arange(grid, device=targets.device) + 0.5) / grid
    corners = cxcywh_to_xyxy(targets)
    low, high = corners[:, :2], corners[:, 2:]
    columns, rows = (_mask_covered_cells(centers, low[:, i], high[:, i], 0.5 / grid) for i in (0, 1))
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)


def _mask_covered_cells(centers: Tensor, low: Tensor, high: Tensor, half: float) -> Tensor:
    """(queries, grid) bool: cells whose center lies in low .. high, or whose extent holds the middle of it."""
    middle = (low + high)[:, None] / 2
    within = (centers >= low[:, None]) & (centers <= high[:, None])
    return within | ((centers - middle).abs() <= half)


def compute_box_losses(boxes: Tensor, targets: Tensor) -> BoxLosses:
    """
    Args:
        boxes: (stages, queries, 4) cxcywh as shares of the canvas.
        targets: (queries, 4), the same.
    """
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets).expand_as(boxes))
    return BoxLosses(l1=l1, giou=1 - overlap)
