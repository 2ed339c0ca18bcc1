"""Gradient checkpointing: activations within a part are not kept but computed anew for the gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_checkpointed(part: nn.Module, *inputs: Any, gradient_checkpointing: bool) -> Any:
    """``part(*inputs)``; with ``gradient_checkpointing`` only its inputs and outputs are kept for the gradients."""
    if gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(part, *inputs, use_reentrant=False)
    return part(*inputs)
