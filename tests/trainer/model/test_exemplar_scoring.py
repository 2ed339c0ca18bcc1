from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.errors import TrainerError
from trainer.model.config import ExemplarScoringConfig, NetworkConfig
from trainer.model.exemplar_scoring import ExemplarScoring
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.model.published_checkpoints import convert_to_published
from trainer.training.losses import compute_box_losses


@pytest.fixture
def network(tiny_network: NetworkConfig, text_encoder: str) -> GroundingNetwork:
    torch.manual_seed(0)
    config = replace(tiny_network, dropout=0.0, exemplar_scoring=ExemplarScoringConfig())
    return GroundingNetwork(choose_text_encoder(config, text_encoder)).eval()


def _make_inputs(**changes: torch.Tensor | None) -> NetworkInputs:
    """Three queries about two images; the last query has no prior."""
    torch.manual_seed(1)
    token_ids = torch.randint(5, 12, (3, 4))
    mask = torch.ones_like(token_ids, dtype=torch.bool)
    prior, prior_mask = torch.randn(3, 6), torch.tensor([True, True, False])
    has_place = torch.tensor([True, False, False])
    queries = QueryInputs(token_ids, mask, torch.tensor([0, 1, 1]), prior, prior_mask, has_place)._replace(**changes)
    padding = torch.zeros(2, 64, 64, dtype=torch.bool)
    padding[0, 40:] = True
    return NetworkInputs(torch.randn(2, 3, 64, 64) * ~padding[:, None], padding, queries)


def test_the_best_feature_scores_one_and_those_within_the_margin_nearly_as_much() -> None:
    config = ExemplarScoringConfig(margin=0.2, place_margin=0.3, initial_temperature=0.1)
    scoring = ExemplarScoring(config, width=2, exemplar_dim=2)
    appearance = torch.tensor([[[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [0.0, 1.0]]])
    padding = torch.tensor([[False] * 4 + [True]])
    exemplar = torch.tensor([[0.9, 0.0], [0.0, 2.0], [0.0, 2.0]])
    score = scoring(appearance, padding, exemplar, torch.tensor([True, True, False]), None, torch.tensor([0, 0, 0]))
    # cosines 0.9, 0.72, 0.54, -0.9: best - cosine = 0, 0.18, 0.36, 1.8
    expected = [(1 + math.exp(-2)) / (1 + math.exp(-(0.2 - below) / 0.1)) for below in (0, 0.18, 0.36, 1.8)]
    torch.testing.assert_close(score[0, :4], torch.tensor(expected))
    assert score[1, 2] == 1 and score[1, 4] > 1  # the best of the features without padding, and padding beyond it
    assert score[2].tolist() == [1] * 5
    has_place = torch.tensor([True, False, False])
    placed = scoring(appearance, padding, exemplar, torch.tensor([True, True, False]), has_place, torch.zeros(3).long())
    expected = [(1 + math.exp(-3)) / (1 + math.exp(-(0.3 - below) / 0.1)) for below in (0, 0.18, 0.36, 1.8)]
    torch.testing.assert_close(placed[0, :4], torch.tensor(expected))
    assert torch.equal(placed[1:], score[1:])


def test_what_several_images_do_not_agree_on_counts_less() -> None:
    scoring = ExemplarScoring(ExemplarScoringConfig(), width=2, exemplar_dim=2)
    scoring.mean_feature.copy_(torch.tensor([0.6, 0.0]))
    centered = scoring.center_exemplars(torch.tensor([[0.6, 0.8], [0.6, 0.0]]))
    torch.testing.assert_close(centered, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))  # 0.8 is the length that is left


def test_without_its_prior_a_query_is_verified_by_its_words_alone(network: GroundingNetwork) -> None:
    none, some = network(_make_inputs(prior=None, prior_mask=None)), network(_make_inputs())
    assert some.appearance is not None and torch.equal(some.appearance.text_scores, none.scores)
    assert torch.equal(some.scores[2], none.scores[2]) and torch.equal(some.boxes[:, 2], none.boxes[:, 2])
    assert not torch.isclose(some.scores[:2], none.scores[:2]).all(1).any()
    assert not torch.isclose(some.boxes[:, :2], none.boxes[:, :2]).all(-1).any()


def test_losses_of_boxes_and_scores_train_the_temperature_and_not_the_appearance_head(
    network: GroundingNetwork,
) -> None:
    scoring = network.exemplar_scoring
    assert scoring is not None
    output = network.train()(_make_inputs())
    (compute_box_losses(output.boxes, torch.full((3, 4), 0.4)).per_query.sum() + output.scores.sum()).backward(
        retain_graph=True
    )
    assert scoring.log_temperature.grad is not None and scoring.log_temperature.grad != 0
    assert all(parameter.grad is None for parameter in scoring.appearance_head.parameters())
    assert output.appearance is not None
    output.appearance.features[0, 0, 0].backward()
    assert all(parameter.grad is not None for parameter in scoring.appearance_head.parameters())


def test_the_prior_does_not_start_the_target_token(network: GroundingNetwork) -> None:
    assert network.decoder.prior is None
    with pytest.raises(ValueError, match="exemplar_scoring needs use_prior"):
        replace(network.config, use_prior=False)


@pytest.mark.parametrize("name", ["margin", "place_margin", "initial_temperature"])
def test_numbers_of_the_score_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive number, got 0"):
        ExemplarScoringConfig(**{name: 0})


def test_a_saved_network_keeps_its_margin_and_the_mean_feature(network: GroundingNetwork, tmp_path: Path) -> None:
    assert network.exemplar_scoring is not None
    network.exemplar_scoring.mean_feature.copy_(torch.arange(6) / 10)
    network.save_pretrained(tmp_path)
    again = GroundingNetwork.from_pretrained(tmp_path)
    assert again.config == network.config
    torch.testing.assert_close(again(_make_inputs()).boxes, network(_make_inputs()).boxes)


def test_the_published_layout_is_refused(network: GroundingNetwork) -> None:
    with pytest.raises(TrainerError, match="no place for exemplar scoring"):
        convert_to_published(network)


def test_compiled_and_checkpointed_networks_give_the_same_gradients(network: GroundingNetwork) -> None:
    def compute_gradients() -> dict[str, torch.Tensor]:
        network.zero_grad()
        output = network(_make_inputs())
        assert output.appearance is not None
        (output.boxes.sum() + output.scores.sum() + output.appearance.features.square().mean(0)[0, 0]).backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    network.train()
    for module in network.text.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = compute_gradients()
    network.gradient_checkpointing = True
    checkpointed = compute_gradients()
    network.gradient_checkpointing = False
    torch._dynamo.reset()
    network.compile_parts("aot_eager")
    for gradients in (checkpointed, compute_gradients()):
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], atol=2e-5, rtol=1e-4, msg=name)


def test_scores_in_bfloat16_are_near_those_in_float32(network: GroundingNetwork) -> None:
    expected = network(_make_inputs())
    with torch.autocast("cpu", torch.bfloat16):
        output = network(_make_inputs())
    assert output.appearance is not None and output.appearance.features.dtype == torch.float32
    torch.testing.assert_close(output.boxes, expected.boxes, atol=0.05, rtol=0)
    torch.testing.assert_close(output.scores.float(), expected.scores, atol=0.1, rtol=0)
