from __future__ import annotations

import pytest
import torch

from trainer.boxes import cxcywh_to_xyxy, giou, iou, xyxy_to_cxcywh


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
