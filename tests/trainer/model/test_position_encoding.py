from __future__ import annotations

import torch

from trainer.model.position_encoding import compute_grid_padding


def test_a_picture_too_thin_for_the_grid_is_looked_at_all_the_same() -> None:
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 17:20] = False  # between the grid's rows 16 and 32
    assert not compute_grid_padding(padding, 4, 4).any()
