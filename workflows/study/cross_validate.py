"""The arms on a data set of real photographs, cross-validated by picture: for those too few to be split.

    make ingest ARGS="--dataset mine --format table --annotations mine.jsonl --images photos"
    make generate-priors ARGS="--dataset mine --preset miniature"
    make pack ARGS="--dataset mine"
    make cross-validate ARGS="--dataset mine"

Each picture's queries are asked of the network that was trained without that picture. The network is the miniature one
and the scenes are the miniature world's: with them this shows that everything runs on photographs and people's words,
not what the method brings there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.markdown import Markdown
from upath import UPath

from pipeline.executor import ExecutorConfig
from pipeline.plan import open_plan
from pipeline.run import Job, PlanRow, run_job
from shards.reader import SampleReader
from shards.writer import SampleSink
from trainer.evaluation.metrics import Judgement
from workflows.cli.console import Executor, UserError, console, lies_in, run
from workflows.cli.paths import DATA, folders, write_whole
from workflows.miniature.models.visual_start import VisualStartConfig
from workflows.miniature.models.visual_start import main as teach_backbone
from workflows.study.arms import ARMS, Arm
from workflows.study.figures import report
from workflows.study.sample_stages import ReadStage
from workflows.study.tables import markdown
from workflows.study.training import Training, at_once, train_all
from workflows.study.trials import Cell, answers, cost

RUNNABLE = tuple(
    arm for arm in ARMS if arm.priors in (None, "own") and arm.extra in (None, "prompted") and not arm.withholds
)
"""Those that need no world."""


@dataclass(frozen=True, kw_only=True)
class CrossValidateConfig:
    """Whose photographs, and how long each network may train."""

    dataset: str
    """What ``pack`` has joined with its priors; all its splits are taken together."""

    scenes: UPath = folders("miniature").packed("scenes")
    """Packed scenes, with priors of the same image encoder."""

    folds: int = 5
    arms: tuple[str, ...] = tuple(arm.name for arm in RUNNABLE if arm.is_main)
    steps: int = 500
    """Of every training."""

    parallel: int | None = None
    """Networks to train at once; where not given one for each core, or a single one where there is an accelerator."""

    visual_start: Path | None = None
    """Backbone that all networks start from; as ``make train`` has it where not given."""

    output: Path = Path("runs/cross-validation")
    data: UPath = DATA
    executor: Executor = field(default_factory=ExecutorConfig)
    rest: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train`` for all arms alike."""

    def __post_init__(self) -> None:
        known = [arm.name for arm in RUNNABLE]
        if unknown := set(self.arms) - set(known):
            raise UserError(f"there are no arms {sorted(unknown)} without a world; there are {', '.join(known)}")
        if self.folds < 2 or min(self.steps, self.parallel or 1) < 1:
            raise UserError("folds must be at least 2, steps and parallel at least 1")

    @property
    def chosen(self) -> list[Arm]:
        return [arm for arm in RUNNABLE if arm.name in self.arms]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Where the data lie: a packing for each fold, in which it is ``val`` and the others are ``train``."""

    root: UPath
    scenes: UPath
    visual_start: Path
    evaluated: Sequence[str] = ("val",)

    def samples(self, cell: Cell) -> UPath:
        return self.fold(cell.seed)

    def fold(self, number: int) -> UPath:
        return self.root / f"fold-{number}"

    def extra(self, arm: Arm) -> UPath | None:
        return self.scenes if arm.extra else None


def main(config: CrossValidateConfig) -> None:
    """Cut the folds, train what is missing, report."""
    samples = folders(config.dataset, config.data).packed("samples")
    needed = {"make pack": samples} | ({"make augment": config.scenes} if any(a.extra for a in config.chosen) else {})
    for command, place in needed.items():
        if not place.is_dir():
            raise UserError(f"{place} does not exist; run `{command}` first")
    reader = SampleReader(samples)
    if len(reader) < config.folds:
        raise UserError(f"{samples} holds {len(reader)} pictures, too few for {config.folds} folds")
    if config.visual_start is None:
        teach_backbone(VisualStartConfig())
    where = Folds(
        root=UPath(config.output / "data"),
        scenes=config.scenes,
        visual_start=config.visual_start or VisualStartConfig().output,
    )
    fold_of = folds_of([reader.record(i)["image_name"] for i in range(len(reader))], config.folds)
    for number in range(config.folds):
        _cut(config, reader, fold_of, where.fold(number), number)
    num_queries = sum(entry.num_queries for entry in reader.index)
    size = num_queries - num_queries // config.folds  # of a training, about
    cells = [Cell(size=size, arm=arm, seed=n) for n in range(config.folds) for arm in config.chosen]
    parallel, threads = at_once(config.parallel)
    training = Training(
        data=where, output=config.output, steps=config.steps, options=_options(config, reader), threads=threads
    )
    train_all(training, cells, parallel)
    _tell(config, cells)


def folds_of(images: Sequence[str], folds: int) -> list[int]:
    """The fold of each sample: as many photographs in each, by the hash of their names, and all samples of one
    photograph, which may come in several splits, in the same."""
    ordered = sorted(set(images), key=lambda name: hashlib.sha256(name.encode()).digest())
    fold_of = {name: number % folds for number, name in enumerate(ordered)}
    return [fold_of[name] for name in images]


def _cut(config: CrossValidateConfig, reader: SampleReader, fold_of: Sequence[int], output: UPath, number: int) -> None:
    splits = ["val" if fold == number else "train" for fold in fold_of]
    rows = [
        PlanRow(key=entry.key, payload={"number": i, "split": split}, group=split)
        for i, (entry, split) in enumerate(zip(reader.index, splits, strict=True))
    ]
    job = Job(
        name="pack-samples",
        fingerprint={"samples": open_plan(reader.run).plan_hash, "fold": f"{number} of {config.folds}"},
        inputs=lambda: iter(rows),
        items_per_shard=500,
        seed=0,
        stages=[ReadStage(str(reader.run))],
        sink=SampleSink(),
    )
    run_job(job, output, config.executor)


def _options(config: CrossValidateConfig, reader: SampleReader) -> tuple[str, ...]:
    priors = reader.read(0).priors
    return config.rest if priors is None else ("--network.prior-dim", str(priors.shape[1]), *config.rest)


def _tell(config: CrossValidateConfig, cells: Sequence[Cell]) -> None:
    """Every query once, by the network that has not seen its picture."""
    found: dict[tuple[int, str, int], dict[str, list[Judgement]]] = {}
    for cell in cells:
        modes = found.setdefault((cell.size, cell.arm.name, 0), {})
        for mode, judged in answers(cell, config.output).items():
            modes.setdefault(mode, []).extend(judged)
    record = {
        "networks": {"finished": len(cells), "all": len(cells)},
        "steps": config.steps,
        "cost": cost(cells, config.output),
        **report(found, (), ("val",)),
    }
    write_whole(config.output / "results.json", json.dumps(record, indent=1))
    text = markdown(record)
    write_whole(config.output / "results.md", text)
    console.print(Markdown(text))
    lies_in("the results", config.output)


if __name__ == "__main__":
    run(main, CrossValidateConfig, __doc__)
