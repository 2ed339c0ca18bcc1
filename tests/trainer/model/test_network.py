from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.errors import TrainerError
from trainer.model.config import NetworkConfig
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.training.losses import compute_box_losses


@pytest.fixture
def network(tiny_network: NetworkConfig, text_encoder: str) -> GroundingNetwork:
    torch.manual_seed(0)
    config = choose_text_encoder(replace(tiny_network, dropout=0.0), text_encoder)
    text = {**config.text, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return GroundingNetwork(replace(config, text=text))


def _make_inputs(query_image: list[int]) -> NetworkInputs:
    """Four queries, with priors, about two images."""
    return NetworkInputs(*_images(), _make_queries(query_image))


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    padding = torch.ones(2, 64, 64, dtype=torch.bool)
    padding[0, 10:50, :] = False
    padding[1, :, 5:40] = False
    return torch.randn(2, 3, 64, 64) * ~padding[:, None], padding


def _make_queries(query_image: list[int]) -> QueryInputs:
    torch.manual_seed(2)
    token_mask = torch.arange(5) < torch.tensor([3, 5, 4, 5])[:, None]
    token_ids = torch.randint(5, 12, (4, 5)) * token_mask
    return QueryInputs(token_ids, token_mask, torch.tensor(query_image), torch.randn(4, 6))


def _replace_prior(inputs: NetworkInputs, prior: torch.Tensor | None) -> NetworkInputs:
    return inputs._replace(queries=inputs.queries._replace(prior=prior))


def test_queries_that_share_an_image_give_the_gradients_of_separate_samples(network: GroundingNetwork) -> None:
    shared, targets = _make_inputs([0, 0, 1, 0]), torch.full((4, 4), 0.4)
    query_image = shared.queries.query_image
    separate_queries = shared.queries._replace(query_image=torch.arange(4))
    separate = NetworkInputs(shared.images[query_image], shared.padding[query_image], separate_queries)
    gradients = []
    for inputs in (shared, separate):
        network.zero_grad()
        compute_box_losses(network(inputs).boxes, targets).per_query.mean().backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=2e-5, rtol=1e-4, msg=name)


def test_a_query_gets_the_same_boxes_in_any_batch(network: GroundingNetwork) -> None:
    network.eval()
    inputs = _make_inputs([0, 1, 1, 0])
    token_ids, token_mask, _, prior, *_ = inputs.queries
    assert prior is not None
    query = QueryInputs(token_ids[2:3, :4], token_mask[2:3, :4], torch.tensor([0]), prior[2:3])
    together = network(inputs).boxes
    alone = network(NetworkInputs(inputs.images[1:], inputs.padding[1:], query)).boxes
    torch.testing.assert_close(together[:, 2:3], alone, atol=1e-5, rtol=0)


def test_without_a_prior_the_token_starts_from_zero(network: GroundingNetwork, text_encoder: str) -> None:
    network.eval()
    inputs = _make_inputs([0, 1, 1, 0])
    vltvg = GroundingNetwork(replace(network.config, use_prior=False)).eval()
    missing, unexpected = vltvg.load_state_dict(network.state_dict(), strict=False)
    assert not missing and {name.rsplit(".", 2)[0] for name in unexpected} == {"decoder.prior"}
    none = network(_replace_prior(inputs, None)).boxes
    given = torch.tensor([True, False, True, False])
    some = network(inputs._replace(queries=inputs.queries._replace(prior_mask=given))).boxes
    assert torch.equal(vltvg(inputs).boxes, none)
    assert torch.equal(some[:, ~given], none[:, ~given])
    assert not torch.isclose(some[:, given], none[:, given]).all(-1).any()


def test_a_scaled_prior_is_a_longer_one(network: GroundingNetwork) -> None:
    network.eval()
    inputs = _make_inputs([0, 1, 1, 0])
    prior = inputs.queries.prior
    assert prior is not None
    scaled = GroundingNetwork(replace(network.config, prior_scale=3.0)).eval()
    scaled.load_state_dict(network.state_dict())
    torch.testing.assert_close(scaled(inputs).boxes, network(_replace_prior(inputs, 3 * prior)).boxes)
    assert not torch.isclose(scaled(inputs).boxes, network(inputs).boxes).all()
    without = _replace_prior(inputs, None)
    assert torch.equal(scaled(without).boxes, network(without).boxes)


