"""Exemplar scoring: how much each image feature looks like an exemplar. Not part of the published network.

The appearance head predicts from an image feature what CLIP would say of the object there. An exemplar is a CLIP
feature: of an instance crop in training, of the prior at test time. The side of the exemplar learns nothing, as in ViLD
(arXiv:2104.13921) and OV-DETR (arXiv:2203.11876), so it cannot overfit to the priors of few queries.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.config import ExemplarScoringConfig

LOG_SCALE = 10.0
"""Factor of the learned logarithm of the temperature, which trains faster than the weights by this factor."""


class ExemplarScoring(nn.Module):
    """Appearance head, and the score of image features against exemplars."""

    mean_feature: Tensor

    def __init__(self, config: ExemplarScoringConfig, width: int, exemplar_dim: int) -> None:
        super().__init__()
        self.margin, self.place_margin = config.margin, config.place_margin
        self.appearance_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, exemplar_dim))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.initial_temperature) / LOG_SCALE))
        self.register_buffer("mean_feature", torch.zeros(exemplar_dim))  # of all crops of training

    def compute_appearance(self, image: Tensor) -> Tensor:
        """Compute the appearance (images, features, exemplar_dim) float32, length 1, of features (.., .., width)."""
        return F.normalize(self.appearance_head(image).float(), dim=-1)

    def center_exemplars(self, exemplars: Tensor) -> Tensor:
        """Subtract the mean feature of training, and divide by the length that is left on average.

        A mean over several images is shorter than 1 and stays so: they agree on less.

        Args:
            exemplars: (n, exemplar_dim).

        Returns:
            (n, exemplar_dim) float32.
        """
        length = (1 - self.mean_feature.square().sum()).sqrt()
        return (exemplars.float() - self.mean_feature) / length

    def forward(
        self,
        appearance: Tensor,
        padding: Tensor,
        exemplars: Tensor,
        exemplar_mask: Tensor | None,
        has_place: Tensor | None,
        query_image: Tensor,
    ) -> Tensor:
        """Score image features against each query's exemplar.

        The score is flat near the best cosine: features that look alike count alike, and words such as "left" decide.

        Args:
            appearance: (images, features, exemplar_dim) of ``compute_appearance``; gets no gradient from the score,
                which would teach it positions.
            padding: (images, features) bool, True = padding.
            exemplars: (queries, exemplar_dim).
            exemplar_mask: (queries,) bool, False = no exemplar; None: every query has one.
            has_place: (queries,) bool, True = the margin is wide; None: no query's.
            query_image: (queries,) int64, the image of each query.

        Returns:
            (queries, features) float32: sigmoid((cosine - best cosine + margin) / temperature), divided by the value
            at the best cosine; 1 without an exemplar.
        """
        centered = self.center_exemplars(exemplars)
        cosine = (appearance.detach()[query_image] * centered[:, None]).sum(-1)  # not a product, which bf16 would round
        best = cosine.masked_fill(padding[query_image], float("-inf")).amax(1, keepdim=True)
        temperature = (LOG_SCALE * self.log_temperature).exp()
        margin = torch.full_like(best, self.margin)
        if has_place is not None:
            margin = margin.masked_fill(has_place[:, None], self.place_margin)
        score = torch.sigmoid((cosine - best + margin) / temperature) / torch.sigmoid(margin / temperature)
        return score if exemplar_mask is None else score.masked_fill(~exemplar_mask[:, None], 1.0)
