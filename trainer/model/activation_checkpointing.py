"""Gradient checkpointing: activations within a part are recomputed in the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_checkpointed(part: nn.Module, *inputs: Any, gradient_checkpointing: bool) -> Any:
    """Run ``part(*inputs)``; with ``gradient_checkpointing``, keep only its inputs and outputs for the gradients."""
    if gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(part, *inputs, use_reentrant=False)
    return part(*inputs)
