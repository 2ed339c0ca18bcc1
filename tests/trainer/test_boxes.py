from __future__ import annotations

import pytest
import torch

from trainer.boxes import cxcywh_to_xyxy, giou, iou, mask_covered_cells, xyxy_to_cxcywh


def test_boxes_survive_the_change_of_form() -> None:
    boxes = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert xyxy_to_cxcywh(boxes).tolist() == [[3.0, 6.0, 4.0, 8.0]]
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_boxes_of_many_images_and_queries_change_their_form_alike() -> None:
    boxes = torch.tensor([1.0, 2.0, 4.5, 9.0]) * torch.arange(1.0, 7.0).reshape(2, 3, 1)
    assert xyxy_to_cxcywh(boxes)[0, 0].tolist() == [2.75, 5.5, 3.5, 7.0]
    assert xyxy_to_cxcywh(boxes)[1, 2].tolist() == [16.5, 33.0, 21.0, 42.0]
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_overlaps_of_oblong_boxes_take_each_axis_and_area_from_its_own_box() -> None:
    # 4 x 2 and 4 x 2.5 share 2 x 1.5 = 3 of 15, in a hull of 6 x 3
    wide, tall = torch.tensor([[0.5, 1.0, 4.5, 3.0]]), torch.tensor([[2.5, 0.0, 6.5, 2.5]])
    for a, b in ((wide, tall), (tall, wide)):
        assert iou(a, b).tolist() == pytest.approx([3 / 15])
        assert giou(a, b).tolist() == pytest.approx([3 / 15 - 3 / 18])


def test_iou_of_boxes_that_share_a_third_is_a_third() -> None:
    # 2 x 2 boxes one apart: 2 of 6 in common
    assert iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])).item() == pytest.approx(1 / 3)


def test_giou_of_boxes_with_a_gap_of_their_size_is_minus_a_third() -> None:
    # 2 x 2 boxes with a gap of 2: no overlap, hull 6 x 2 of which 4 is empty
    assert giou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([4.0, 0, 6, 2])).item() == pytest.approx(-1 / 3)


def test_boxes_apart_on_both_axes_do_not_overlap() -> None:
    near, far = torch.tensor([0.0, 0, 2, 2]), torch.tensor([3.0, 3, 5, 5])
    assert iou(near, far).item() == 0
    assert giou(near, far).item() == pytest.approx(-17 / 25)  # hull 5 x 5, of which 8 are boxes


def test_a_box_smaller_than_a_cell_covers_the_cell_of_its_middle() -> None:
    small = torch.tensor([[0.4, 0.9, 0.02, 0.02]])  # between the centers of a grid of 4 x 4
    assert mask_covered_cells(small, 16).nonzero()[:, 1].tolist() == [13]  # row 3, column 1
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0]])
    assert mask_covered_cells(whole, 16).all()


def test_a_small_box_on_the_border_of_cells_covers_both() -> None:
    assert mask_covered_cells(torch.tensor([[0.5, 0.3, 0.02, 0.02]]), 4).tolist() == [[True, True, False, False]]


def test_a_cell_whose_center_lies_on_the_edge_of_a_box_is_covered() -> None:
    assert mask_covered_cells(torch.tensor([[0.5, 0.5, 0.75, 0.75]]), 16).all()  # from 1/8 to 7/8
