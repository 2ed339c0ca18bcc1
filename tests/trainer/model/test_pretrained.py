from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
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
from trainer.model.text_encoder import build_text_config, build_text_encoder


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


@pytest.mark.parametrize("layout", ["pytorch_model.bin", "several", "file"])
def test_a_detector_is_read_from_every_layout_of_a_folder(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str, layout: str
) -> None:
    source, network = (_network(tiny_network, text_encoder, BASIC) for _ in range(2))
    state = {
        "backbone.0.body." + re.sub(r"^stages\.(\d)", lambda m: f"layer{int(m[1]) + 1}", name): tensor
        for name, tensor in source.backbone.state_dict().items()
    } | {"transformer.encoder.unused": torch.ones(1)}
    path = tmp_path
    if layout == "several":
        names = sorted(state)
        parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
        for part, held in parts.items():
            save_file({name: state[name].contiguous() for name in held}, tmp_path / part)
        weight_map = {name: part for part, held in parts.items() for name in held}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    elif layout == "file":
        path = tmp_path / "detr.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, tmp_path / layout)
    assert load_visual(network, path).parts[0] == "backbone."
    for name, tensor in source.backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], tensor), name


def test_a_folder_without_a_detector_and_an_index_that_leads_elsewhere_are_named(
    tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str
) -> None:
    network = _network(tiny_network, text_encoder, BASIC)
    with pytest.raises(TrainerError, match=r"there is no model\.safetensors, pytorch_model\.bin or index"):
        load_visual(network, tmp_path)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text('{"weight_map": {"a": "../secret.bin"}}')
    with pytest.raises(TrainerError, match="outside its folder"):
        load_visual(network, tmp_path)
    index.write_text("[]")
    with pytest.raises(TrainerError, match="no index of weights"):
        load_visual(network, tmp_path)


def test_keys_that_name_code_are_dropped_before_transformers_sees_them(text_encoder: str) -> None:
    text = json.loads((Path(text_encoder) / "config.json").read_text())
    wicked = {
        "_attn_implementation": "stranger/kernels",
        "attn_implementation": "stranger/kernels",
        "_attn_implementation_internal": "stranger/kernels",
        "auto_map": {"AutoModel": "stranger/code--model.Model"},
        "quantization_config": {"quant_method": "stranger"},
    }
    config = build_text_config({**text, **wicked})
    assert "stranger" not in config.to_json_string(use_diff=False)
    encoder = build_text_encoder({**text, **wicked})
    assert encoder.config._attn_implementation == "sdpa"
    assert build_text_config(BertConfig(hidden_size=36).to_dict()).hidden_size == 36  # id2label has numbers as keys
