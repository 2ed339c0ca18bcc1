"""Conversion and overlap of boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from center, width and height to corners."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from corners to center, width and height."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=-1)


def _compute_iou_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = size.prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (a, b)]
    union = areas[0] + areas[1] - intersection
    return intersection / union, union


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union of box pairs.

    Args:
        a: (..., 4) xyxy.
        b: (..., 4) xyxy; one box of each pair has a positive area.

    Returns:
        (...,) in 0..1.
    """
    return _compute_iou_and_union(a, b)[0]


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the generalized IoU of box pairs.

    Args:
        a: (..., 4) xyxy.
        b: (..., 4) xyxy; one box of each pair has a positive area.

    Returns:
        (...,) in (-1, 1]; 1 if the boxes are equal.

    Source: Rezatofighi et al., CVPR 2019, algorithm 1 (arXiv:1902.09630).
    """
    value, union = _compute_iou_and_union(a, b)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return value - (hull - union) / hull


def mask_covered_cells(boxes: Tensor, num_features: int) -> Tensor:
    """Mask the cells of a square grid on the canvas that boxes cover, at least one for each.

    Args:
        boxes: (queries, 4) cxcywh as fractions of the canvas.
        num_features: number of cells, a square number.

    Returns:
        (queries, num_features) bool, True = the cell's center is inside, or the cell holds the middle of the box.
    """
    grid = round(num_features**0.5)
    centers = (torch.arange(grid, device=boxes.device) + 0.5) / grid
    corners = cxcywh_to_xyxy(boxes)
    low, high = corners[:, :2, None], corners[:, 2:, None]  # (queries, 2, 1)
    inside = (centers >= low) & (centers <= high) | ((centers - (low + high) / 2).abs() <= 0.5 / grid)
    cells: Tensor = (inside[:, 1, :, None] & inside[:, 0, None, :]).flatten(1)  # rows, then columns
    return cells


def mask_touched_cells(boxes: Tensor, num_features: int) -> Tensor:
    """Mask the cells of a square grid on the canvas that boxes touch, also in part.

    Args:
        boxes: (n, 4) cxcywh as fractions of the canvas.
        num_features: number of cells, a square number.

    Returns:
        (n, num_features) bool.
    """
    grid = round(num_features**0.5)
    centers = (torch.arange(grid, device=boxes.device) + 0.5) / grid
    distance = (centers - boxes[:, :2, None]).abs()  # (n, 2, grid)
    touched = distance < (boxes[:, 2:, None] + 1 / grid) / 2
    cells: Tensor = (touched[:, 1, :, None] & touched[:, 0, None, :]).flatten(1)  # rows, then columns
    return cells
