"""Figures of a training step, read without making the host wait for the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """Figures that the device may still be computing. Read them once the next step runs, so that no one waits."""

    names: tuple[str, ...]
    """Name of each figure."""

    values: Tensor
    """Figures (names,) float32 in main memory, once ``ready`` has occurred."""

    ready: torch.cuda.Event | None
    """Event after the copy from the GPU; None without a GPU."""

    learning_rate: float
    """Learning rate of the step, which the host knows."""

    @staticmethod
    def copy_from(figures: Mapping[str, Tensor], learning_rate: float) -> StepFigures:
        """Start to copy figures to main memory, behind the work that computes them."""
        values = torch.stack([value.detach().float() for value in figures.values()])
        ready = torch.cuda.Event() if values.is_cuda else None  # type: ignore[no-untyped-call]
        values = values.to("cpu", non_blocking=values.is_cuda)  # into pinned memory
        if ready:
            ready.record()
        return StepFigures(names=tuple(figures), values=values, ready=ready, learning_rate=learning_rate)

    def read(self) -> dict[str, float]:
        """Wait for the copy, and return the figures by name."""
        if self.ready:
            self.ready.synchronize()
        figures = dict(zip(self.names, self.values.tolist(), strict=True))
        return {**figures, "learning_rate": self.learning_rate}
