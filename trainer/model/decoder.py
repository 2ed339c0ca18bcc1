"""The decoder: one target token for each query attends to the words, then to the image, stage after stage.

ResVG initializes the token from the query's semantic prior, VLTVG with zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.attention import SingleQueryAttention, build_attention_mask
from trainer.model.config import NetworkConfig


class DecoderStage(nn.Module):
    """Decoder stage: attend to the words, then to the image, then apply the feed-forward network.

    As published, only the attention has dropout.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.word_attn = SingleQueryAttention(width, config.num_heads, config.dropout)
        self.img_attn = SingleQueryAttention(width, config.num_heads, config.dropout)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.feedforward_width),
            nn.ReLU(),
            nn.Identity(),  # the published layout counts a dropout of 0 here
            nn.Linear(config.feedforward_width, width),
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        target: Tensor,
        embeddings: tuple[Tensor, Tensor],
        words: tuple[Tensor, Tensor],
        image: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """Update the target token.

        Args:
            target: (queries, width).
            embeddings: (1, width) each, added to the token before it attends to the words and to the image.
            words: features (queries, length, width) and their mask (queries, 1, 1, length).
            image: keys, values (queries, features, width) and their mask (queries, 1, 1, features).

        Returns:
            (queries, width)
        """
        text, text_mask = words
        attended_words = self.norm[0](self.word_attn(target + embeddings[0], text, text, text_mask))
        target = self.norm[1](target + self.img_attn(attended_words + embeddings[1], *image))
        result: Tensor = self.norm[2](target + self.ffn(target))
        return result


class Decoder(nn.Module):
    """Decoder: the stages, the learned embeddings they share, and the prior branch."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderStage(config) for _ in range(config.num_stages))
        self.norm = nn.LayerNorm(config.width)
        self.visual_embedding = nn.Parameter(torch.empty(1, config.width))
        self.text_embedding = nn.Parameter(torch.empty(1, config.width))
        self.num_target_tokens = config.num_target_tokens
        self.target_embedding: nn.Parameter | None = None
        if config.num_target_tokens > 1:
            self.target_embedding = nn.Parameter(torch.empty(config.num_target_tokens, config.width))
        self.prior_scale = config.prior_scale
        self.prior: nn.Sequential | None = None
        if config.starts_from_prior:
            self.prior = nn.Sequential(
                nn.Linear(config.prior_dim, config.prior_dim),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.prior_dim, config.width),
            )

    def compute_initial_target(self, text: Tensor, prior: Tensor | None, prior_mask: Tensor | None) -> Tensor:
        """Compute the first target (queries, width) from the priors; zero for a query without a prior.

        Several tokens of a query follow one another, (queries * tokens, width); each adds its embedding.
        """
        if self.prior is None or prior is None:
            target = text.new_zeros(text.shape[0], text.shape[-1])
        else:
            target = self.prior((prior * self.prior_scale).to(text.dtype))
            target = target if prior_mask is None else target * prior_mask[:, None]
        if self.target_embedding is None:
            return target
        return (target[:, None] + self.target_embedding.to(target.dtype)).flatten(0, 1)

    def forward(
        self,
        target: Tensor,
        words: tuple[Tensor, Tensor],
        image: tuple[Tensor, Tensor, Tensor],
        gradient_checkpointing: bool = False,
    ) -> Tensor:
        """Return the target after each stage (stages, queries, width).

        Args:
            target: first target (queries, width), of ``compute_initial_target``.
            words: features (queries, length, width) and padding (queries, length).
            image: keys, values (queries, features, width) and padding (queries, features).
            gradient_checkpointing: recompute the activations within stages.
        """
        tensors: tuple[Tensor, ...] = (*words, *image)
        if self.num_target_tokens > 1:  # each token attends by itself
            tensors = tuple(tensor.repeat_interleave(self.num_target_tokens, 0) for tensor in tensors)
        text, text_padding, keys, values, padding = tensors
        words = (text, build_attention_mask(text_padding, text.dtype))
        image = (keys, values, build_attention_mask(padding, text.dtype))
        outputs, embeddings = [], (self.visual_embedding, self.text_embedding)
        for layer in self.layers:
            target = run_checkpointed(
                layer, target, embeddings, words, image, gradient_checkpointing=gradient_checkpointing
            )
            outputs.append(self.norm(target))
        return torch.stack(outputs)
