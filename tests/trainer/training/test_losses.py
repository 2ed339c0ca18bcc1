from __future__ import annotations

import math

import pytest
import torch

from trainer.model.prior_verification import AppearanceEmbeddings
from trainer.training.losses import compute_box_losses, compute_prior_loss, compute_verification_loss


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
    loss = compute_verification_loss(scores, torch.zeros(1, 4, dtype=torch.bool), torch.tensor([FIRST_CELL]))
    assert loss.tolist() == pytest.approx([6 * math.log(10)])


NORTH, SOUTH, EAST = [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]


FIRST_CELL = [0.25, 0.25, 0.4, 0.4]  # of a grid of 2 x 2


def _looks(regions: list[list[float]], priors: list[list[float]]) -> AppearanceEmbeddings:
    """The first of four cells looks as given, the others are empty."""
    image = torch.zeros(len(regions), 4, 2)
    image[:, 0] = torch.tensor(regions)
    return AppearanceEmbeddings(image, torch.tensor(priors))


@pytest.mark.parametrize(("second", "expected"), [(EAST, math.log(1 + math.exp(-10))), (NORTH, 0.0)])
def test_the_prior_finds_its_target_among_those_of_other_priors(second: list[float], expected: float) -> None:
    priors = [NORTH, second]  # alike ones are left out
    appearance = _looks(priors, priors)
    loss = compute_prior_loss(
        appearance,
        torch.tensor(priors),
        torch.tensor([True, True]),
        torch.tensor([0, 1]),
        torch.tensor([FIRST_CELL] * 2),
    )
    torch.testing.assert_close(loss, torch.full((2,), expected))


def test_a_query_without_its_prior_adds_nothing_to_the_prior_loss() -> None:
    appearance = _looks([NORTH, NORTH], [NORTH, SOUTH])
    loss = compute_prior_loss(
        appearance, appearance.prior, torch.tensor([True, False]), torch.tensor([0, 1]), torch.tensor([FIRST_CELL] * 2)
    )
    assert loss.tolist() == [0.0, 0.0]


SURE = math.log(1 + math.exp(-10))
"""Loss of a query whose prior is at a right angle to the only other target."""


def test_only_the_cells_of_the_target_count_and_not_their_length() -> None:
    appearance = _looks([[0.0, 7.0], [2.0, 0.0]], [NORTH, EAST])
    appearance.image[:, 1:] = -9.0
    loss = compute_prior_loss(
        appearance, appearance.prior, torch.tensor([True] * 2), torch.tensor([0, 1]), torch.tensor([FIRST_CELL] * 2)
    )
    torch.testing.assert_close(loss, torch.full((2,), SURE))


@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize("width", [0.4, 0.41])
@pytest.mark.parametrize("second", [EAST, NORTH])
def test_two_queries_about_one_target_are_no_rivals(image: int, width: float, second: list[float]) -> None:
    appearance = _looks([NORTH, second], [NORTH, second])
    targets = torch.tensor([FIRST_CELL, [0.25, 0.25, width, 0.4]])
    loss = compute_prior_loss(appearance, appearance.prior, torch.tensor([True] * 2), torch.tensor([0, image]), targets)
    are_rivals = second is EAST and (image == 1 or width == 0.41)
    torch.testing.assert_close(loss, torch.full((2,), SURE if are_rivals else 0.0))


def test_a_query_without_a_prior_is_no_rival_even_with_equal_features() -> None:
    appearance = _looks([NORTH, NORTH, EAST], [NORTH, NORTH, EAST])
    loss = compute_prior_loss(
        appearance,
        appearance.prior,
        torch.tensor([True, False, True]),
        torch.tensor([0, 1, 2]),
        torch.tensor([FIRST_CELL] * 3),
    )
    torch.testing.assert_close(loss, torch.tensor([SURE, 0.0, SURE]))


def test_the_prior_loss_is_the_mean_of_the_searches_for_the_target_and_for_the_prior() -> None:
    # both priors look like the first target: each prior's search is a tie or lost by 10, the targets' searches ties
    appearance = _looks([NORTH, EAST], [NORTH, NORTH])
    loss = compute_prior_loss(
        appearance,
        torch.tensor([NORTH, EAST]),
        torch.tensor([True] * 2),
        torch.tensor([0, 1]),
        torch.tensor([FIRST_CELL] * 2),
    )
    tie = math.log(2)
    torch.testing.assert_close(loss, torch.tensor([(SURE + tie) / 2, (10 + SURE + tie) / 2]))
