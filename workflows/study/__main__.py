"""Train all variants, seeds and sizes of the study and compare them in one table.

    make study                          # hours; to resume, run the same command
    make study ARGS="--report"          # results of the finished networks
    make study ARGS="--smoke"           # a smoke test in minutes; the results are meaningless

The variants (``workflows.study.variants``) are the network alone (VLTVG), with semantic priors, with generated scenes,
with both, and controls. All have the same number of steps, except those with a ``steps_factor``. The study saves
``results.json``, ``results.md`` and plots to ``--output``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline import NotNegativeInt, PositiveInt, write_atomic
from shards.reader import SampleReader
from workflows.cli.console import UserError, run, save_results
from workflows.miniature import WEIGHTS
from workflows.miniature.models.pretrained_backbone import PretrainedVisualConfig
from workflows.miniature.models.pretrained_backbone import main as pretrain_backbone
from workflows.miniature.world.dataset import list_held_out_combinations
from workflows.study.figures import report
from workflows.study.oracle import find_query_combinations
from workflows.study.plots import plot_study
from workflows.study.tables import format_markdown
from workflows.study.training import TrialRunner, choose_parallelism, train_all
from workflows.study.training_sets import prepare_data
from workflows.study.trials import Trial, compute_training_costs, list_trials, read_trial_predictions
from workflows.study.variants import VARIANTS, VARIANTS_BY_NAME, Variant
from workflows.study.world import EVALUATED_SPLITS, StudyData

UNSEEN = "unseen.json"
TEST = ("testA", "testB")


@dataclass(frozen=True, kw_only=True)
class StudyConfig(StudyData):
    """Variants, sizes and lengths of the study."""

    num_seeds: PositiveInt = 5
    """Trainings per size of the main variants and of those with ``all_seeds``, at least 1."""

    control_size: int = 2000
    """Size of the variants without ``all_sizes``; one of ``sizes``."""

    num_control_seeds: NotNegativeInt = 3
    """Trainings per size of the other variants; 0 leaves them out."""

    variants: tuple[str, ...] = tuple(variant.name for variant in VARIANTS)
    """Names of the variants to train."""

    steps: PositiveInt = 2000
    """Steps of a training, times the variant's ``steps_factor``."""

    num_parallel: PositiveInt | None = None
    """Networks to train at once; by default one per core, or one on an accelerator."""

    pretrained_visual: Path | None = None
    """Checkpoint of all networks' backbones; by default one that the study pretrains in ``runs/miniature-backbone``."""

    report: bool = False
    """Whether to report the finished networks only."""

    smoke: bool = False
    """Whether to run everything in its smallest size."""

    trainer_args: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train`` for all variants."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.sizes) < 1:
            raise UserError(f"sizes must be at least 1, got {self.sizes}")
        if unknown := set(self.variants) - VARIANTS_BY_NAME.keys():
            raise UserError(f"unknown variants {sorted(unknown)}; choose from {', '.join(VARIANTS_BY_NAME)}")
        for name in ("sizes", "variants"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise UserError(f"{name} must all be different, got {getattr(self, name)}")
        if self.control_size not in self.sizes:
            raise UserError(f"control_size must be one of the sizes {self.sizes}, got {self.control_size}")

    @property
    def selected_variants(self) -> list[Variant]:
        return [VARIANTS_BY_NAME[name] for name in self.variants]

    @property
    def trials(self) -> list[Trial]:
        return list(
            list_trials(
                self.sizes,
                self.selected_variants,
                num_seeds=self.num_seeds,
                num_control_seeds=self.num_control_seeds,
                control_size=self.control_size,
            )
        )

    def describe_settings(self) -> dict[str, Any]:
        """Return the settings that decide the results, as JSON values."""
        numbers = (
            "sizes",
            "num_seeds",
            "control_size",
            "num_control_seeds",
            "num_scenes",
            "num_val",
            "num_test",
            "world_seed",
            "trainer_args",
        )
        return {name: getattr(self, name) for name in numbers} | {
            "variants": [asdict(variant) for variant in self.selected_variants]
        }


def smoke(config: StudyConfig) -> StudyConfig:
    """Return the smallest study with all of its parts."""
    return replace(
        config,
        smoke=False,
        sizes=(40,),
        control_size=40,
        num_seeds=1,
        num_control_seeds=1,
        steps=2,
        num_scenes=16,
        num_val=4,
        num_test=6,
        pretrained_visual=WEIGHTS / "detector",
        output=config.output / "smoke",
    )


def main(config: StudyConfig) -> None:
    """Make the data, train the missing networks, and report."""
    if config.smoke:
        config = smoke(config)
    trials = config.trials
    num_parallel, num_threads = choose_parallelism(config.num_parallel)
    runner = TrialRunner(
        samples=config.samples,
        extra=config.extra,
        crop_features=config.crop_features,
        pretrained_visual=config.pretrained_visual or PretrainedVisualConfig().output,
        evaluated_splits=EVALUATED_SPLITS,
        output=config.output,
        steps=config.steps,
        trainer_args=config.trainer_args,
        num_threads=num_threads,
    )
    if not config.report:
        if config.pretrained_visual is None:
            pretrain_backbone(PretrainedVisualConfig())
        prepare_data(config, trials)
        targets = find_query_combinations(SampleReader(config.paths.samples), config.world)
        held_out = list_held_out_combinations()
        unseen = sorted(query for query, combination in targets.items() if combination in held_out)
        write_atomic(config.output / UNSEEN, json.dumps(unseen))
        train_all(runner, trials, num_parallel)
    print_results(config, [trial for trial in trials if runner.is_done(trial)], len(trials))


def print_results(config: StudyConfig, finished: list[Trial], num_trials: int) -> None:
    """Save and print the results of the finished trials."""
    predictions = {
        (trial.size, trial.variant.name, trial.seed): read_trial_predictions(trial, config.output) for trial in finished
    }
    if not predictions:
        raise UserError(f"no network of the study in {config.output} is finished yet; run the command without --report")
    record = {
        "networks": {"finished": len(predictions), "all": num_trials},
        "study": config.describe_settings(),
        "steps": config.steps,
        "cost": compute_training_costs(finished, config.output),
        "data_seconds": config.sum_stage_seconds(),
        "extra_data": config.further({trial.variant for trial in finished}),
        **report(predictions, frozenset(json.loads((config.output / UNSEEN).read_text())), TEST),
    }
    plot_study(record, config.output)
    save_results(config.output, "results", record, format_markdown(record))


if __name__ == "__main__":
    run(main, StudyConfig, __doc__)
