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
from pipeline import Preempted, open_plan, write_atomic
from workflows.cli.console import UserError, console
from workflows.miniature import WEIGHTS
from workflows.study.arms import Variant
from workflows.study.trials import TRIAL_FILE, Trial

LOG = "log.txt"
TEXT_ENCODER = WEIGHTS / "bert"
"""Its tokenizer and its size; the network's own starts from random weights."""


class TrialData(Protocol):
    """Where the data of a study lie."""

    @property
    def pretrained_visual(self) -> Path:
        """Backbone that all networks start from."""

    @property
    def evaluated_splits(self) -> Sequence[str]:
        """Splits."""

    def samples(self, trial: Trial) -> UPath:
        """Real samples with priors: train, and what is evaluated."""

    def extra(self, variant: Variant) -> UPath | None:
        """Further training data."""


@dataclass(frozen=True, kw_only=True)
class TrialRunner:
    """How every network is trained."""

    data: TrialData
    output: Path
    """Of the study."""

    steps: int
    trainer_args: Sequence[str] = ()
    """Further ones of ``trainer.train``."""

    num_threads: int = 1
    """Of each network's process."""

    _processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End what runs, and start no more; the same cells go on from their checkpoints."""
        self._stopped.set()
        for process in list(self._processes):
            _terminate(process)

    def run(self, trial: Trial) -> None:
        """Train and ask, or find it done; what both say is in the cell's ``log.txt``.

        Raises:
            UserError: it failed, or the cell that is there was trained in another way, or is being trained.
        """
        folder = trial.folder(self.output)
        if not self.is_done(trial):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG).open("ab") as log:
                _lock(log, folder)  # the processes that write to it hold it, too
                is_resumed = (folder / "run" / "last").exists()
                seconds = self._run_command(trial, log, "trainer.train", self.build_train_command(trial))
                self._run_command(trial, log, "trainer.evaluate", self.build_evaluate_command(trial))
            cost = {"cpu_seconds": None if is_resumed else round(seconds, 1), "num_threads": self.num_threads}
            write_atomic(folder / TRIAL_FILE, json.dumps({**self.describe_training(trial), **cost}, indent=1))
        shutil.rmtree(folder / "run", ignore_errors=True)

    def is_done(self, trial: Trial) -> bool:
        """
        Raises:
            UserError: the cell that is there was trained in another way.
        """
        path = trial.folder(self.output) / TRIAL_FILE
        if not path.is_file():
            return False
        then, now = json.loads(path.read_text()), self.describe_training(trial)
        differences = [f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
        if differences:
            raise UserError(
                f"{path.parent} was trained in another way ({'; '.join(differences)}); choose another --output, give "
                "the options of then, or remove the folder"
            )
        return True

    def describe_training(self, trial: Trial) -> dict[str, Any]:
        """What decides a network: its command, and instead of the paths in it what lies there."""
        runs = self._list_data_runs(trial)
        paths = {str(path) for path in (self._get_run_folder(trial), TEXT_ENCODER, self.data.pretrained_visual, *runs)}
        return {
            "command": [word for word in self.build_train_command(trial) if word not in paths],
            "data": [open_plan(where).plan_hash for where in runs],
            "text_encoder": fingerprint(str(TEXT_ENCODER)),
            "pretrained_visual": fingerprint(str(self.data.pretrained_visual)),
        }

    def _get_run_folder(self, trial: Trial) -> Path:
        return trial.folder(self.output) / "run"

    def _list_data_runs(self, trial: Trial) -> list[UPath]:
        extra = self.data.extra(trial.variant)
        return [self.data.samples(trial), *([extra] if extra else [])]

    def build_train_command(self, trial: Trial) -> list[str]:
        """Words for ``trainer.train``; the weights of the last step count, none are chosen by a split."""
        words = [
            "miniature",
            "--output",
            str(self._get_run_folder(trial)),
            "--train",
            *map(str, self._list_data_runs(trial)),
        ]
        words += ["--steps", str(self.steps * trial.variant.steps_factor), "--seed", str(trial.seed)]
        if trial.variant.extra and trial.variant.max_extra_fraction:
            words += ["--max-synthetic-fraction", str(trial.variant.max_extra_fraction)]
        words += ["--text-encoder", str(TEXT_ENCODER)]
        words += [
            "--pretrained-visual",
            str(self.data.pretrained_visual),
            "--validate-split",
            "None",
            "--tracker",
            "none",
        ]
        return [
            *words,
            *([] if trial.variant.priors else ["--network.no-use-prior"]),
            *trial.variant.trainer_args,
            *self.trainer_args,
        ]

    def build_evaluate_command(self, trial: Trial) -> list[str]:
        """Words for ``trainer.evaluate``."""
        words = ["--checkpoint", str(self._get_run_folder(trial) / "best"), "--data", str(self.data.samples(trial))]
        words += ["--splits", *self.data.evaluated_splits, "--output", str(trial.folder(self.output))]
        return [*words, "--priors", *(("own", "none", "shuffled") if trial.variant.priors else ("own",))]

    def _run_command(self, trial: Trial, log: BinaryIO, module: str, words: Sequence[str]) -> float:
        """Seconds of CPU time that it took, which other work on the machine changes less than its duration."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.num_threads)}
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
            last_line = Path(log.name).read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"{trial} ended with status {process.returncode}: {' '.join(last_line)} ({log.name}); the "
                f"same command goes "
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


def train_all(runner: TrialRunner, trials: Sequence[Trial], num_parallel: int) -> None:
    """Train and ask what is missing, ``num_parallel`` at once.

    Raises:
        UserError: one of them failed; the others are ended.
        Preempted: after SIGTERM; so are they.
    """
    signal.signal(signal.SIGTERM, _raise_preempted)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ThreadPoolExecutor(num_parallel) as pool, Progress(*columns, console=console) as bar:
        task = bar.add_task(f"networks, {num_parallel} at once", total=len(trials))
        running = {pool.submit(runner.run, trial): trial for trial in trials}
        try:
            for done in as_completed(running):
                done.result()
                bar.advance(task)
                bar.console.print(f"{running[done]}: finished")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise


def choose_parallelism(requested: int | None) -> tuple[int, int]:
    """Networks to train at once, and threads of each: one for each core, or a single one on an accelerator."""
    cores = len(os.sched_getaffinity(0))
    num_parallel = requested or (1 if torch.accelerator.is_available() else cores)
    return num_parallel, max(1, cores // num_parallel)


def _raise_preempted(number: int, frame: object) -> None:
    raise Preempted("told to end; the same command goes on where this one stopped")
