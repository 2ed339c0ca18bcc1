"""The baseline of the trainer's benchmark answers as the network does, and learns from the same gradients."""

from __future__ import annotations

import torch

from benchmarks.plain_network import plain_version
from benchmarks.trainer import answer_ours, answer_plainly, asked, new_network


def test_both_give_the_same_boxes_and_gradients() -> None:
    torch.set_num_threads(1)
    network = new_network("miniature").eval()
    plain = plain_version(network).eval()
    some = asked(network.config, 2, torch.device("cpu"))
    found, expected = answer_ours(network, some), answer_plainly(plain, some)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    found.sum().backward()
    expected.sum().backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            norm = theirs[name].grad.norm()
            assert (parameter.grad - theirs[name].grad).norm() <= 1e-3 * norm + 1e-5, name
