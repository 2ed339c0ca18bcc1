"""The decoder: one target token per query reads the words, then the image, stage after stage.

ResVG starts the token from the query's semantic prior, VLTVG from zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.model.activation_checkpointing import run_checkpointed
from trainer.model.attention import SingleQueryAttention
from trainer.model.config import NetworkConfig


class DecoderStage(nn.Module):
    """What do the words ask of the target seen so far, where is that in the image, and what is it.

    As published, only the attention drops anything.
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
        """
        Args:
            target: (queries, width).
            embeddings: what is added to the token before it reads the words, and the image; (1, width) each.
            words: features (queries, length, width) and padding (queries, length).
            image: keys, values (queries, features, width) and padding (queries, features).
        """
        text, text_padding = words
        attended_words = self.norm[0](self.word_attn(target + embeddings[0], text, text, text_padding))
        target = self.norm[1](target + self.img_attn(attended_words + embeddings[1], *image))
        result: Tensor = self.norm[2](target + self.ffn(target))
        return result


class Decoder(nn.Module):
    """The stages, the learned embeddings that all of them share, and the branch of the prior."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderStage(config) for _ in range(config.num_stages))
        self.norm = nn.LayerNorm(config.width)
        self.visual_embedding = nn.Parameter(torch.empty(1, config.width))
        self.text_embedding = nn.Parameter(torch.empty(1, config.width))
        self.prior: nn.Sequential | None = None
        if config.use_prior:
            self.prior = nn.Sequential(
                nn.Linear(config.prior_dim, config.prior_dim),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.prior_dim, config.width),
            )

    def compute_initial_target(self, text: Tensor, prior: Tensor | None, prior_mask: Tensor | None) -> Tensor:
        """(queries, width): made of the priors, and zero where there is none."""
        if self.prior is None or prior is None:
            return text.new_zeros(len(text), text.shape[-1])
        target: Tensor = self.prior(prior.to(text.dtype))
        return target if prior_mask is None else target * prior_mask[:, None]

    def forward(
        self,
        target: Tensor,
        words: tuple[Tensor, Tensor],
        image: tuple[Tensor, Tensor, Tensor],
        gradient_checkpointing: bool = False,
    ) -> Tensor:
        """(stages, queries, width) from the first target (queries, width); other shapes as in ``DecoderStage``."""
        outputs = []
        for layer in self.layers:
            embeddings = (self.visual_embedding, self.text_embedding)
            target = run_checkpointed(
                layer, target, embeddings, words, image, gradient_checkpointing=gradient_checkpointing
            )
            outputs.append(self.norm(target))
        return torch.stack(outputs)
