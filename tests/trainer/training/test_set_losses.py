"""Matching and losses of several target tokens, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.data.batch import SetTargets
from trainer.model.network import TokenOutput
from trainer.training.set_losses import compute_set_losses, match_targets

LEFT, MIDDLE, RIGHT = [0.2, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.8, 0.5, 0.2, 0.2]


def _output(*queries: list[list[float]], presence: Tensor | None = None) -> TokenOutput:
    boxes = torch.tensor(queries)[None]  # (1, queries, tokens, 4)
    return TokenOutput(boxes=boxes, presence=torch.zeros(boxes.shape[1:3]) if presence is None else presence)


def _targets(*queries: list[list[float]]) -> SetTargets:
    boxes = [box for query in queries for box in query]
    return SetTargets(
        boxes=torch.tensor(boxes).reshape(len(boxes), 4), counts=torch.tensor([len(query) for query in queries])
    )


def test_each_target_gets_the_token_of_the_smallest_total_cost() -> None:
    output = _output([RIGHT, LEFT, MIDDLE], [LEFT, LEFT, LEFT], [MIDDLE, LEFT, RIGHT])
    target, token = match_targets(output, _targets([LEFT, RIGHT], [], [MIDDLE]))
    assert dict(zip(target.tolist(), token.tolist(), strict=True)) == {0: 1, 1: 0, 2: 6}


def test_a_token_that_is_sure_wins_among_equal_boxes() -> None:
    output = _output([LEFT, LEFT], presence=torch.tensor([[-2.0, 2.0]]))
    assert match_targets(output, _targets([LEFT]))[1].tolist() == [1]


def test_of_more_targets_than_tokens_the_best_are_matched() -> None:
    target, token = match_targets(_output([RIGHT, LEFT]), _targets([LEFT, MIDDLE, RIGHT]))
    assert dict(zip(target.tolist(), token.tolist(), strict=True)) == {0: 1, 2: 0}


def test_losses_are_means_over_the_targets_and_the_tokens_of_a_query() -> None:
    output = _output([[0.3, 0.5, 0.2, 0.2], RIGHT], [LEFT, RIGHT])
    boxes, presence = compute_set_losses(output, _targets([LEFT, RIGHT], []))
    assert boxes.l1.tolist() == [pytest.approx([0.05, 0.0])]  # 0.1 of one of two targets
    assert boxes.giou[0, 0].item() == pytest.approx((2 / 3 + 0) / 2, abs=1e-5)  # IoU 1/3, hull = union
    torch.testing.assert_close(presence, torch.full((2,), 0.693147))  # log 2 at log odds of 0
    sure = output._replace(presence=torch.tensor([[9.0, 9.0], [-9.0, -9.0]]))
    assert compute_set_losses(sure, _targets([LEFT, RIGHT], []))[1].max() < 1e-3
