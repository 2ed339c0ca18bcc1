"""The text encoder: the mean of the last layers of a ``transformers`` encoder, projected to the network's width."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from trainer.errors import TrainerError
from trainer.model.attention import build_attention_mask
from trainer.model.config import NetworkConfig


def build_text_encoder(text: Mapping[str, Any]) -> nn.Module:
    """Build an encoder of this configuration with random weights.

    Raises:
        TrainerError: the configuration names no known ``model_type``.
    """
    encoder: nn.Module = AutoModel.from_config(build_text_config(text))
    return encoder


def build_text_config(text: Mapping[str, Any]) -> PreTrainedConfig:
    """Build the configuration of a text encoder; see ``build_checked_config``."""
    return build_checked_config(text, "text encoder", "trainer.model.pretrained.choose_text_encoder")


def build_checked_config(record: Mapping[str, Any], part: str, remedy: str) -> PreTrainedConfig:
    """Build the configuration of a model, without keys that choose code instead of sizes.

    Such keys are private ones, kernels of attention and quantization: transformers would download what they name.

    Args:
        record: configuration as JSON, with its ``model_type``.
        part: name of the part of the network, for errors.
        remedy: function that chooses another one.

    Raises:
        TrainerError: the configuration names no known ``model_type``.
    """
    values = _drop_code_keys(record)
    kind = values.pop("model_type", None)
    try:
        config: PreTrainedConfig = AutoConfig.for_model(kind, **values)
    except (ValueError, KeyError) as error:
        raise TrainerError(
            f"the network's {part} has model_type {kind!r}, which transformers does not know; choose one with {remedy}"
        ) from error
    return config


def _drop_code_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _drop_code_keys(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if not str(name).startswith("_") and name not in _CODE_KEYS  # id2label has numbers
    }


_CODE_KEYS = frozenset(
    {"attn_implementation", "experts_implementation", "auto_map", "quantization_config", "trust_remote_code"}
)


class TextEncoder(nn.Module):
    """Text encoder with a projection to the network's width."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.num_layers = config.num_text_layers
        self.model = build_text_encoder(config.text)
        self.projection = nn.Linear(self.model.config.hidden_size, config.width)  # type: ignore[union-attr,arg-type]
        pooler = getattr(self.model, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)  # its output is not used

    def find_layers(self) -> list[nn.Module]:
        """Return the encoder's layers, without the hooks of ``transformers`` within them, which break compiled graphs.

        These hooks record attention weights, which nobody uses; those on the layers themselves record hidden states.
        An encoder that keeps its layers in no list has none.
        """
        with torch.no_grad():  # transformers adds its hooks in the first call
            self.model(
                input_ids=torch.zeros(1, 1, dtype=torch.int64, device=self.projection.weight.device),
                output_hidden_states=True,
            )
        layers = list(next((module for module in self.model.modules() if isinstance(module, nn.ModuleList)), []))
        for inner in (module for layer in layers for module in layer.modules() if module is not layer):
            inner._forward_hooks.clear()
        return layers

    def forward(self, token_ids: Tensor, token_mask: Tensor, frozen: bool = False) -> Tensor:
        """Encode queries.

        Args:
            token_ids: (queries, length) int64.
            token_mask: (queries, length) bool, True = a real token.
            frozen: compute no gradients below the projection.

        Returns:
            (queries, length, width)
        """
        with torch.no_grad() if frozen else nullcontext():
            output = self.model(input_ids=token_ids, attention_mask=self._expand(token_mask), output_hidden_states=True)
            words = torch.stack(output.hidden_states[-self.num_layers :]).mean(0)
        result: Tensor = self.projection(words)
        return result

    def _expand(self, token_mask: Tensor) -> Tensor:
        """Return the attention mask. BERT's is ready for use: from others, transformers reads whether all are tokens.

        A GPU would have to finish its work before that answer.
        """
        config, device = self.model.config, token_mask.device.type
        if config.model_type == "bert" and config._attn_implementation == "sdpa":  # type: ignore[union-attr]
            is_cast = torch.is_autocast_enabled(device)
            return build_attention_mask(
                ~token_mask, torch.get_autocast_dtype(device) if is_cast else self.projection.weight.dtype
            )
        return token_mask.long()
