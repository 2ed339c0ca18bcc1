from __future__ import annotations

import pytest
import torch

from trainer.boxes import cxcywh_to_xyxy, giou, iou, xyxy_to_cxcywh
from trainer.training.losses import compute_box_losses, compute_verification_loss


def test_boxes_survive_the_change_of_form() -> None:
    boxes = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert xyxy_to_cxcywh(boxes).tolist() == [[3.0, 6.0, 4.0, 8.0]]
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_iou_of_boxes_that_share_a_third_is_a_third() -> None:
    # 2 x 2 boxes one apart: 2 of 6 in common
    assert iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])).item() == pytest.approx(1 / 3)


def test_giou_of_boxes_with_a_gap_of_their_size_is_minus_a_third() -> None:
    # 2 x 2 boxes with a gap of 2: no overlap, hull 6 x 2 of which 4 is empty
    assert giou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([4.0, 0, 6, 2])).item() == pytest.approx(-1 / 3)


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
