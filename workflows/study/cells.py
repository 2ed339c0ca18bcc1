"""One network of the study: trained, asked, and only its answers kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.evaluate import PREDICTIONS, EvaluateConfig, evaluate, read_judgements
from trainer.metrics import Judgement
from workflows.console import UserError, console
from workflows.launch import LaunchConfig, launcher
from workflows.layout import write_whole
from workflows.presets.miniature import WEIGHTS
from workflows.study.arms import Arm
from workflows.study.data import EVALUATED, StudyData

CELL = "cell.json"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An arm with one size of the data and one seed."""

    size: int
    arm: Arm
    seed: int

    def folder(self, output: Path) -> Path:
        return output / str(self.size) / re.sub(r"\W+", "-", self.arm.name.lower()) / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.arm.name}, {self.size:,} queries, seed {self.seed}"


def cells(
    sizes: Sequence[int], arms: Sequence[Arm], *, seeds: int, control_seeds: int, control_size: int
) -> Iterator[Cell]:
    """The main arms at all sizes, the controls at one; seed by seed, so that a study that is stopped is even."""
    for seed in range(seeds):
        for size in sizes:
            for arm in arms:
                if arm.is_main or (size == control_size and seed < control_seeds):
                    yield Cell(size=size, arm=arm, seed=seed)


def run_cell(cell: Cell, data: StudyData, steps: int, options: Sequence[str], output: Path) -> None:
    """Train and ask, or find it done.

    Raises:
        UserError: training failed, or the cell that is there was trained in another way.
    """
    folder, samples = cell.folder(output), data.samples(cell.size, cell.arm)
    command = training(cell, data, steps, options, folder / "run")
    how = {"command": [word for word in command if word != str(folder / "run")]}
    if (folder / CELL).is_file():
        if json.loads((folder / CELL).read_text())["command"] != how["command"]:
            raise UserError(f"{folder} was trained in another way; choose another --output, or remove it")
        return
    console.rule(str(cell))
    is_resumed, started = (folder / "run" / "last").exists(), time.monotonic()
    done = subprocess.run([*launcher(LaunchConfig()), "-m", "trainer.train", *command], check=False)
    if done.returncode:
        raise UserError(f"training of {cell} ended with status {done.returncode}; the same command goes on with it")
    seconds = time.monotonic() - started
    asked = EvaluateConfig(
        checkpoint=folder / "run" / "best",
        data=samples,
        splits=EVALUATED,
        output=folder,
        priors=("true", "without", "shuffled") if cell.arm.priors else ("true",),
    )
    evaluate(asked)
    write_whole(
        folder / CELL, json.dumps({**how, "train_seconds": None if is_resumed else round(seconds, 1)}, indent=1)
    )
    shutil.rmtree(folder / "run")


def training(cell: Cell, data: StudyData, steps: int, options: Sequence[str], run: Path) -> list[str]:
    """The command line of ``trainer.train``; the weights of the last step count, none are chosen by a split."""
    extra = data.extra(cell.arm)
    runs = [str(data.samples(cell.size, cell.arm)), *([str(extra)] if extra else [])]
    command = ["miniature", "--output", str(run), "--train", *runs, "--steps", str(steps), "--seed", str(cell.seed)]
    command += ["--text-encoder", str(WEIGHTS / "bert"), "--visual-start", str(data.visual_start)]
    command += ["--validate-split", "None", "--tracker", "none"]
    return [*command, *([] if cell.arm.priors else ["--network.no-use-prior"]), *cell.arm.options, *options]


def answers(cell: Cell, output: Path) -> list[Judgement] | None:
    """Every judgement of a finished cell, None of one that is not."""
    folder = cell.folder(output)
    return read_judgements(folder) if (folder / CELL).is_file() and (folder / PREDICTIONS).is_file() else None
