from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from upath import UPath

from trainer.config import TrainConfig
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.model.prior_verification import AppearanceEmbeddings, PriorVerification
from trainer.training.losses import compute_prior_loss

NORTH, SOUTH, EAST = [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]
FIRST_CELL = [0.25, 0.25, 0.4, 0.4]  # of a grid of 2 x 2


def test_a_feature_like_the_prior_scores_one_and_its_opposite_next_to_nothing(tiny_network: NetworkConfig) -> None:
    verification = PriorVerification(replace(tiny_network, width=8, num_heads=2, prior_dim=8))
    for projection in (verification.image_projection, verification.prior_projection):
        torch.nn.init.eye_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    prior = torch.eye(8)[:1]
    image = torch.cat([3 * prior, torch.eye(8)[1:2], -prior])[None]
    score, _ = verification(image, prior, None, torch.tensor([0]))
    torch.testing.assert_close(score, torch.tensor([[1.0, math.exp(-2), math.exp(-8)]]))  # sigma = 0.5


def test_without_its_prior_a_query_is_verified_by_its_words_alone(
    tiny_network: NetworkConfig, text_encoder: str
) -> None:
    torch.manual_seed(0)
    config = choose_text_encoder(replace(tiny_network, use_prior_verification=True), text_encoder)
    network = GroundingNetwork(config).eval()
    images, padding = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    token_ids = torch.randint(5, 12, (2, 4))
    ask = (images, padding, token_ids, torch.ones_like(token_ids, dtype=torch.bool), torch.tensor([0, 0]))
    none = network(*ask)
    some = network(*ask, torch.randn(2, config.prior_dim), torch.tensor([True, False]))
    assert torch.equal(some.scores[1], none.scores[1]) and torch.equal(some.boxes[:, 1], none.boxes[:, 1])
    assert not torch.isclose(some.scores[0], none.scores[0]).all()


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


def test_a_prior_loss_asks_for_a_network_whose_prior_verifies() -> None:
    with pytest.raises(ValueError, match="use_prior_verification"):
        TrainConfig(output=Path("run"), train=(UPath("samples"),), prior_loss_weight=1.0)
