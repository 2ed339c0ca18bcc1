"""Checkpoints of a training run: whole or not at all.

A checkpoint is written into its own folder, and the links ``last`` and ``best`` are then replaced, each at once. Both
are folders for ``Grounder.from_pretrained``; ``training_state.pt`` beside the weights is what resuming needs more.
"""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.model.network import GroundingNetwork
from trainer.training.ema import EmaWeights

STATE_FILE = "training_state.pt"
LINKS = ("last", "best")


@dataclass(kw_only=True)
class TrainingState:
    """How far a run is. Random numbers need no state: each step seeds its own from (seed, step, process)."""

    epoch: int = 0
    step: int = 0
    """The next one, within the epoch."""

    best_score: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record an epoch."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that a run goes on from."""

    network: GroundingNetwork
    processor: Processor
    optimizer: torch.optim.Optimizer
    progress: TrainingState
    average: EmaWeights | None
    """Where there is one, its weights are what prediction is to use."""

    config: dict[str, Any]
    """``TrainConfig.to_json``."""

    num_queries: int
    """Of the training data, to see that it is the same."""

    def save(self, output: Path, *, is_best: bool) -> None:
        """Write the checkpoint and let ``last`` (and ``best``) point to it; remove what nothing points to."""
        folder = _find_free_folder(output, f"checkpoint-{self.progress.epoch:04d}-{self.progress.step:06d}")
        partial = output / ".checkpoint.partial"
        shutil.rmtree(partial, ignore_errors=True)
        (self.average.network if self.average else self.network).save_pretrained(partial)
        self.processor.save_pretrained(partial)
        averaged = {"weights": self.network.state_dict(), "average": self.average.state_dict()} if self.average else {}
        state = {
            **averaged,
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.__dict__,
            "config": self.config,
            "num_queries": self.num_queries,
        }
        torch.save(state, partial / STATE_FILE)
        _flush(partial)
        partial.rename(folder)
        for link in ("best", "last") if is_best else ("last",):  # dying in between, a resume makes both again
            _update_link(output / link, folder)
        _remove_unused(output)


def read_state(output: Path) -> dict[str, Any]:
    """What ``output/last`` holds beside weights.

    Raises:
        TrainerError: it is damaged.
    """
    path = output / "last" / STATE_FILE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TrainerError(f"{path} cannot be resumed from ({error}); train in a new output folder") from error
    return state


def _find_free_folder(output: Path, name: str) -> Path:
    """One killed before ``last`` pointed to it may lie under the name."""
    candidates = (output / (f"{name}-{number}" if number else name) for number in itertools.count())
    return next(folder for folder in candidates if not folder.exists())


def _flush(folder: Path) -> None:
    """Make sure that the folder's files lie on the disk before anything points to them."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _update_link(link: Path, folder: Path) -> None:
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.name)
    partial.replace(link)


def _remove_unused(output: Path) -> None:
    used = {(output / link).resolve() for link in LINKS}
    for folder in output.glob("checkpoint-*"):
        if folder.resolve() not in used:
            shutil.rmtree(folder)
