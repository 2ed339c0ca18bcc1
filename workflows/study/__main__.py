"""Does the method work? All arms, seeds and sizes in one table.

    make study                          # hours; the same command goes on where it stopped
    make study ARGS="--report"          # what is finished so far
    make study ARGS="--smoke"           # every step in minutes; says nothing

The arms (``workflows.study.arms``): the network alone (VLTVG), with semantic priors, with generated scenes, with both,
and controls; all under one budget of steps, but for those that ask what more of them bring. ``results.json``,
``results.md`` and the plots lie in ``--output``.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.markdown import Markdown
from upath import UPath

from pipeline.executor import ExecutorConfig
from shards.reader import SampleReader
from workflows.cli.console import Executor, UserError, console, lies_in, run
from workflows.cli.paths import write_whole
from workflows.miniature import WEIGHTS
from workflows.miniature.models.visual_start import VisualStartConfig
from workflows.miniature.models.visual_start import main as teach_backbone
from workflows.miniature.world.dataset import held_out_combinations
from workflows.study.arms import ARMS, BY_NAME, Arm
from workflows.study.data import StudyData, prepare
from workflows.study.figures import report
from workflows.study.oracle import combinations_of_queries
from workflows.study.plots import draw_study
from workflows.study.tables import markdown
from workflows.study.training import Training, at_once, train_all
from workflows.study.trials import Cell, answers, cells, cost

UNSEEN = "unseen.json"
TEST = ("testA", "testB")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is compared, and how long each network may train."""

    sizes: tuple[int, ...] = (500, 2000, 8000)
    """Training queries."""

    seeds: int = 5
    """Trainings of each size of the main arms and those that have as many."""

    control_size: int = 2000
    """Of the arms that are not trained at all sizes."""

    control_seeds: int = 3
    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS)
    steps: int = 2000
    """Of every training, but for the arms that take several times as many."""

    num_scenes: int = 3000
    """To ask for; those that are accepted and chosen are trained on, about a third."""

    num_val: int = 250
    num_test: int = 400
    """Pictures of each of testA and testB."""

    parallel: int | None = None
    """Networks to train at once; where not given one for each core, or a single one where there is an accelerator."""

    visual_start: Path | None = None
    """Backbone that all networks start from; as ``make train`` has it where not given."""

    output: Path = Path("runs/study")
    report: bool = False
    """Only report what is finished."""

    smoke: bool = False
    """Everything in its smallest size."""

    executor: Executor = field(default_factory=ExecutorConfig)
    rest: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train`` for all arms alike."""

    def __post_init__(self) -> None:
        if unknown := set(self.arms) - BY_NAME.keys():
            raise UserError(f"there are no arms {sorted(unknown)}; there are {', '.join(BY_NAME)}")
        if min(*self.sizes, self.seeds, self.steps, self.num_scenes, self.parallel or 1) < 1 or self.control_seeds < 0:
            raise UserError("sizes, seeds, steps, num_scenes and parallel must be at least 1")
        for name in ("sizes", "arms"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise UserError(f"{name} must differ, got {getattr(self, name)}")
        if self.control_size not in self.sizes:
            raise UserError(f"control_size must be one of the sizes {self.sizes}, got {self.control_size}")

    @property
    def chosen(self) -> list[Arm]:
        return [BY_NAME[name] for name in self.arms]

    @property
    def cells(self) -> list[Cell]:
        return list(
            cells(
                self.sizes,
                self.chosen,
                seeds=self.seeds,
                control_seeds=self.control_seeds,
                control_size=self.control_size,
            )
        )

    def described(self) -> dict[str, Any]:
        """What decides the results, as JSON values."""
        numbers = ("sizes", "seeds", "control_size", "control_seeds", "num_scenes", "num_val", "num_test", "rest")
        return {name: getattr(self, name) for name in numbers} | {"arms": [asdict(arm) for arm in self.chosen]}

    @property
    def data(self) -> StudyData:
        return StudyData(
            root=UPath(self.output / "data"),
            sizes=self.sizes,
            num_scenes=self.num_scenes,
            num_val=self.num_val,
            num_test=self.num_test,
            visual_start=self.visual_start or VisualStartConfig().output,
            executor=self.executor,
        )


def smoke(config: StudyConfig) -> StudyConfig:
    """The smallest study in which nothing is left out."""
    return replace(
        config,
        smoke=False,
        sizes=(40,),
        control_size=40,
        seeds=1,
        control_seeds=1,
        steps=2,
        num_scenes=16,
        num_val=4,
        num_test=6,
        visual_start=WEIGHTS / "detector",
        output=config.output / "smoke",
    )


def main(config: StudyConfig) -> None:
    """Make the data, train what is missing, report."""
    if config.smoke:
        config = smoke(config)
    every = config.cells
    parallel, threads = at_once(config.parallel)
    training = Training(
        data=config.data, output=config.output, steps=config.steps, options=config.rest, threads=threads
    )
    if not config.report:
        if config.visual_start is None:
            teach_backbone(VisualStartConfig())
        prepare(config.data, every)
        _note_unseen(config)
        train_all(training, every, parallel)
    tell(config, [cell for cell in every if training.is_done(cell)], len(every))


def tell(config: StudyConfig, finished: list[Cell], num_cells: int) -> None:
    """Write and print what the finished cells say."""
    found = {(cell.size, cell.arm.name, cell.seed): answers(cell, config.output) for cell in finished}
    if not found:
        raise UserError(f"no network of the study in {config.output} is finished yet; run it without --report")
    record = {
        "networks": {"finished": len(found), "all": num_cells},
        "study": config.described(),
        "steps": config.steps,
        "cost": cost(finished, config.output),
        "data_seconds": config.data.seconds(),
        "further_data": config.data.further({cell.arm for cell in finished}),
        **report(found, _unseen(config), TEST),
    }
    write_whole(config.output / "results.json", json.dumps(record, indent=1))
    text = markdown(record)
    write_whole(config.output / "results.md", text)
    draw_study(record, config.output)
    console.print(Markdown(text))
    lies_in("the study's results, with plots", config.output)


def _note_unseen(config: StudyConfig) -> None:
    """Which queries are about combinations that training never shows, for the report."""
    targets = combinations_of_queries(SampleReader(config.data.place.samples), config.data.world)
    unseen = sorted(query for query, combination in targets.items() if combination in held_out_combinations())
    write_whole(config.output / UNSEEN, json.dumps(unseen))


def _unseen(config: StudyConfig) -> Collection[str]:
    return frozenset(json.loads((config.output / UNSEEN).read_text()))


if __name__ == "__main__":
    run(main, StudyConfig, __doc__)
