"""AdamW with two learning rates, and their schedule as a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from trainer.model.network import GroundingNetwork

REFERENCE_QUERIES = 64
"""Queries of a step of the published recipe: 4 GPUs x 16."""

PRETRAINED = ("backbone.", "input_projection.", "encoder.", "text.model.")
"""Parts that are pretrained: they have a smaller learning rate and are frozen in the first epochs."""


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Settings of the optimizer; the defaults are the published recipe, for ``REFERENCE_QUERIES`` a step."""

    learning_rate: float = 1e-4
    """Learning rate, positive."""

    pretrained_learning_rate: float = 1e-5
    """Learning rate of backbone, input projection, visual encoder and text encoder, positive."""

    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """Scaling of both learning rates with the queries of a step (images x queries of each), relative to 64: none,
    linear (Goyal et al., 2017), or by the square root, which suits Adam better."""

    weight_decay: float = 1e-4
    """Weight decay of AdamW."""

    max_grad_norm: float = 0.1
    """Largest norm of all gradients together, positive; larger gradients are scaled down."""

    freeze_epochs: int = 10
    """Number of first epochs without training of the pretrained parts."""

    schedule: Literal["step", "cosine"] = "step"
    """Schedule of both learning rates."""

    lr_drop_epoch: int = 60
    """Epoch from which learning rates are a tenth, with ``step``."""

    warmup_steps: int = 0
    """Number of first steps with linearly rising learning rates."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "pretrained_learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.freeze_epochs < 0 or self.warmup_steps < 0:
            raise ValueError(
                f"freeze_epochs and warmup_steps must be at least 0, got {self.freeze_epochs} and {self.warmup_steps}"
            )


def compute_lr_scale(config: OptimizationConfig, queries_per_step: int) -> float:
    """Compute the factor of the learning rates for steps of ``queries_per_step`` queries."""
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[config.lr_scaling]
    return float((queries_per_step / REFERENCE_QUERIES) ** power)


def build_optimizer(
    network: GroundingNetwork, config: OptimizationConfig, queries_per_step: int = REFERENCE_QUERIES
) -> torch.optim.AdamW:
    """Build AdamW over the trainable parameters, in two groups; ``initial_lr`` keeps each group's learning rate."""
    import torch

    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    scale = compute_lr_scale(config, queries_per_step)
    rates = {False: config.learning_rate * scale, True: config.pretrained_learning_rate * scale}
    groups = [
        {
            "params": [parameter for name, parameter in named if name.startswith(PRETRAINED) is pretrained],
            "lr": rate,
            "initial_lr": rate,
        }
        for pretrained, rate in rates.items()
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def compute_lr_factor(config: OptimizationConfig, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Compute the factor of the learning rates at a step, counted from the start of training."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    return warm * (0.1 if step >= config.lr_drop_epoch * steps_per_epoch else 1.0)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its initial rate times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
