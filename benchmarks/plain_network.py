"""Plain implementation of the network: the baseline of ``benchmarks.trainer``.

Attention returns its weights. The bias of relative positions is gathered over 400 x 400 pairs. Batch norm is a separate
pass. Every query has its own copy of the image. Each stage projects keys and values again. Parameters have the names of
``trainer.model.network``, so that the same weights load.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from trainer.model.backbone import Block, BottleneckBlock, FrozenBatchNorm, ResNet
from trainer.model.config import NetworkConfig
from trainer.model.network import BoxHead, GroundingNetwork
from trainer.model.position_encoding import compute_grid_padding, compute_grid_positions, compute_relative_sines


class PlainBatchNorm(FrozenBatchNorm):
    """Frozen batch norm as a separate pass over the features."""

    def apply_after(self, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + 1e-5).rsqrt()
        shift = self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale
        return convolution(x) * scale + shift


class PlainBlock(nn.Module):
    """Bottleneck or basic block whose every operation makes a new tensor."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        for name, part in block.named_children():
            setattr(self, name, part)
        self.num_convolutions = 3 if isinstance(block, BottleneckBlock) else 2

    def forward(self, x: Tensor) -> Tensor:
        hidden = x
        for i in range(1, self.num_convolutions + 1):
            hidden = getattr(self, f"bn{i}").apply_after(getattr(self, f"conv{i}"), hidden)
            hidden = F.relu(hidden) if i < self.num_convolutions else hidden
        downsample = getattr(self, "downsample", None)
        return F.relu(hidden + (downsample[1].apply_after(downsample[0], x) if downsample is not None else x))


class PlainBackbone(ResNet):
    """Backbone whose stem makes new tensors as well."""

    def forward(self, images: Tensor, gradient_checkpointing: bool = False) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1.apply_after(self.conv1, images)), kernel_size=3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
        return x


def build_plain_backbone(config: NetworkConfig) -> ResNet:
    backbone = PlainBackbone(config.backbone)
    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, FrozenBatchNorm):
                setattr(module, name, PlainBatchNorm(len(child.weight)))
    for stage in backbone.stages:
        for name, block in list(stage.named_children()):
            setattr(stage, name, PlainBlock(block))
    return backbone


def new_attention(config: NetworkConfig) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(config.width, config.num_heads, dropout=config.dropout, batch_first=True)


class PlainEncoderLayer(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attn = new_attention(config)
        self.linear1 = nn.Linear(config.width, config.feedforward_width)
        self.linear2 = nn.Linear(config.feedforward_width, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        mixed, _ = self.self_attn(x + positions, x + positions, x, key_padding_mask=padding)
        x = self.norm1(x + self.dropout(mixed))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class PlainRelativeAttention(nn.Module):
    """Attention with logits of content and of positions; the latter come from a table of differences."""

    table: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.num_heads, self.grid, self.dropout = config.num_heads, config.grid, config.dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.width, config.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * config.width))
        self.out_proj = nn.Linear(config.width, config.width)
        self.register_buffer("table", compute_relative_sines(config.grid, config.width // 2), persistent=False)

    def forward(self, placed: Tensor, values: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        queries, keys, mixed = (
            self._split_heads(F.linear(x, w, b))
            for x, w, b in zip((placed, placed, values), weights, biases, strict=True)
        )
        depth = queries.shape[-1]
        logits = queries @ keys.transpose(-1, -2)
        counts = (~padding).view(-1, self.grid, self.grid)
        for half, axis in zip(weights[1].chunk(2, dim=1), (1, 2), strict=True):
            indices = counts.cumsum(axis).flatten(1)  # (batch, features)
            difference = indices[:, :, None] - indices[:, None, :] + self.grid  # (batch, features, features)
            by_difference = queries @ self._split_heads(F.linear(self.table, half)[None]).transpose(-1, -2)
            index = difference.clamp(0, 2 * self.grid)[:, None].expand(-1, self.num_heads, -1, -1)
            logits = logits + by_difference.gather(-1, index)
        logits = (logits / depth**0.5).masked_fill(padding[:, None, None, :], float("-inf"))
        shares = F.dropout(logits.softmax(-1), self.dropout, self.training)
        return self.out_proj((shares @ mixed).transpose(1, 2).flatten(2)), shares

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)


class PlainVerification(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.word_attention, self.context_word_attention = new_attention(config), new_attention(config)
        self.context_attention = PlainRelativeAttention(config)
        self.image_projection, self.text_projection = nn.Linear(width, width), nn.Linear(width, width)
        self.image_norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.scale, self.sigma = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([0.5]))

    def forward(self, image: Tensor, padding: Tensor, text: Tensor, text_padding: Tensor) -> Tensor:
        attended_words, _ = self.word_attention(image, text, text, key_padding_mask=text_padding)
        projected = F.normalize(self.image_projection(image), dim=-1)
        cosine = (projected * F.normalize(self.text_projection(attended_words), dim=-1)).sum(-1, keepdim=True)
        score = self.scale * torch.exp(-((1 - cosine) ** 2) / (2 * self.sigma**2))
        context, _ = self.context_word_attention(image, text, text, key_padding_mask=text_padding)
        gathered, _ = self.context_attention(image + context, image, padding)
        return (self.image_norm(image) + self.context_norm(gathered)) * score


class PlainDecoderStage(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.word_attn, self.img_attn = new_attention(config), new_attention(config)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.feedforward_width),
            nn.ReLU(),
            nn.Identity(),
            nn.Linear(config.feedforward_width, width),
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))


