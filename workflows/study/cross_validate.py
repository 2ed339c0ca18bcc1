"""Cross-validate the variants by image on a dataset of your own, such as one that is too small to be split.

    make ingest ARGS="--dataset mine --format table --annotations mine.jsonl --images photos"
    make generate-priors ARGS="--dataset mine --preset miniature"
    make pack ARGS="--dataset mine"
    make cross-validate ARGS="--dataset mine"

Each query is evaluated on the network that was trained without its image. The network and the scenes are those of the
miniature world. So the results show that everything runs on your images and queries, not the benefit of the method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from upath import UPath

from pipeline import (
    ExecutorConfig,
    Job,
    LimitedConfig,
    PlanRow,
    PositiveInt,
    Range,
    compute_rows_sha256,
    open_plan,
    run_job,
)
from shards.reader import SampleReader
from shards.writer import SampleSink
from trainer.evaluation.metrics import PredictionRecord
from workflows.cli.console import Executor, UserError, run, save_results
from workflows.cli.paths import DATA, get_dataset_paths
from workflows.miniature.models.pretrained_backbone import PretrainedVisualConfig
from workflows.miniature.models.pretrained_backbone import main as pretrain_backbone
from workflows.study.figures import report
from workflows.study.sample_stages import ReadStage
from workflows.study.tables import format_markdown
from workflows.study.training import TrialRunner, choose_parallelism, train_all
from workflows.study.trials import Trial, compute_training_costs, read_trial_predictions
from workflows.study.variants import VARIANTS, Variant

RUNNABLE = tuple(
    variant
    for variant in VARIANTS
    if variant.priors in (None, "own")
    and variant.extra in (None, "prompted")
    and (variant.exemplars, variant.word_limits) == ("none", "all words")
)
"""Variants that need no data of the miniature world but scenes, and no crops."""


@dataclass(frozen=True, kw_only=True)
class CrossValidateConfig(LimitedConfig):
    """Dataset, variants and length of the trainings."""

    dataset: str
    """Name of the dataset, packed with its priors; all its splits are used together."""

    scenes: UPath = get_dataset_paths("miniature").get_packed_run("scenes")
    """Packed scenes with priors of the same image encoder."""

    folds: Annotated[int, Range(2)] = 5
    """Number of folds, at least 2."""

    variants: tuple[str, ...] = tuple(variant.name for variant in RUNNABLE if variant.is_main)
    """Names of the variants."""

    steps: PositiveInt = 500
    """Steps of a training, at least 1."""

    num_parallel: PositiveInt | None = None
    """Networks to train at once; default one for each core, or one on an accelerator."""

    pretrained_visual: Path | None = None
    """Detector that initializes the backbone of all networks; default as in ``make train``."""

    output: Path = Path("runs/cross-validation")
    """Folder of the results."""

    data: UPath = DATA
    """Folder of all datasets."""

    executor: Executor = field(default_factory=ExecutorConfig)
    """Executor that writes the folds."""

    trainer_args: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train`` for all variants alike, after ``--``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [variant.name for variant in RUNNABLE]
        if unknown := set(self.variants) - set(known):
            raise UserError(f"unknown variants {sorted(unknown)}; choose from {', '.join(known)}")

    @property
    def selected_variants(self) -> list[Variant]:
        """Variants of these names."""
        return [variant for variant in RUNNABLE if variant.name in self.variants]


def main(config: CrossValidateConfig) -> None:
    """Write the folds, train the missing networks, and report."""
    samples = get_dataset_paths(config.dataset, config.data).get_packed_run("samples")
    needed = {"make pack": samples} | (
        {"make augment": config.scenes} if any(a.extra for a in config.selected_variants) else {}
    )
    for command, path in needed.items():
        if not path.is_dir():
            raise UserError(f"{path} does not exist; run `{command}` first")
    reader = SampleReader(samples)
    if len(reader) < config.folds:
        raise UserError(f"{samples} has {len(reader)} images, too few for {config.folds} folds; use fewer --folds")
    if config.pretrained_visual is None:
        pretrain_backbone(PretrainedVisualConfig())
    folds = [UPath(config.output / "data" / f"fold-{number}") for number in range(config.folds)]
    fold_of = assign_folds([reader.record(i)["image_name"] for i in range(len(reader))], config.folds)
    for number, folder in enumerate(folds):
        _write_fold(config, reader, fold_of, folder, number)
    num_queries = sum(entry.num_queries for entry in reader.index)
    size = num_queries - num_queries // config.folds  # of a training, approximately
    trials = [
        Trial(size=size, variant=variant, seed=n) for n in range(config.folds) for variant in config.selected_variants
    ]
    num_parallel, num_threads = choose_parallelism(config.num_parallel)
    priors = reader.read(0).priors
    runner = TrialRunner(
        samples=lambda trial: folds[trial.seed],
        extra=lambda variant: config.scenes if variant.extra else None,
        crop_features=lambda variant: (),
        pretrained_visual=config.pretrained_visual or PretrainedVisualConfig().output,
        evaluated_splits=("val",),
        output=config.output,
        steps=config.steps,
        prior_dim=None if priors is None else priors.shape[1],
        trainer_args=config.trainer_args,
        num_threads=num_threads,
    )
    train_all(runner, trials, num_parallel)
    _print_results(config, trials)


def assign_folds(images: Sequence[str], folds: int) -> list[int]:
    """Return the fold of each sample, by the hash of its image's name.

    The folds have equally many images. All samples of an image, possibly of several splits, are in the same fold.
    """
    ordered = sorted(set(images), key=lambda name: hashlib.sha256(name.encode()).digest())
    fold_of = {name: number % folds for number, name in enumerate(ordered)}
    return [fold_of[name] for name in images]


def _write_fold(
    config: CrossValidateConfig, reader: SampleReader, fold_of: Sequence[int], output: UPath, number: int
) -> None:
    splits = ["val" if fold == number else "train" for fold in fold_of]
    rows = [
        PlanRow(key=entry.key, payload={"number": i, "split": split}, group=split)
        for i, (entry, split) in enumerate(zip(reader.index, splits, strict=True))
    ]
    sources = {"samples": open_plan(reader.run).plan_hash, "fold": f"{number} of {config.folds}"}
    job = Job(
        name="pack-samples",
        fingerprint={"rows": compute_rows_sha256(rows), **sources},
        inputs=lambda: rows,
        stages=[ReadStage(str(reader.run))],
        sink=SampleSink(),
    )
    run_job(job, output, config.executor)


def _print_results(config: CrossValidateConfig, trials: Sequence[Trial]) -> None:
    """Report every query once, by the network that was trained without its image."""
    predictions: dict[tuple[int, str, int], dict[str, list[PredictionRecord]]] = {}
    for trial in trials:
        modes = predictions.setdefault((trial.size, trial.variant.name, 0), {})
        for mode, records in read_trial_predictions(trial, config.output).items():
            modes.setdefault(mode, []).extend(records)
    record = {
        "networks": {"finished": len(trials), "all": len(trials)},
        "steps": config.steps,
        "cost": compute_training_costs(trials, config.output),
        **report(predictions, (), ("val",)),
    }
    save_results(config.output, "results", record, format_markdown(record))


if __name__ == "__main__":
    run(main, CrossValidateConfig, __doc__)
