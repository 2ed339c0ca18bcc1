"""Trains and asks the networks of a study in processes of their own, several at once; only their answers are kept."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from upath import UPath

from generation.models.checkpoints import fingerprint
from pipeline.errors import Preempted
from pipeline.plan import open_plan
from workflows.cli.console import UserError, console
from workflows.cli.paths import write_whole
from workflows.miniature import WEIGHTS
from workflows.study.arms import Arm
from workflows.study.trials import CELL, Cell

LOG = "log.txt"
TEXT_ENCODER = WEIGHTS / "bert"
"""Its tokenizer and its size; the network's own starts from random weights."""


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
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End what runs, and start no more; the same cells go on from their checkpoints."""
        self._stopped.set()
        for process in list(self._processes):
            _terminate(process)

    def run(self, cell: Cell) -> None:
        """Train and ask, or find it done; what both say is in the cell's ``log.txt``.

        Raises:
            UserError: it failed, or the cell that is there was trained in another way, or is being trained.
        """
        folder = cell.folder(self.output)
        if not self.is_done(cell):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG).open("ab") as log:
                _lock(log, folder)  # the processes that write to it hold it, too
                is_resumed = (folder / "run" / "last").exists()
                seconds = self._call(cell, log, "trainer.train", self.command(cell))
                self._call(cell, log, "trainer.evaluate", self.questions(cell))
            cost = {"cpu_seconds": None if is_resumed else round(seconds, 1), "threads": self.threads}
            write_whole(folder / CELL, json.dumps({**self.how(cell), **cost}, indent=1))
        shutil.rmtree(folder / "run", ignore_errors=True)

    def is_done(self, cell: Cell) -> bool:
        """
        Raises:
            UserError: the cell that is there was trained in another way.
        """
        path = cell.folder(self.output) / CELL
        if not path.is_file():
            return False
        then, now = json.loads(path.read_text()), self.how(cell)
        differences = [f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
        if differences:
            raise UserError(
                f"{path.parent} was trained in another way ({'; '.join(differences)}); choose another --output, give "
                "the options of then, or remove the folder"
            )
        return True

    def how(self, cell: Cell) -> dict[str, Any]:
        """What decides a network: its command, and instead of the paths in it what lies there."""
        runs = self._runs(cell)
        paths = {str(path) for path in (self._run_of(cell), TEXT_ENCODER, self.data.visual_start, *runs)}
        return {
            "command": [word for word in self.command(cell) if word not in paths],
            "data": [open_plan(where).plan_hash for where in runs],
            "text_encoder": fingerprint(str(TEXT_ENCODER)),
            "visual_start": fingerprint(str(self.data.visual_start)),
        }

    def _run_of(self, cell: Cell) -> Path:
        return cell.folder(self.output) / "run"

    def _runs(self, cell: Cell) -> list[UPath]:
        extra = self.data.extra(cell.arm)
        return [self.data.samples(cell), *([extra] if extra else [])]

    def command(self, cell: Cell) -> list[str]:
        """Words for ``trainer.train``; the weights of the last step count, none are chosen by a split."""
        words = ["miniature", "--output", str(self._run_of(cell)), "--train", *map(str, self._runs(cell))]
        words += ["--steps", str(self.steps * cell.arm.steps_factor), "--seed", str(cell.seed)]
        if cell.arm.extra and cell.arm.extra_share:
            words += ["--most-extra", str(cell.arm.extra_share)]
        words += ["--text-encoder", str(TEXT_ENCODER)]
        words += ["--visual-start", str(self.data.visual_start), "--validate-split", "None", "--tracker", "none"]
        return [*words, *([] if cell.arm.priors else ["--network.no-use-prior"]), *cell.arm.options, *self.options]

    def questions(self, cell: Cell) -> list[str]:
        """Words for ``trainer.evaluate``."""
        words = ["--checkpoint", str(self._run_of(cell) / "best"), "--data", str(self.data.samples(cell))]
        words += ["--splits", *self.data.evaluated, "--output", str(cell.folder(self.output))]
        return [*words, "--priors", *(("true", "without", "shuffled") if cell.arm.priors else ("true",))]

    def _call(self, cell: Cell, log: BinaryIO, module: str, words: Sequence[str]) -> float:
        """Seconds of CPU time that it took, which other work on the machine changes less than its duration."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        self._processes.add(process)
        if self._stopped.is_set():
            _terminate(process)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._processes.discard(process)
        if status:
            said = Path(log.name).read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"{cell} ended with status {process.returncode}: {' '.join(said)} ({log.name}); the same command goes "
                "on with it"
            )
        return used.ru_utime + used.ru_stime


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Not by ``Popen``, which would wait for it as the thread does that started it."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)


def _lock(log: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder} is being trained by another process; wait for it, or end it") from error


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
