"""Checkpoints of a training run, written whole or not at all.

A checkpoint is written into its own folder, and the links ``last`` and ``best`` are then replaced, each in one step.
Both are folders for ``Grounder.from_pretrained``. Resuming also reads ``training_state.pt`` beside the weights.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch.optim.swa_utils import AveragedModel

from pipeline import compute_sha256
from trainer.confidence import Calibration
from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.model.network import GroundingNetwork
from trainer.model_card import CARD_FILE

STATE_FILE = "training_state.pt"
STATE_VERSION = 2
HASH_FILE = "sha256.json"
HASHED_FILES = ("model.safetensors", STATE_FILE)
MIN_FREE_BYTES = 1 << 20
"""Free space below which an error of writing is that of a full disk."""

LINKS = ("last", "best")


@dataclass(kw_only=True)
class TrainingState:
    """Progress of a run."""

    epoch: int = 0
    """Current epoch, from 0."""

    step: int = 0
    """Next step within the epoch, from 0."""

    summed_loss: float = 0.0
    """Sum of the losses of the epoch's steps so far."""

    best_score: float | None = None
    """Best Acc@0.5 of all validations; None before the first."""

    history: list[dict[str, Any]] = field(default_factory=list)
    """Records of the finished epochs: number, mean loss and validation scores."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State of a run, complete for resuming."""

    network: GroundingNetwork
    """Network that trains."""

    processor: Processor
    """Processor of the network."""

    calibration: Calibration
    """Calibration of the network's confidences, of the last validation of these weights."""

    optimizer: torch.optim.Optimizer
    """Optimizer of the network."""

    progress: TrainingState
    """Progress of the run."""

    average: AveragedModel | None
    """Averaged weights, which prediction uses; None without averaging."""

    scaler: dict[str, Any] | None
    """Scale of the losses of ``fp16``; None in other precisions."""

    num_queries: int
    """Number of queries of the training data; a resumed run must have the same."""

    card: str
    """Model card."""

    def save(self, output: Path, *, is_best: bool) -> None:
        """Write the checkpoint, point ``last`` (and ``best``) to it, and remove the checkpoints without a link."""
        name = f"checkpoint-{self.progress.epoch:04d}-{self.progress.step:06d}"
        # An interrupted save may have left a folder with this name.
        candidates = (output / (f"{name}-{number}" if number else name) for number in itertools.count())
        folder = next(candidate for candidate in candidates if not candidate.exists())
        partial = output / ".checkpoint.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            self._write(partial)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, RuntimeError) and shutil.disk_usage(output).free > MIN_FREE_BYTES:
                raise
            raise TrainerError(
                f"the checkpoint cannot be written to {output} ({str(error).splitlines()[0]}); free some space and run "
                "the same command again. The last checkpoint is intact"
            ) from error
        partial.rename(folder)
        # "best" first: a run that dies in between repeats the epoch and makes both links again.
        for link in ("best", "last") if is_best else ("last",):
            new_link = output / f".{link}.partial"
            new_link.unlink(missing_ok=True)
            new_link.symlink_to(folder.name)
            new_link.replace(output / link)
        used = {(output / link).resolve() for link in LINKS}
        for unused in {path.resolve() for path in output.glob("checkpoint-*")} - used:
            shutil.rmtree(unused)

    def _write(self, folder: Path) -> None:
        """Write all files, and the hash of each."""
        network = cast(GroundingNetwork, self.average.module) if self.average else self.network
        network.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        self.calibration.save_pretrained(folder)
        (folder / CARD_FILE).write_text(self.card, encoding="utf-8")
        averaged = {"weights": self.network.state_dict(), "average": self.average.state_dict()} if self.average else {}
        state = {
            **averaged,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler,
            "progress": self.progress.__dict__,
            "num_queries": self.num_queries,
            "version": STATE_VERSION,
        }
        torch.save(state, folder / STATE_FILE)
        hashes = {name: compute_sha256(folder / name) for name in HASHED_FILES}
        (folder / HASH_FILE).write_text(json.dumps(hashes, indent=1))
        _flush(folder)


def read_state(output: Path) -> dict[str, Any]:
    """Read the state of ``output/last``: optimizer, progress, and both weights if they are averaged.

    Raises:
        TrainerError: a file of the checkpoint is missing or damaged, or another version wrote it.
    """
    path = output / "last" / STATE_FILE
    _check_hashes(output / "last")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TrainerError(f"{path} cannot be resumed from ({error}); train in a new output folder") from error
    if state.get("version") != STATE_VERSION:
        raise TrainerError(
            f"{path} has version {state.get('version')}, this code resumes version {STATE_VERSION}; train in a new "
            "output folder, or with the code that began the run"
        )
    return state


def _check_hashes(folder: Path) -> None:
    """Check that the files have the content that was written."""
    path = folder / HASH_FILE
    if not path.is_file():
        return  # read_state says that another version wrote the checkpoint
    for name, sha256 in json.loads(path.read_text()).items():
        if not (folder / name).is_file() or compute_sha256(folder / name) != sha256:
            raise TrainerError(
                f"{folder / name} is missing or not as it was written; restore it, or train in a new output folder"
            )


def _flush(folder: Path) -> None:
    """Flush the folder's files to the disk, before a link points to them."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
