"""Resumable training loop of all miniature models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

console = Console()


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Length, learning rate and averaging of one training."""

    name: str
    """Name of the checkpoint in the work folder."""

    steps: int
    learning_rate: float
    warmup_steps: int = 100
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are the result."""

    max_grad_norm: float = 1.0
    save_every_s: float = 90.0
    log_every_steps: int = 50


def train_model(config: LoopConfig, model: nn.Module, compute_loss: Callable[[int], Tensor], folder: Path) -> None:
    """Train ``model`` in place and leave the averaged weights in it; resume from the folder's checkpoint.

    Args:
        config: length, learning rate and averaging.
        model: model whose parameters with ``requires_grad`` are trained.
        compute_loss: loss of a step as a function of its number alone, so that a resumed run has the same data.
        folder: folder of ``<name>.pt``, written atomically.
    """
    path = folder / f"{config.name}.pt"
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
    )
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    step = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        step, average = state["step"], state["average"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        console.print(f"{config.name}: resuming at step {step:,} of {config.steps:,}")
    saved_at = started_at = time.monotonic()
    first, recent = step, []
    model.train()
    while step < config.steps:
        torch.manual_seed(step)
        warm = min(1.0, (step + 1) / config.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = (
                config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
            )
        loss = compute_loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise RuntimeError(f"{config.name}: loss {recent[-1]} at step {step}; lower the learning rate")
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.dtype.is_floating_point:
                    average[name].lerp_(value, 1 - decay)
                else:
                    average[name].copy_(value)
        if step % config.log_every_steps == 0 or step == config.steps:
            pace = (time.monotonic() - started_at) / (step - first)
            mean = sum(recent) / len(recent)
            left = pace * (config.steps - step) / 60
            console.print(
                f"{config.name} {step:,}/{config.steps:,} loss {mean:.4f} {pace:.2f} s/step, {left:.0f} min left"
            )
            recent = []
        if time.monotonic() - saved_at > config.save_every_s or step == config.steps:
            partial = path.with_suffix(".partial")
            state = {
                "step": step,
                "model": model.state_dict(),
                "average": average,
                "optimizer": optimizer.state_dict(),
            }
            torch.save(state, partial)
            partial.replace(path)
            saved_at = time.monotonic()
    model.load_state_dict(average)
    model.eval()
