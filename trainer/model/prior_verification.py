"""Verification by the prior: its match with each image feature. Not part of the published network."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.config import NetworkConfig


class AppearanceEmbeddings(NamedTuple):
    """Embeddings of image features and priors: unit vectors of one space."""

    image: Tensor
    """Embeddings (queries, features, width) of each query's image."""

    prior: Tensor
    """Embeddings (queries, width) of the priors."""


class PriorVerification(nn.Module):
    """Verification score of every image feature against the prior, by the formula for words."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.image_projection = nn.Linear(config.width, config.width)
        self.prior_projection = nn.Linear(config.prior_dim, config.width)
        self.sigma = nn.Parameter(torch.tensor(0.5))

    def forward(
        self, image: Tensor, prior: Tensor, prior_mask: Tensor | None, query_image: Tensor
    ) -> tuple[Tensor, AppearanceEmbeddings]:
        """Score image features against priors.

        Args:
            image: (images, features, width).
            prior: (queries, prior_dim).
            prior_mask: (queries,) bool, False = no prior; None: every query has one.
            query_image: (queries,) int64, the image of each query.

        Returns:
            Scores (queries, features): exp(-(1 - cosine)^2 / (2 sigma^2)), VLTVG equation 2; 1 without a prior. And
            the embeddings.
        """
        image_embeddings = F.normalize(self.image_projection(image), dim=-1)[query_image]
        prior_embeddings = F.normalize(self.prior_projection(prior.to(image.dtype)), dim=-1)
        cosine = (image_embeddings * prior_embeddings[:, None]).sum(-1)
        score = torch.exp(-((1 - cosine) ** 2) / (2 * self.sigma**2))
        if prior_mask is not None:
            score = score.masked_fill(~prior_mask[:, None], 1.0)
        return score, AppearanceEmbeddings(image_embeddings, prior_embeddings)