def test_frozen_parts_get_no_gradients_and_the_rest_does(network: GroundingNetwork) -> None:
    network.frozen = True
    network(_make_inputs([0, 1, 1, 0])).boxes.sum().backward()
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {"text", "verification", "decoder", "box_head"}
    assert all(p.grad is None for p in network.text.model.parameters())


def test_compiled_parts_give_the_same_gradients_and_share_their_code(network: GroundingNetwork) -> None:
    deeper = replace(network.config, num_encoder_layers=3, num_stages=4)
    network = GroundingNetwork(replace(deeper, backbone=replace(deeper.backbone, depths=(2, 3, 1))))
    network.use_channels_last()
    counters, num_graphs = torch._dynamo.utils.counters, []

    def compute_gradients(num_queries: int, num_words: int) -> dict[str, torch.Tensor]:
        inputs = _make_inputs([0, 0, 1, 0])
        ids, mask, query_image, prior, *_ = inputs.queries
        assert prior is not None
        words = (ids[:num_queries, :num_words].clone(), mask[:num_queries, :num_words].clone())
        queries = QueryInputs(*words, query_image[:num_queries], prior[:num_queries])
        network.zero_grad()
        boxes = network(inputs._replace(queries=queries)).boxes
        compute_box_losses(boxes, torch.full((num_queries, 4), 0.4)).per_query.mean().backward()
        num_graphs.append(counters["stats"]["unique_graphs"])
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    sizes = ((4, 5), (3, 4), (2, 3))
    expected = [compute_gradients(*size) for size in sizes]
    torch._dynamo.reset()
    counters.clear()
    num_graphs.clear()
    network.compile_parts("aot_eager")
    for size, gradients in zip(sizes, expected, strict=True):
        for name, gradient in compute_gradients(*size).items():
            torch.testing.assert_close(gradient, gradients[name], atol=2e-5, rtol=1e-4, msg=name)
    # Four kinds of blocks, stem, and a layer of the visual encoder. The layer of the text encoder, verification, the
    # decoder's stage and the box head are compiled once more, for any number of queries and words.
    assert num_graphs == [10, 14, 14]
    assert not counters["graph_break"]


def test_a_saved_network_comes_back_the_same(network: GroundingNetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    again = GroundingNetwork.from_pretrained(tmp_path)
    assert again.config == network.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_a_damaged_or_foreign_folder_is_refused(network: GroundingNetwork, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"config\.json does not exist"):
        GroundingNetwork.from_pretrained(tmp_path)
    network.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TrainerError, match=r"model\.safetensors is damaged"):
        GroundingNetwork.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(TrainerError, match="model_type 'bert'"):
        GroundingNetwork.from_pretrained(tmp_path)


def test_padding_counts_as_image_if_it_is_not_masked(network: GroundingNetwork) -> None:
    inputs = _make_inputs([0, 0, 1, 1])
    everything_is_image = inputs._replace(padding=torch.zeros_like(inputs.padding))
    network.eval()
    with torch.no_grad():
        expected, masked = network(everything_is_image).boxes, network(inputs).boxes
        network.config = replace(network.config, mask_padding=False)
        found = network(inputs)
    torch.testing.assert_close(found.boxes, expected, atol=0, rtol=0)
    assert not found.padding.any() and (masked - expected).abs().max() > 1e-4


def test_a_folder_that_does_not_say_whether_padding_is_masked_is_refused(
    network: GroundingNetwork, tmp_path: Path
) -> None:
    network.save_pretrained(tmp_path)
    config = network.config.to_json()
    del config["mask_padding"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        TrainerError, match=r'config\.json does not say whether padding is masked .* "mask_padding": true'
    ):
        GroundingNetwork.from_pretrained(tmp_path)


def test_a_checkpoint_of_another_size_names_both_shapes(network: GroundingNetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    config = {**network.config.to_json(), "prior_dim": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match=r"decoder\.prior\.0\.bias has shape \(6,\), the network's has \(7,\)"):
        GroundingNetwork.from_pretrained(tmp_path)
