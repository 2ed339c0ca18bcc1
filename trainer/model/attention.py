"""Multi-head attention, and its short form for a single query.

Parameters carry the names of ``torch.nn.MultiheadAttention`` (``in_proj_weight``, ``in_proj_bias``, ``out_proj``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Standard multi-head attention with projections and biases (Vaswani et al., NeurIPS 2017), in separate steps.

    The steps let a caller project once what many queries share.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def queries(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> (batch, heads, length, width / heads)"""
        return self._project(x, 0)

    def keys(self, x: Tensor) -> Tensor:
        """As ``queries``."""
        return self._project(x, 1)

    def values(self, x: Tensor) -> Tensor:
        """As ``queries``."""
        return self._project(x, 2)

    def _project(self, x: Tensor, part: int) -> Tensor:
        width = x.shape[-1]
        rows = slice(part * width, (part + 1) * width)
        projected = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return projected.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, padding: Tensor) -> Tensor:
        """Mix projected values and project the result.

        Fused, but not where a CPU computes gradients: there it saves no time, and where a softmax is nearly saturated
        its rounding moves the gradients of what lies below by up to 0.3 %.

        Args:
            queries: (batch, heads, query length, width / heads).
            keys: (batch, heads, key length, width / heads).
            values: as the keys.
            padding: (batch, key length) bool, True = not to be looked at.

        Returns:
            (batch, query length, width)
        """
        dropout = self.dropout if self.training else 0.0
        hidden = padding[:, None, None, :]
        if queries.device.type == "cpu" and torch.is_grad_enabled():
            logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
            mixed = F.dropout(logits.masked_fill(hidden, float("-inf")).softmax(-1), dropout, self.training) @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=~hidden, dropout_p=dropout)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return result

    def forward(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
        """``query`` (batch, length, width) looks at ``key`` and takes from ``value`` (batch, key length, width)."""
        return self.attend(self.queries(query), self.keys(key), self.values(value), padding)


class SingleQueryAttention(Attention):
    """The same function for one query: its projection meets the keys before theirs, and the values after mixing.

    ``(Wq t) . (Wk k_j + b_k) = (Wk' Wq t) . k_j + constant``, and the constant leaves the softmax unchanged; weights
    sum to one, so ``sum a_j (Wv v_j + b_v) = Wv sum a_j v_j + b_v``. So no key or value is ever projected: a stage
    costs ``heads`` instead of ``width`` multiplications a feature. (Dropped weights no longer sum to one; the value's
    bias is added in full then.)
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
        """``query`` (batch, width) looks at ``key`` and takes from ``value`` (batch, length, width)."""
        v_weight, v_bias = self.in_proj_weight.chunk(3)[2], self.in_proj_bias.chunk(3)[2]
        folded = self._fold_query(query)
        depth = folded.shape[-1] // self.num_heads
        mixed = F.scaled_dot_product_attention(
            folded[:, None],
            key[:, None],
            value[:, None],
            attn_mask=~padding[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            scale=depth**-0.5,
        )[:, 0]  # (batch, heads, width)
        heads = torch.einsum("bhd,hed->bhe", mixed, v_weight.view(self.num_heads, depth, -1))
        result: Tensor = self.out_proj(heads.flatten(1) + v_bias)
        return result

    def compute_weights(self, query: Tensor, key: Tensor, padding: Tensor) -> Tensor:
        """(batch, length): how much ``query`` looks at each of ``key``, mean over heads; shapes as in ``forward``."""
        folded = self._fold_query(query)
        logits = torch.einsum("bhd,bld->bhl", folded, key) * (folded.shape[-1] // self.num_heads) ** -0.5
        mean: Tensor = logits.masked_fill(padding[:, None], float("-inf")).softmax(-1).mean(1)
        return mean

    def _fold_query(self, query: Tensor) -> Tensor:
        """(batch, heads, width): each head's query as it meets keys that are not projected."""
        q_weight, k_weight, _ = self.in_proj_weight.chunk(3)
        q_bias = self.in_proj_bias.chunk(3)[0]
        queries = F.linear(query, q_weight, q_bias).view(len(query), self.num_heads, -1)  # (batch, heads, depth)
        folded: Tensor = torch.einsum("bhe,hed->bhd", queries, k_weight.view(self.num_heads, queries.shape[-1], -1))
        return folded
