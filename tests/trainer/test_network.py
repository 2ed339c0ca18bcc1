from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.errors import TrainerError
from trainer.model.attention import Attention, SingleQueryAttention
from trainer.model.config import NetworkConfig, make_miniature_config, make_published_config
from trainer.model.network import GroundingNetwork
from trainer.model.position_encoding import compute_grid_padding, compute_relative_sines
from trainer.model.pretrained import choose_text_encoder
from trainer.model.verification import RelativeAttention
from trainer.training.losses import compute_box_losses


@pytest.fixture
def network(tiny_network: NetworkConfig, text_encoder: str) -> GroundingNetwork:
    torch.manual_seed(0)
    config = choose_text_encoder(replace(tiny_network, dropout=0.0), text_encoder)
    text = {**config.text, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return GroundingNetwork(replace(config, text=text))


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    padding = torch.ones(2, 64, 64, dtype=torch.bool)
    padding[0, 10:50, :] = False
    padding[1, :, 5:40] = False
    return torch.randn(2, 3, 64, 64) * ~padding[:, None], padding


def _questions(num_queries: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    token_mask = torch.arange(5) < torch.tensor([3, 5, 4, 5])[:num_queries, None]
    return torch.randint(5, 12, (num_queries, 5)) * token_mask, token_mask, torch.randn(num_queries, 6)


def test_queries_that_share_an_image_give_the_gradients_of_separate_samples(network: GroundingNetwork) -> None:
    images, padding = _images()
    token_ids, token_mask, prior = _questions()
    query_image, targets = torch.tensor([0, 0, 1, 0]), torch.full((4, 4), 0.4)
    gradients = []
    for chosen, which in ((images, query_image), (images[query_image], torch.arange(4))):
        mask = padding if len(chosen) == 2 else padding[query_image]
        network.zero_grad()
        boxes = network(chosen, mask, token_ids, token_mask, which, prior).boxes
        compute_box_losses(boxes, targets).per_query.mean().backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=2e-5, rtol=1e-4, msg=name)


def test_a_query_gets_the_same_boxes_in_any_batch(network: GroundingNetwork) -> None:
    images, padding = _images()
    token_ids, token_mask, prior = _questions()
    network.eval()
    together = network(images, padding, token_ids, token_mask, torch.tensor([0, 1, 1, 0]), prior).boxes
    alone = network(
        images[1:], padding[1:], token_ids[2:3, :4], token_mask[2:3, :4], torch.tensor([0]), prior[2:3]
    ).boxes
    torch.testing.assert_close(together[:, 2:3], alone, atol=1e-5, rtol=0)


def test_without_a_prior_the_token_starts_from_zero(network: GroundingNetwork, text_encoder: str) -> None:
    images, padding = _images()
    token_ids, token_mask, prior = _questions()
    network.eval()
    vltvg = GroundingNetwork(replace(network.config, use_prior=False)).eval()
    missing, unexpected = vltvg.load_state_dict(network.state_dict(), strict=False)
    assert not missing and {name.rsplit(".", 2)[0] for name in unexpected} == {"decoder.prior"}
    ask = (images, padding, token_ids, token_mask, torch.tensor([0, 1, 1, 0]))
    none = network(*ask).boxes
    given = torch.tensor([True, False, True, False])
    some = network(*ask, prior, given).boxes
    assert torch.equal(vltvg(*ask, prior).boxes, none)
    assert torch.equal(some[:, ~given], none[:, ~given])
    assert not torch.isclose(some[:, given], none[:, given]).all(-1).any()


def test_a_scaled_prior_is_a_longer_one(network: GroundingNetwork) -> None:
    images, padding = _images()
    token_ids, token_mask, prior = _questions()
    network.eval()
    scaled = GroundingNetwork(replace(network.config, prior_scale=3.0)).eval()
    scaled.load_state_dict(network.state_dict())
    ask = (images, padding, token_ids, token_mask, torch.tensor([0, 1, 1, 0]))
    torch.testing.assert_close(scaled(*ask, prior).boxes, network(*ask, 3 * prior).boxes)
    assert not torch.isclose(scaled(*ask, prior).boxes, network(*ask, prior).boxes).all()
    assert torch.equal(scaled(*ask).boxes, network(*ask).boxes)


def test_one_query_attends_as_many_do() -> None:
    torch.manual_seed(0)
    short, full = SingleQueryAttention(16, 2, 0.0), Attention(16, 2, 0.0)
    short.in_proj_bias.data.normal_()
    full.load_state_dict(short.state_dict())
    query, key, value = torch.randn(3, 16), torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    padding = torch.arange(7) >= torch.tensor([7, 4, 1])[:, None]
    torch.testing.assert_close(short(query, key, value, padding), full(query[:, None], key, value, padding)[:, 0])


def test_relative_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    grid, width, heads = 3, 16, 2
    attention = RelativeAttention(width, heads, 0.0, grid)
    attention.in_proj_bias.data.normal_()
    x, padding = torch.randn(1, grid * grid, width), torch.zeros(1, grid * grid, dtype=torch.bool)
    padding[:, -grid:] = True
    q, k, v = attention.queries(x), attention.keys(x), attention.values(x)
    table, k_weight = compute_relative_sines(grid, width // 2), attention.in_proj_weight[width : 2 * width]
    logits = torch.empty(1, heads, grid * grid, grid * grid)
    for i in range(grid * grid):
        for j in range(grid * grid):
            y, x_ = table[i // grid - j // grid + grid], table[i % grid - j % grid + grid]
            key = k[0, :, j] + (k_weight @ torch.cat([y, x_])).view(heads, -1)
            logits[0, :, i, j] = (q[0, :, i] * key).sum(-1) / (width / heads) ** 0.5
    weights = logits.masked_fill(padding[:, None, None], float("-inf")).softmax(-1)
    expected = attention.out_proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention.forward_grid(x, v, padding), expected)


def test_a_picture_too_thin_for_the_grid_is_looked_at_all_the_same() -> None:
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 17:20] = False  # between the grid's rows 16 and 32
    assert not compute_grid_padding(padding, 4, 4).any()


def test_frozen_parts_get_no_gradients_and_the_rest_does(network: GroundingNetwork) -> None:
    images, padding = _images()
    token_ids, token_mask, prior = _questions()
    network.frozen = True
    boxes = network(images, padding, token_ids, token_mask, torch.tensor([0, 1, 1, 0]), prior).boxes
    boxes.sum().backward()
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {"text", "verification", "decoder", "box_head"}
    assert all(p.grad is None for p in network.text.model.parameters())


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


def test_a_checkpoint_of_another_size_names_both_shapes(network: GroundingNetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    config = {**network.config.to_json(), "prior_dim": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match=r"decoder\.prior\.0\.bias has shape \(6,\), the network's has \(7,\)"):
        GroundingNetwork.from_pretrained(tmp_path)


def test_presets_have_the_sizes_they_say() -> None:
    assert make_published_config().grid == 20 and make_published_config().backbone.stride_px == 32
    assert make_miniature_config().grid == 8 and make_miniature_config().prior_dim == 128
    with pytest.raises(ValueError, match="multiple of the backbone's stride 32, got 100"):
        NetworkConfig(image_size_px=100)
