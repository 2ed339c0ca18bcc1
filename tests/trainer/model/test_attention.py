from __future__ import annotations

import torch
from torch import nn

from trainer.model.attention import Attention, SingleQueryAttention, build_attention_mask


def test_one_query_attends_as_many_do() -> None:
    torch.manual_seed(0)
    short, full = SingleQueryAttention(16, 2, 0.0), Attention(16, 2, 0.0)
    short.in_proj_bias.data.normal_()
    full.load_state_dict(short.state_dict())
    query, key, value = torch.randn(3, 16), torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    padding = torch.arange(7) >= torch.tensor([7, 4, 1])[:, None]
    mask = build_attention_mask(padding, torch.float32)
    torch.testing.assert_close(short(query, key, value, mask), full(query[:, None], key, value, mask)[:, 0])


def test_the_weights_of_one_query_are_those_of_standard_attention() -> None:
    torch.manual_seed(0)
    own, standard = SingleQueryAttention(8, 2, 0.0), nn.MultiheadAttention(8, 2, batch_first=True)
    standard.load_state_dict(own.state_dict())
    query, key = torch.randn(3, 8), torch.randn(3, 5, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    expected = standard(query[:, None], key, key, key_padding_mask=padding)[1][:, 0]
    mask = build_attention_mask(padding, torch.float32)
    torch.testing.assert_close(own.compute_weights(query, key, mask), expected)
