"""Discriminative features: the match of each image feature with the query, and its context (VLTVG, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.attention import Attention, build_attention_mask
from trainer.model.config import NetworkConfig
from trainer.model.position_encoding import compute_relative_sines


class RelativeAttention(Attention):
    """Self-attention on a grid with relative positions: rows and columns between two features enter the logits.

    ``logit_ij = q_i . (k_j + Wk_rows y(row_i - row_j) + Wk_columns x(column_i - column_j)) / sqrt(depth)``, where
    ``Wk_rows`` and ``Wk_columns`` are the halves of the key projection's input. The second term depends on j only
    through its row, the third through its column. So each query is extended by one number for every row and column
    of the grid, and each key by the indicators of its own. The product of these gives the sum without a table of
    features x features, and fused attention computes it.

    The image is a rectangle on the canvas. So differences of unpadded rows equal differences of grid rows.
    """

    table: Tensor

    def __init__(self, width: int, num_heads: int, dropout: float, grid: int) -> None:
        super().__init__(width, num_heads, dropout)
        self.grid = grid
        self.register_buffer("table", compute_relative_sines(grid, width // 2), persistent=False)

    def forward_grid(self, placed: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Compute self-attention within each query's grid.

        Args:
            placed: (queries, grid * grid, width), the input of queries and keys.
            values: (queries, heads, grid * grid, depth), projected.
            mask: (queries, 1, 1, grid * grid) of ``build_attention_mask``.

        Returns:
            (queries, grid * grid, width)
        """
        queries, keys = self.project_queries(placed), self.project_keys(placed)
        depth = queries.shape[-1]
        extended_queries = torch.cat([queries, *self._compute_position_logits(queries)], dim=-1)
        one_hot = torch.eye(self.grid, device=keys.device, dtype=keys.dtype)
        indicators = torch.cat(
            [one_hot.repeat_interleave(self.grid, 0), one_hot.repeat(self.grid, 1)], dim=1
        )  # (grid * grid, 2 * grid): ones at the row and at the column of each feature
        extended_keys = torch.cat([keys, indicators.expand(*keys.shape[:2], -1, -1)], dim=-1)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            extended_queries,
            extended_keys,
            values,
            attn_mask=mask,
            dropout_p=dropout,
            scale=depth**-0.5,
        )
        result: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return result

    def _compute_position_logits(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits with every row and every column: two of (queries, heads, features, grid)."""
        width = self.in_proj_weight.shape[1]
        k_weight = self.in_proj_weight[width : 2 * width]
        on_grid = queries.view(*queries.shape[:2], self.grid, self.grid, -1)  # (queries, heads, row, column, depth)
        steps = torch.arange(self.grid, device=queries.device)
        difference = steps[:, None] - steps[None, :] + self.grid  # (own, other) -> row of the table
        rows, columns = (
            F.linear(self.table, half).view(len(self.table), self.num_heads, -1)[
                difference
            ]  # (own, other, heads, depth)
            for half in k_weight.chunk(2, dim=1)
        )
        by_row = torch.einsum("qhrcd,rshd->qhrcs", on_grid, rows)
        by_column = torch.einsum("qhrcd,cshd->qhrcs", on_grid, columns)
        return by_row.flatten(2, 3), by_column.flatten(2, 3)


class Verification(nn.Module):
    """Verification score of every image feature against the query, and context features led by the words."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, heads, dropout = config.width, config.num_heads, config.dropout
        self.word_attention = Attention(width, heads, dropout)
        self.context_word_attention = Attention(width, heads, dropout)
        self.context_attention = RelativeAttention(width, heads, dropout, config.grid)
        self.image_projection, self.text_projection = nn.Linear(width, width), nn.Linear(width, width)
        self.image_norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.scale = nn.Parameter(torch.tensor([1.0]))
        self.sigma = nn.Parameter(torch.tensor([0.5]))

    def forward(
        self, image: Tensor, image_padding: Tensor, text: Tensor, text_padding: Tensor, query_image: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute discriminative features; terms without the query are computed once for each image.

        Args:
            image: (images, features, width).
            image_padding: (images, features) bool.
            text: (queries, length, width).
            text_padding: (queries, length) bool.
            query_image: (queries,) int64, the image of each query.

        Returns:
            Discriminative features (queries, features, width), and the verification scores (queries, features).
        """
        text_mask = build_attention_mask(text_padding, text.dtype)
        score = self._score(image, text, text_mask, query_image)
        words = self.context_word_attention
        keys, values = words.project_keys(text), words.project_values(text)
        context = words.attend(words.project_queries(image)[query_image], keys, values, text_mask)
        gathered = self.context_attention.forward_grid(
            image[query_image] + context,
            self.context_attention.project_values(image)[query_image],
            build_attention_mask(image_padding[query_image], text.dtype),
        )
        features: Tensor = (self.image_norm(image)[query_image] + self.context_norm(gathered)) * score
        return features, score.squeeze(-1)

    def _score(self, image: Tensor, text: Tensor, text_mask: Tensor, query_image: Tensor) -> Tensor:
        """Score features (queries, features, 1): scale * exp(-(1 - cosine)^2 / (2 sigma^2)), VLTVG equation 2."""
        words = self.word_attention
        keys, values = words.project_keys(text), words.project_values(text)
        attended_words = words.attend(words.project_queries(image)[query_image], keys, values, text_mask)
        image_embeddings = F.normalize(self.image_projection(image), dim=-1)[query_image]
        cosine = (image_embeddings * F.normalize(self.text_projection(attended_words), dim=-1)).sum(-1, keepdim=True)
        return self.scale * torch.exp(-((1 - cosine) ** 2) / (2 * self.sigma**2))
