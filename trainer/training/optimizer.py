"""AdamW with two learning rates, and how they change: a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from trainer.model.network import GroundingNetwork

REFERENCE_QUERIES = 64
"""Of a step of the published recipe: 4 GPUs x 16."""

PRETRAINED = ("backbone.", "input_projection.", "encoder.", "text.model.")
"""Parts that start from other trainings: a smaller learning rate, and frozen in the first epochs."""


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """The defaults are the published recipe, for ``REFERENCE_QUERIES`` a step."""

    learning_rate: float = 1e-4
    pretrained_learning_rate: float = 1e-5
    """Of backbone, input projection, visual encoder and text encoder."""

    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """How both learning rates follow the queries of a step (images x queries of each) where these are not 64: not at
    all, in proportion (Goyal et al., 2017), or with their square root, as suits Adam better."""

    weight_decay: float = 1e-4
    max_grad_norm: float = 0.1
    """Largest norm of all gradients together."""

    freeze_epochs: int = 10
    """Epochs in which the pretrained parts do not train."""

    schedule: Literal["step", "cosine"] = "step"
    lr_drop_epoch: int = 60
    """With ``step``: learning rates are a tenth from here on."""

    warmup_steps: int = 0
    """Learning rates rise linearly over the first steps."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "pretrained_learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.freeze_epochs < 0 or self.warmup_steps < 0:
            raise ValueError("freeze_epochs and warmup_steps must not be negative")


def compute_lr_scale(config: OptimizationConfig, queries_per_step: int) -> float:
    """What the learning rates are multiplied with for steps of so many queries."""
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[config.lr_scaling]
    return float((queries_per_step / REFERENCE_QUERIES) ** power)


def build_optimizer(
    network: GroundingNetwork, config: OptimizationConfig, queries_per_step: int = REFERENCE_QUERIES
) -> torch.optim.AdamW:
    """AdamW over what may train, in two groups; each remembers its learning rate as ``initial_lr``."""
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
    """What learning rates are multiplied with at a step, counted from the start of training."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    return warm * (0.1 if step >= config.lr_drop_epoch * steps_per_epoch else 1.0)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its full learning rate times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
