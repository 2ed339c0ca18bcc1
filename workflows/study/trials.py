"""The networks of a study, and the answers of those that are finished."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from trainer.evaluate import read_judgements
from trainer.evaluation.metrics import Judgement
from workflows.study.arms import Arm

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
    """The main arms with all seeds, most controls with some; seed by seed, so that a study that is stopped is even."""
    for seed in range(max(seeds, control_seeds)):
        for size in sizes:
            for arm in arms:
                of_arm = seeds if arm.is_main or arm.more_seeds else control_seeds
                if seed < of_arm and (arm.at_all_sizes or size == control_size):
                    yield Cell(size=size, arm=arm, seed=seed)


def answers(cell: Cell, output: Path) -> dict[str, list[Judgement]]:
    """Way of giving priors to the judgements of a finished cell, each query's own prior first; none of another cell."""
    folder, modes = cell.folder(output), dict[str, list[Judgement]]()
    if (folder / CELL).is_file():
        for one in read_judgements(folder):
            modes.setdefault(one.priors, []).append(one)
    return modes


def cost(every: Iterable[Cell], output: Path) -> dict[str, dict[str, float]]:
    """Size and arm to the median CPU seconds of a training, of those that were trained in one go."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for cell in every:
        path = cell.folder(output) / CELL
        taken = json.loads(path.read_text()).get("cpu_seconds") if path.is_file() else None
        if taken is not None:
            seconds.setdefault(str(cell.size), {}).setdefault(cell.arm.name, []).append(taken)
    return {size: {arm: round(median(some), 1) for arm, some in arms.items()} for size, arms in seconds.items()}
