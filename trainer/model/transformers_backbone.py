"""Backbones of ``transformers`` in the place of the published ResNet: ConvNeXt, Swin, DINOv2, ResNet and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, PreTrainedConfig

from trainer.errors import TrainerError
from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.text_encoder import build_checked_config


def build_vision_config(vision: Mapping[str, Any]) -> PreTrainedConfig:
    """Build the configuration of a backbone whose last stage alone is computed.

    Raises:
        TrainerError: the configuration names no known ``model_type``, or one without a backbone.
    """
    config = build_checked_config(vision, "backbone", "trainer.model.pretrained.choose_backbone")
    stages = getattr(config, "stage_names", None)
    if not stages:
        raise TrainerError(
            f"{config.model_type} is no backbone of transformers (AutoBackbone); choose one such as resnet, convnext, "
            "swin or dinov2"
        )
    config.out_features = [stages[-1]]
    return config


class TransformersBackbone(nn.Module):
    """Backbone of ``transformers``; its last feature map gives the image features.

    Batch norms keep their statistics, because batches are too small to estimate them.
    """

    def __init__(self, vision: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = AutoBackbone.from_config(build_vision_config(vision))
        self.width: int = self.model.channels[-1]
        """Number of channels of the features."""

    def train(self, mode: bool = True) -> TransformersBackbone:
        """Set the mode of all parts but batch norms."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def forward(self, images: Tensor, gradient_checkpointing: bool = False) -> Tensor:
        """Encode pixels (batch, 3, height, width) to features (batch, width, height / stride, width / stride)."""
        output = run_checkpointed(self.model, images.contiguous(), gradient_checkpointing=gradient_checkpointing)
        features: Tensor = output.feature_maps[-1]
        return features


def measure_stride_px(vision: Mapping[str, Any]) -> int:
    """Measure the stride of a backbone from one image feature to the next, without computing with its weights."""
    side_px = 8 * 16 * 7  # a multiple of every usual stride: 8, 14, 16, 32
    with torch.device("meta"):
        backbone = TransformersBackbone(vision).eval()
        features = backbone(torch.zeros(1, 3, side_px, side_px))
    return side_px // int(features.shape[-1])
