from __future__ import annotations

import torch

from trainer.model.position_encoding import compute_grid_padding


def test_a_image_too_thin_for_the_grid_counts_as_unpadded() -> None:
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 17:20] = False  # between the grid's rows 16 and 32
    assert not compute_grid_padding(padding, 4, 4).any()
