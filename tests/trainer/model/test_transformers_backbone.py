"""Backbones of transformers in the place of the published ResNet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoBackbone,
    ConvNextBackbone,
    ConvNextConfig,
    Dinov2Config,
    PreTrainedConfig,
    ResNetConfig,
    RobertaConfig,
    SwinConfig,
)

from trainer.errors import TrainerError
from trainer.model.config import NetworkConfig
from trainer.model.inputs import NetworkInputs, QueryInputs
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_backbone, choose_text_encoder, load_backbone
from trainer.model.transformers_backbone import TransformersBackbone, measure_stride_px

SIZES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
CONFIGS = {
    "resnet": (ResNetConfig(embedding_size=8, layer_type="basic", **SIZES), 32),
    "convnext": (ConvNextConfig(**SIZES), 32),
    "swin": (SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], image_size=64), 32),
    "dinov2": (Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56), 14),
}


def _save(config: PreTrainedConfig, folder: Path) -> str:
    AutoBackbone.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_any_backbone_gives_the_network_its_grid(
    name: str, tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    config, stride_px = CONFIGS[name]
    checkpoint = _save(config, tmp_path / "backbone")
    side_px = 112 if name == "dinov2" else 128
    sizes = choose_backbone(replace(tiny_network, image_size_px=side_px), checkpoint)
    assert (sizes.vision["model_type"], sizes.stride_px, sizes.grid) == (name, stride_px, side_px // stride_px)
    network = GroundingNetwork(choose_text_encoder(sizes, text_encoder)).eval()
    load_backbone(network, checkpoint)
    queries = QueryInputs(torch.tensor([[1, 2]]), torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, dtype=torch.long))
    inputs = NetworkInputs(torch.rand(1, 3, side_px, side_px), torch.zeros(1, side_px, side_px).bool(), queries)
    with torch.no_grad():
        boxes = network(inputs).boxes
        network.save_pretrained(tmp_path / "network")
        torch.testing.assert_close(GroundingNetwork.from_pretrained(tmp_path / "network")(inputs).boxes, boxes)


def test_the_weights_are_those_of_the_checkpoint(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    checkpoint = _save(CONFIGS["convnext"][0], tmp_path)
    network = GroundingNetwork(choose_text_encoder(choose_backbone(tiny_network, checkpoint), text_encoder)).eval()
    load_backbone(network, checkpoint)
    pixels = torch.rand(1, 3, 64, 64)
    expected = ConvNextBackbone.from_pretrained(checkpoint, out_features=["stage4"]).eval()
    with torch.no_grad():
        assert torch.equal(network.backbone(pixels), expected(pixels).feature_maps[-1])


def test_batch_norms_keep_their_statistics_in_training() -> None:
    backbone = TransformersBackbone(json.loads(CONFIGS["resnet"][0].to_json_string(use_diff=False))).train()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in backbone.named_buffers())


def test_a_network_with_a_resnet_is_saved_as_before(tiny_network: NetworkConfig) -> None:
    assert not {name for name in tiny_network.to_json() if name.startswith("vision")}


def test_what_is_no_backbone_is_refused(tmp_path: Path, tiny_network: NetworkConfig) -> None:
    RobertaConfig().save_pretrained(tmp_path / "text")
    with pytest.raises(TrainerError, match="roberta is no backbone of transformers"):
        choose_backbone(tiny_network, str(tmp_path / "text"))
    with pytest.raises(TrainerError, match="no backbone at"):
        choose_backbone(tiny_network, str(tmp_path / "nowhere"))
    _save(CONFIGS["dinov2"][0], tmp_path / "dinov2")
    with pytest.raises(TrainerError, match=r"must be a multiple of the backbone's stride 14, got 64"):
        choose_backbone(tiny_network, str(tmp_path / "dinov2"))


def test_the_stride_is_measured_without_weights() -> None:
    vision = json.loads(CONFIGS["dinov2"][0].to_json_string(use_diff=False))
    assert measure_stride_px({**vision, "patch_size": 16}) == 16
