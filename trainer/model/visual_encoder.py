"""The visual encoder: self-attention of image features (DETR's encoder, post-norm)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.attention import Attention, build_attention_mask
from trainer.model.config import NetworkConfig


class EncoderLayer(nn.Module):
    """Encoder layer: self-attention and a feed-forward network, each with a residual and a norm after it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.num_heads, config.dropout)
        self.linear1 = nn.Linear(config.width, config.feedforward_width)
        self.linear2 = nn.Linear(config.feedforward_width, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Encode features (batch, features, width); see ``Encoder``, and ``build_attention_mask``."""
        placed = x + positions
        x = self.norm1(x + self.dropout(self.self_attn(placed, placed, x, mask)))
        hidden = self.dropout(F.relu(self.linear1(x)))
        result: Tensor = self.norm2(x + self.dropout(self.linear2(hidden)))
        return result


class Encoder(nn.Module):
    """Encoder; each layer adds positions to queries and keys, not to values."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor, gradient_checkpointing: bool = False) -> Tensor:
        """Encode image features.

        Args:
            x: (batch, features, width).
            positions: (batch, features, width).
            padding: (batch, features) bool, True = padding.
            gradient_checkpointing: recompute the activations within layers.

        Returns:
            (batch, features, width)
        """
        mask = build_attention_mask(padding, x.dtype)
        for layer in self.layers:
            x = run_checkpointed(layer, x, positions, mask, gradient_checkpointing=gradient_checkpointing)
        return x
