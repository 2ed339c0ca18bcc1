"""Multi-head attention, and a faster form for a single query.

Parameters carry the names of ``torch.nn.MultiheadAttention`` (``in_proj_weight``, ``in_proj_bias``, ``out_proj``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def build_attention_mask(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """Build the mask (batch, 1, 1, length) that attention adds to its logits, in the type of its projections.

    Fused attention would convert a mask of bools in each call.

    Args:
        padding: (batch, length) bool, True = ignored.
        dtype: type of the projected queries, such as that of another linear layer's output.
    """
    return torch.zeros_like(padding, dtype=dtype).masked_fill_(padding, float("-inf"))[:, None, None]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., NeurIPS 2017) in separate steps, so that queries can share projections."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project_queries(self, x: Tensor) -> Tensor:
        """Project queries: (batch, length, width) to (batch, heads, length, width / heads)."""
        return self._project(x, 0)

    def project_keys(self, x: Tensor) -> Tensor:
        """Project keys: (batch, length, width) to (batch, heads, length, width / heads)."""
        return self._project(x, 1)

    def project_values(self, x: Tensor) -> Tensor:
        """Project values: (batch, length, width) to (batch, heads, length, width / heads)."""
        return self._project(x, 2)

    def _project(self, x: Tensor, part: int) -> Tensor:
        width = x.shape[-1]
        rows = slice(part * width, (part + 1) * width)
        projected = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return projected.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Mix projected values and project the result.

        Args:
            queries: (batch, heads, query length, width / heads).
            keys: (batch, heads, key length, width / heads).
            values: (batch, heads, key length, width / heads).
            mask: (batch, 1, 1, key length) of ``build_attention_mask``.

        Returns:
            (batch, query length, width)
        """
        dropout = self.dropout if self.training else 0.0
        if queries.device.type == "cpu" and torch.is_grad_enabled():
            # Fused attention saves no time here. If a softmax is nearly saturated, its rounding changes the gradients
            # of earlier layers by up to 0.3 %.
            logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
            mixed = F.dropout((logits + mask).softmax(-1), dropout, self.training) @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return result

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend from ``query`` (batch, length, width) to ``key`` and ``value`` (batch, key length, width)."""
        return self.attend(self.project_queries(query), self.project_keys(key), self.project_values(value), mask)


class SingleQueryAttention(Attention):
    """Attention of a single query, which projects neither keys nor values.

    ``(Wq t) . (Wk k_j + b_k) = (Wk' Wq t) . k_j + constant``, and the constant leaves the softmax unchanged. The
    weights sum to one, so ``sum a_j (Wv v_j + b_v) = Wv sum a_j v_j + b_v``. A stage costs ``heads`` instead of
    ``width`` multiplications for each feature. With dropout, the weights do not sum to one; the value's bias is added
    in full.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend from ``query`` (batch, width) to ``key`` and ``value`` (batch, length, width)."""
        v_weight, v_bias = self.in_proj_weight.chunk(3)[2], self.in_proj_bias.chunk(3)[2]
        folded = self._fold_query(query)
        depth = folded.shape[-1] // self.num_heads
        mixed = F.scaled_dot_product_attention(
            folded[:, None],
            key[:, None],
            value[:, None],
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            scale=depth**-0.5,
        )[:, 0]  # (batch, heads, width)
        heads = torch.einsum("bhd,hed->bhe", mixed, v_weight.view(self.num_heads, depth, -1))
        result: Tensor = self.out_proj(heads.flatten(1) + v_bias)
        return result

    def compute_weights(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """Compute the attention weights (batch, length) of ``query`` on ``key``, mean over heads."""
        folded = self._fold_query(query)
        logits = torch.einsum("bhd,bld->bhl", folded, key) * (folded.shape[-1] // self.num_heads) ** -0.5
        mean: Tensor = (logits + mask[:, 0]).softmax(-1).mean(1)
        return mean

    def _fold_query(self, query: Tensor) -> Tensor:
        """Fold the key projection into the query: (batch, heads, width), for unprojected keys."""
        q_weight, k_weight, _ = self.in_proj_weight.chunk(3)
        q_bias = self.in_proj_bias.chunk(3)[0]
        queries = F.linear(query, q_weight, q_bias).view(query.shape[0], self.num_heads, -1)  # (batch, heads, depth)
        folded: Tensor = torch.einsum("bhe,hed->bhd", queries, k_weight.view(self.num_heads, queries.shape[-1], -1))
        return folded
