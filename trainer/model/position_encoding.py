"""Sine positions of image features: absolute on a padded grid, and relative between two rows or columns."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 10_000
EPSILON = 1e-6


def compute_sines(values: Tensor, num_features: int) -> Tensor:
    """Sines (even features) and cosines (odd ones) at falling frequencies.

    Args:
        values: (...) angles in radians.

    Returns:
        (..., num_features)

    Source: Vaswani et al., NeurIPS 2017, section 3.5, with DETR's temperature.
    """
    exponent = torch.arange(num_features // 2, device=values.device, dtype=torch.float32) * 2 / num_features
    angles = values[..., None] / TEMPERATURE**exponent
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def compute_grid_padding(padding_mask: Tensor, height: int, width: int) -> Tensor:
    """The padding of each image feature, by nearest neighbor.

    A image so thin that no feature falls on it counts as unpadded: attention needs something to look at.

    Args:
        padding_mask: (batch, image height, image width) bool, True = padding.

    Returns:
        (batch, height, width) bool
    """
    padding = F.interpolate(padding_mask[:, None].float(), size=(height, width))[:, 0].bool()
    return padding & ~padding.all(dim=(1, 2), keepdim=True)


def compute_grid_positions(padding: Tensor, num_features: int) -> Tensor:
    """Position of each image feature: running counts of unpadded rows and columns, scaled to 0..2 pi.

    Args:
        padding: (batch, height, width) bool, True = padding.

    Returns:
        (batch, height * width, num_features): the row's half first, then the column's.

    Source: Carion et al., ECCV 2020 (DETR), appendix A.4.
    """
    rows, columns = (~padding).cumsum(1, dtype=torch.float32), (~padding).cumsum(2, dtype=torch.float32)
    rows = rows / (rows[:, -1:, :] + EPSILON) * 2 * math.pi
    columns = columns / (columns[:, :, -1:] + EPSILON) * 2 * math.pi
    return torch.cat(
        [compute_sines(rows, num_features // 2), compute_sines(columns, num_features // 2)], dim=-1
    ).flatten(1, 2)


def compute_relative_sines(grid: int, num_features: int) -> Tensor:
    """Positions of the differences -grid .. grid between two rows (or columns), scaled to -2 pi .. 2 pi.

    Returns:
        (2 * grid + 1, num_features)
    """
    differences = torch.arange(-grid, grid + 1, dtype=torch.float32)
    return compute_sines(differences / (grid + EPSILON) * 2 * math.pi, num_features)
