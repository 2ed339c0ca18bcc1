"""Sine encodings of positions: absolute on a padded grid, and relative between two rows or columns."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 10_000
EPSILON = 1e-6


def compute_sines(values: Tensor, num_features: int) -> Tensor:
    """Compute sines (even features) and cosines (odd features) at falling frequencies.

    Args:
        values: (...) angles in radians.
        num_features: number of features, even.

    Returns:
        (..., num_features)

    Source: Vaswani et al., NeurIPS 2017, section 3.5, with DETR's temperature.
    """
    exponent = torch.arange(num_features // 2, device=values.device, dtype=torch.float32) * 2 / num_features
    angles = values[..., None] / TEMPERATURE**exponent
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def compute_grid_padding(padding_mask: Tensor, height: int, width: int) -> Tensor:
    """Compute the padding of each image feature, by nearest neighbor.

    An image without a feature, because it is too thin, counts as unpadded: a softmax needs at least one key.

    Args:
        padding_mask: (batch, image height, image width) bool, True = padding.
        height: number of rows of features.
        width: number of columns of features.

    Returns:
        (batch, height, width) bool
    """
    padding = F.interpolate(padding_mask[:, None].float(), size=(height, width))[:, 0].bool()
    return padding & ~padding.all(dim=(1, 2), keepdim=True)


def compute_grid_positions(padding: Tensor, num_features: int) -> Tensor:
    """Compute the position of each image feature: counts of unpadded rows and columns, scaled to 0..2 pi.

    Args:
        padding: (batch, height, width) bool, True = padding.
        num_features: number of features, a multiple of 4.

    Returns:
        (batch, height * width, num_features): the row in the first half, the column in the second.

    Source: Carion et al., ECCV 2020 (DETR), appendix A.4.
    """
    rows, columns = (~padding).cumsum(1, dtype=torch.float32), (~padding).cumsum(2, dtype=torch.float32)
    rows = rows / (rows[:, -1:, :] + EPSILON) * 2 * math.pi
    columns = columns / (columns[:, :, -1:] + EPSILON) * 2 * math.pi
    return torch.cat(
        [compute_sines(rows, num_features // 2), compute_sines(columns, num_features // 2)], dim=-1
    ).flatten(1, 2)


def compute_relative_sines(grid: int, num_features: int) -> Tensor:
    """Compute encodings of the differences -grid .. grid between two rows or columns, scaled to -2 pi .. 2 pi.

    Args:
        grid: number of rows, equal to the number of columns.
        num_features: number of features, even.

    Returns:
        (2 * grid + 1, num_features)
    """
    differences = torch.arange(-grid, grid + 1, dtype=torch.float32)
    return compute_sines(differences / (grid + EPSILON) * 2 * math.pi, num_features)
