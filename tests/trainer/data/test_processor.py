from __future__ import annotations

import torch

from trainer.data.processor import fit_placement

BOX = (40.0, 10.0, 60.0, 30.0)


def _targets() -> torch.Tensor:
    return torch.tensor([BOX])


def test_a_box_comes_back_from_the_canvas() -> None:
    placement = fit_placement((99, 50), 200)
    torch.testing.assert_close(placement.map_to_image(placement.map_to_canvas(_targets())), _targets())
