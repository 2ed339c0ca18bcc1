from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainer.boxes import mask_touched_cells
from trainer.training.appearance_losses import compute_appearance_losses

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
FIRST_CELL, LAST_CELL = [0.25, 0.25, 0.4, 0.4], [0.75, 0.75, 0.4, 0.4]  # inside cells of a grid of 2 x 2


def _compute(
    appearance: list[list[list[float]]],
    boxes: list[list[float]],
    images: list[int],
    exemplars: list[list[float]],
    padding: Tensor | None = None,
) -> list[float]:
    features = torch.tensor(appearance, dtype=torch.float64)
    losses = compute_appearance_losses(
        features,
        torch.zeros(features.shape[:2], dtype=torch.bool) if padding is None else padding,
        torch.tensor(boxes).view(-1, 4),
        torch.tensor(images, dtype=torch.int64),
        torch.tensor(exemplars, dtype=torch.float64).view(-1, 2),
        0.8,
    )
    return losses.tolist()


def _softmax_loss(right: list[float], wrong: list[float]) -> float:
    """Loss of these cosines at a temperature of 0.1."""
    inside = sum(math.exp(10 * cosine) for cosine in right)
    return math.log((inside + sum(math.exp(10 * cosine) for cosine in wrong)) / inside)


def test_an_instance_is_searched_in_all_cells_of_the_batch_and_named_among_all_crops() -> None:
    cells = [[EAST, NORTH, NORTH, NORTH], [WEST, WEST, WEST, NORTH]]
    losses = _compute(cells, [FIRST_CELL, LAST_CELL], [0, 1], [EAST, NORTH])
    search_east = _softmax_loss([1], [0] * 3 + [-1] * 3 + [0])
    search_north = _softmax_loss([1], [0, 1, 1, 1, 0, 0, 0])
    naming = _softmax_loss([1], [0])
    assert losses == pytest.approx([search_east + naming, search_north + naming])


def test_cells_of_an_instance_that_looks_alike_are_right_too_and_its_crop_is_left_out() -> None:
    cells = [[EAST, NORTH, NORTH, NORTH], [WEST, WEST, WEST, EAST]]
    losses = _compute(cells, [FIRST_CELL, LAST_CELL], [0, 1], [EAST, [0.9, 0.1]])
    assert losses[0] == pytest.approx(_softmax_loss([1, 1], [0] * 3 + [-1] * 3))  # and one name alone is left


def test_cells_that_a_box_only_touches_are_left_out() -> None:
    box = [0.25, 0.25, 0.6, 0.4]  # to 0.55: beyond the first cell, not to the middle of the second
    assert mask_touched_cells(torch.tensor([box]), 4).tolist() == [[True, True, False, False]]
    losses = _compute([[EAST, EAST, NORTH, NORTH]], [box], [0], [EAST])
    assert losses == pytest.approx([_softmax_loss([1], [0, 0])])


def test_padded_cells_are_left_out_and_an_instance_on_them_alone_has_no_loss() -> None:
    padding = torch.tensor([[False, False, True, True]])
    boxes = [[0.25, 0.5, 0.4, 0.8], LAST_CELL]  # both left cells; the last cell
    losses = _compute([[EAST, NORTH, NORTH, EAST]], boxes, [0, 0], [EAST, WEST], padding)
    assert losses == pytest.approx([_softmax_loss([1], [0]) + _softmax_loss([1], [-1]), 0.0])


def test_no_instance_gives_no_loss_and_gradients_of_zero() -> None:
    appearance = torch.tensor([[EAST] * 4], requires_grad=True)
    padding = torch.zeros(1, 4, dtype=torch.bool)
    losses = compute_appearance_losses(
        appearance, padding, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), 0.8
    )
    losses.sum().backward()
    assert len(losses) == 0 and appearance.grad is not None and not appearance.grad.any()


def test_an_instance_without_a_visible_cell_has_gradients_of_zero() -> None:
    appearance = torch.tensor([[EAST] * 4], requires_grad=True)
    losses = compute_appearance_losses(
        appearance,
        torch.ones(1, 4, dtype=torch.bool),
        torch.tensor([FIRST_CELL]),
        torch.zeros(1, dtype=torch.int64),
        torch.tensor([EAST]),
        0.8,
    )
    losses.sum().backward()
    assert losses.tolist() == [0] and appearance.grad is not None and not appearance.grad.any()
