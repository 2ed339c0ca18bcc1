"""Trains and asks the networks of a study in processes of their own, several at once; only their answers are kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from upath import UPath

from pipeline.errors import Preempted
from workflows.console import UserError, console
from workflows.layout import write_whole
from workflows.presets.miniature import WEIGHTS
from workflows.study.arms import Arm
from workflows.study.cells import CELL, Cell

LOG = "log.txt"


class CellData(Protocol):
    """Where the data of a study lie."""

    @property
    def visual_start(self) -> Path:
        """Backbone that all networks start from."""

    @property
    def evaluated(self) -> Sequence[str]:
        """Splits."""

    def samples(self, cell: Cell) -> UPath:
        """Real samples with priors: train, and what is evaluated."""

    def extra(self, arm: Arm) -> UPath | None:
        """Further training data."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How every network is trained."""

    data: CellData
    output: Path
    """Of the study."""

    steps: int
    options: Sequence[str] = ()
    """Further ones of ``trainer.train``."""

    threads: int = 1
    """Of each network's process."""

    _processes: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def stop(self) -> None:
        """End what runs; the same cells go on from their checkpoints."""
        for process in list(self._processes):
            process.terminate()

    def run(self, cell: Cell) -> None:
        """Train and ask, or find it done; what both say is in the cell's ``log.txt``.

        Raises:
            UserError: it failed, or the cell that is there was trained in another way.
        """
        folder = cell.folder(self.output)
        command = self.command(cell, folder / "run")
        how = {"command": [word for word in command if word != str(folder / "run")]}
        if (folder / CELL).is_file():
            if json.loads((folder / CELL).read_text())["command"] != how["command"]:
                raise UserError(f"{folder} was trained in another way; choose another --output, or remove it")
            return
        is_resumed, started = (folder / "run" / "last").exists(), time.monotonic()
        self._call(cell, "trainer.train", command)
        seconds = time.monotonic() - started
        self._call(cell, "trainer.evaluate", self.questions(cell))
        cost = {"train_seconds": None if is_resumed else round(seconds, 1), "threads": self.threads}
        write_whole(folder / CELL, json.dumps({**how, **cost}, indent=1))
        shutil.rmtree(folder / "run")

    def command(self, cell: Cell, run: Path) -> list[str]:
        """Words for ``trainer.train``; the weights of the last step count, none are chosen by a split."""
        extra = self.data.extra(cell.arm)
        runs = [str(self.data.samples(cell)), *([str(extra)] if extra else [])]
        words = ["miniature", "--output", str(run), "--train", *runs, "--steps", str(self.steps)]
        words += ["--seed", str(cell.seed), "--text-encoder", str(WEIGHTS / "bert")]
        words += ["--visual-start", str(self.data.visual_start), "--validate-split", "None", "--tracker", "none"]
        return [*words, *([] if cell.arm.priors else ["--network.no-use-prior"]), *cell.arm.options, *self.options]

    def questions(self, cell: Cell) -> list[str]:
        """Words for ``trainer.evaluate``."""
        folder = cell.folder(self.output)
        words = ["--checkpoint", str(folder / "run" / "best"), "--data", str(self.data.samples(cell))]
        words += ["--splits", *self.data.evaluated, "--output", str(folder)]
        return [*words, "--priors", *(("true", "without", "shuffled") if cell.arm.priors else ("true",))]

    def _call(self, cell: Cell, module: str, words: Sequence[str]) -> None:
        log = cell.folder(self.output) / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        command = [sys.executable, "-m", module, *words]
        with log.open("ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        self._processes.add(process)
        status = process.wait()
        self._processes.discard(process)
        if status:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"{cell} ended with status {status}: {' '.join(said)} ({log}); the same command goes on")


def train_all(training: Training, every: Sequence[Cell], parallel: int) -> None:
    """Train and ask what is missing, ``parallel`` at once.

    Raises:
        UserError: one of them failed; the others are ended.
        Preempted: after SIGTERM; so are they.
    """
    signal.signal(signal.SIGTERM, _wanted_back)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ThreadPoolExecutor(parallel) as pool, Progress(*columns, console=console) as bar:
        task = bar.add_task(f"networks, {parallel} at once", total=len(every))
        running = {pool.submit(training.run, cell): cell for cell in every}
        try:
            for done in as_completed(running):
                done.result()
                bar.advance(task)
                bar.console.print(f"{running[done]}: finished")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            training.stop()
            raise


def at_once(wanted: int | None) -> tuple[int, int]:
    """Networks to train at once, and threads of each: one for each core, or a single one on an accelerator."""
    cores = len(os.sched_getaffinity(0))
    parallel = wanted or (1 if torch.accelerator.is_available() else cores)
    return parallel, max(1, cores // parallel)


def _wanted_back(number: int, frame: object) -> None:
    raise Preempted("told to end; the same command goes on where this one stopped")
