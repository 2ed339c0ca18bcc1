from __future__ import annotations

import math

import pytest
import torch

from trainer.training.losses import compute_box_losses, compute_verification_loss


def test_the_loss_of_a_stage_is_five_times_l1_and_twice_giou() -> None:
    # shifted by its width: l1 = 0.2, boxes touch: giou 0
    boxes = torch.tensor([[[0.3, 0.5, 0.2, 0.2]], [[0.5, 0.5, 0.2, 0.2]]])
    losses = compute_box_losses(boxes, torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    torch.testing.assert_close(losses.l1, torch.tensor([[0.2], [0.0]]))
    torch.testing.assert_close(losses.giou, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(losses.per_query, torch.tensor([5 * 0.2 + 2 * 1.0]))


def test_the_attention_loss_is_minus_the_log_of_the_share_on_the_target() -> None:
    # a 2 x 2 grid whose lower row is padding; the target is the left half, its only visible cell has 3 of 4
    scores = torch.tensor([[3.0, 1.0, 9.0, 9.0]])
    padding = torch.tensor([[False, False, True, True]])
    loss = compute_verification_loss(scores, padding, torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    torch.testing.assert_close(loss, -torch.tensor([0.75]).log())


def test_the_attention_loss_of_a_target_between_the_cells_is_that_of_the_cell_it_lies_in() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 2.0]])
    loss = compute_verification_loss(
        scores, torch.zeros(1, 4, dtype=torch.bool), torch.tensor([[0.1, 0.1, 0.02, 0.02]])
    )
    torch.testing.assert_close(loss, -torch.tensor([3 / 8]).log())


def test_the_attention_loss_of_a_target_without_any_attention_is_bounded() -> None:
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0]])
    target = torch.tensor([[0.25, 0.25, 0.4, 0.4]])
    loss = compute_verification_loss(scores, torch.zeros(1, 4, dtype=torch.bool), target)
    assert loss.tolist() == pytest.approx([6 * math.log(10)])