class PlainDecoder(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, prior_dim = config.width, config.prior_dim
        self.layers = nn.ModuleList(PlainDecoderStage(config) for _ in range(config.num_stages))
        self.norm = nn.LayerNorm(width)
        self.visual_embedding = nn.Parameter(torch.empty(1, width))
        self.text_embedding = nn.Parameter(torch.empty(1, width))
        self.prior = nn.Sequential(
            nn.Linear(prior_dim, prior_dim), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(prior_dim, width)
        )

    def forward(
        self, prior: Tensor, text: Tensor, text_padding: Tensor, keys: Tensor, values: Tensor, padding: Tensor
    ) -> Tensor:
        target, outputs = self.prior(prior)[:, None], []
        for stage in self.layers:
            attended_text, _ = stage.word_attn(
                target + self.visual_embedding, text, text, key_padding_mask=text_padding
            )
            attended_text = stage.norm[0](attended_text) + self.text_embedding
            output, _ = stage.img_attn(attended_text, keys, values, key_padding_mask=padding)
            target = stage.norm[1](target + output)
            target = stage.norm[2](target + stage.ffn(target))
            outputs.append(self.norm(target)[:, 0])
        return torch.stack(outputs)


class PlainText(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        values = dict(config.text)
        kind = AutoConfig.for_model(values.pop("model_type"), **values)
        self.num_layers = config.num_text_layers
        self.model = AutoModel.from_config(kind, attn_implementation="eager")
        self.projection = nn.Linear(kind.hidden_size, config.width)

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        output = self.model(input_ids=token_ids, attention_mask=token_mask.long(), output_hidden_states=True)
        return self.projection(torch.stack(output.hidden_states[-self.num_layers :]).mean(0))


class PlainNetwork(nn.Module):
    """Network with one image per query."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_plain_backbone(config)
        self.input_projection = nn.Conv2d(config.backbone.widths[-1], config.width, 1)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(PlainEncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.text = PlainText(config)
        self.verification = PlainVerification(config)
        self.decoder = PlainDecoder(config)
        self.box_head = BoxHead(config.width)

    def forward(
        self, images: Tensor, padding_mask: Tensor, token_ids: Tensor, token_mask: Tensor, prior: Tensor
    ) -> Tensor:
        """Return (stages, queries, 4) from (queries, 3, size, size), (queries, 40) tokens and (queries, prior_dim)."""
        features = self.input_projection(self.backbone(images))
        if not self.config.mask_padding:
            padding_mask = torch.zeros_like(padding_mask)
        padding = compute_grid_padding(padding_mask, *features.shape[-2:])
        positions = compute_grid_positions(padding, self.config.width)
        padding, tokens = padding.flatten(1), features.flatten(2).transpose(1, 2)
        if self.config.add_position_to_features:
            tokens = tokens + positions
        for layer in self.encoder.layers:
            tokens = layer(tokens, positions, padding)
        text = self.text(token_ids, token_mask)
        output = self.verification(tokens, padding, text, ~token_mask)
        return self.box_head(self.decoder(prior, text, ~token_mask, output + positions, tokens, padding))


def make_plain_network(network: GroundingNetwork) -> PlainNetwork:
    """Return a plain network with the same weights, and the same parts frozen."""
    plain = PlainNetwork(network.config)
    plain.load_state_dict(network.state_dict())  # their layout in memory stays the usual one
    trains = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(trains[name])
    return plain
