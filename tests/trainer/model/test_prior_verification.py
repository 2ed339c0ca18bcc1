from __future__ import annotations

import math
from dataclasses import replace

import torch

from trainer.model.config import NetworkConfig
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.model.prior_verification import PriorVerification


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
    queries = QueryInputs(token_ids, torch.ones_like(token_ids, dtype=torch.bool), torch.tensor([0, 0]))
    none = network(NetworkInputs(images, padding, queries))
    queries = queries._replace(prior=torch.randn(2, config.prior_dim), prior_mask=torch.tensor([True, False]))
    some = network(NetworkInputs(images, padding, queries))
    assert torch.equal(some.scores[1], none.scores[1]) and torch.equal(some.boxes[:, 1], none.boxes[:, 1])
    assert not torch.isclose(some.scores[0], none.scores[0]).all()
