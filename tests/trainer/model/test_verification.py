from __future__ import annotations

import torch

from trainer.model.attention import build_attention_mask
from trainer.model.position_encoding import compute_relative_sines
from trainer.model.verification import RelativeAttention


def test_relative_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    grid, width, heads = 3, 16, 2
    attention = RelativeAttention(width, heads, 0.0, grid)
    attention.in_proj_bias.data.normal_()
    x, padding = torch.randn(1, grid * grid, width), torch.zeros(1, grid * grid, dtype=torch.bool)
    padding[:, -grid:] = True
    q, k, v = attention.project_queries(x), attention.project_keys(x), attention.project_values(x)
    table, k_weight = compute_relative_sines(grid, width // 2), attention.in_proj_weight[width : 2 * width]
    logits = torch.empty(1, heads, grid * grid, grid * grid)
    for i in range(grid * grid):
        for j in range(grid * grid):
            y, x_ = table[i // grid - j // grid + grid], table[i % grid - j % grid + grid]
            key = k[0, :, j] + (k_weight @ torch.cat([y, x_])).view(heads, -1)
            logits[0, :, i, j] = (q[0, :, i] * key).sum(-1) / (width / heads) ** 0.5
    weights = logits.masked_fill(padding[:, None, None], float("-inf")).softmax(-1)
    expected = attention.out_proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention.forward_grid(x, v, build_attention_mask(padding, x.dtype)), expected)
