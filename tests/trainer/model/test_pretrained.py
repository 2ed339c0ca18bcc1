from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
)

from trainer.errors import TrainerError
from trainer.model.config import BackboneConfig, NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder, load_text, load_visual


def _resnet(**changes: object) -> ResNetConfig:
    values = {
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24],
        "depths": [1, 2, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3"],
    }
    return ResNetConfig(**{**values, **changes})


def _randomise_statistics(model: torch.nn.Module) -> None:
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)


def _network(config: NetworkConfig, text_encoder: str, backbone: BackboneConfig) -> GroundingNetwork:
    return GroundingNetwork(choose_text_encoder(replace(config, backbone=backbone), text_encoder))


BASIC = BackboneConfig(block="basic", stem_width=8, widths=(8, 16, 24), depths=(1, 2, 1))


def test_the_backbone_of_an_rt_detr_gives_the_same_features(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    detector = RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=_resnet(),
            freeze_backbone_batch_norms=False,
            encoder_hidden_dim=16,
            encoder_in_channels=[16, 24],
            feat_strides=[8, 16],
            encode_proj_layers=[1],
            num_feature_levels=2,
            encoder_ffn_dim=16,
            encoder_attention_heads=2,
            d_model=16,
            decoder_in_channels=[16, 16],
            decoder_ffn_dim=16,
            decoder_attention_heads=2,
            decoder_layers=1,
            decoder_n_points=2,
            num_queries=5,
        )
    ).eval()
    _randomise_statistics(detector)
    detector.save_pretrained(tmp_path)
    network = _network(tiny_network, text_encoder, BASIC)
    loaded = load_visual(network, tmp_path)
    assert loaded.parts == ("backbone.",)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = detector.model.backbone.model(images).feature_maps[-1]
        torch.testing.assert_close(network.backbone(images), expected)


def test_a_detr_folder_gives_backbone_projection_and_encoder(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    backbone = _resnet(hidden_sizes=[16, 32], depths=[1, 1], layer_type="bottleneck", out_features=["stage2"])
    detector = DetrForObjectDetection(
        DetrConfig(
            use_timm_backbone=False,
            backbone=None,
            backbone_config=backbone,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_queries=4,
        )
    ).eval()
    detector.save_pretrained(tmp_path)
    ours = BackboneConfig(block="bottleneck", stem_width=8, widths=(16, 32), depths=(1, 1))
    network = _network(replace(tiny_network, add_position_to_features=False), text_encoder, ours).eval()
    loaded = load_visual(network, tmp_path)
    assert loaded.parts == ("backbone.", "input_projection.", "encoder.")
    images, padding = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    with torch.no_grad():
        expected = detector.model(images, pixel_mask=(~padding).long()).encoder_last_hidden_state
        torch.testing.assert_close(network.encode_images(images, padding).tokens, expected, atol=1e-4, rtol=1e-4)


def test_a_detr_pth_file_gives_backbone_projection_and_encoder(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    source, network = (_network(tiny_network, text_encoder, BASIC) for _ in range(2))
    names = {"input_projection.": "input_proj.", "encoder.": "transformer.encoder."}
    state = {"transformer.decoder.norm.weight": torch.ones(3)}
    for name, tensor in source.state_dict().items():
        if name.startswith("backbone."):
            stage = name.removeprefix("backbone.").split(".")
            renamed = [f"layer{int(stage[1]) + 1}", *stage[2:]] if stage[0] == "stages" else stage
            state[".".join(["backbone.0.body", *renamed])] = tensor
        for ours, theirs in names.items():
            if name.startswith(ours):
                state[name.replace(ours, theirs, 1)] = tensor
    torch.save({"model": state}, tmp_path / "detr.pth")
    loaded = load_visual(network, tmp_path / "detr.pth")
    assert loaded.unexpected == ("transformer.decoder.norm.weight",)
    for name, tensor in source.state_dict().items():
        if name.startswith(("backbone.", "input_projection.", "encoder.")):
            assert torch.equal(network.state_dict()[name], tensor), name


def test_a_backbone_of_other_sizes_is_refused(tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str) -> None:
    source = _network(tiny_network, text_encoder, BASIC)
    state = {
        "backbone.0.body." + name.removeprefix("backbone.").replace("stages.", "layer"): tensor
        for name, tensor in source.state_dict().items()
        if name.startswith("backbone.conv1")
    }
    torch.save({**state, "transformer.encoder.norm": torch.ones(1)}, tmp_path / "half.pth")
    with pytest.raises(TrainerError, match=r"tensors are missing \(backbone\.bn1\.bias, "):
        load_visual(source, tmp_path / "half.pth")


def test_the_weights_of_a_text_encoder_load_and_their_absence_is_named(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    encoder = BertModel(BertConfig.from_pretrained(text_encoder))
    encoder.save_pretrained(tmp_path)
    network = _network(tiny_network, str(tmp_path), BASIC)
    load_text(network, str(tmp_path))
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(network.text.model.state_dict()[name], tensor)
    with pytest.raises(TrainerError, match="no weights of a text encoder"):
        load_text(network, text_encoder)
