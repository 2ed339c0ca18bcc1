"""The baseline of the trainer's benchmark answers as the network does, and learns from the same gradients."""

from __future__ import annotations

import torch

from benchmarks.plain_network import make_plain_network
from benchmarks.trainer import make_query_batch, new_network, predict_ours, predict_plain


def test_both_give_the_same_boxes_and_gradients() -> None:
    torch.set_num_threads(1)
    network = new_network("miniature").eval()
    plain = make_plain_network(network).eval()
    some = make_query_batch(network.config, 2, torch.device("cpu"))
    found, expected = predict_ours(network, some), predict_plain(plain, some)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    found.sum().backward()
    expected.sum().backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            norm = theirs[name].grad.norm()
            assert (parameter.grad - theirs[name].grad).norm() <= 1e-3 * norm + 1e-5, name
