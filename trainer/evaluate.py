"""Evaluate a trained network on every query of some splits, on one process or several.

    python -m trainer.evaluate --checkpoint runs/refcoco/best --data data/refcoco-packed --splits testA testB \\
        --output runs/refcoco/evaluation --priors own none shuffled
    accelerate launch --num_processes 4 -m trainer.evaluate --config runs/refcoco/evaluation/evaluate_config.json

The output folder then holds ``predictions.jsonl``, a line for each query and prior mode, and ``scores.json``, the
accuracy for each prior mode and split. Any number of processes gives the same digits, since batches are the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from upath import UPath

from pipeline import PipelineError
from shards.errors import SchemaError
from shards.reader import SampleReader
from trainer.command_line import parse_options
from trainer.config_file import parse_overrides, read_config, split_config_option
from trainer.errors import TrainerError, exit_with_error
from trainer.evaluation.generalized import SetPrediction, compute_generalized_scores, format_generalized_scores
from trainer.evaluation.metrics import PredictionRecord, PriorMode, compute_scores
from trainer.files import check_checkpoint, find_checkpoint, write_atomic

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainer.data.dataset import Samples
    from trainer.evaluation.evaluator import Evaluation, Predictor

PREDICTIONS, SET_PREDICTIONS, GENERALIZED = "predictions.jsonl", "set_predictions.jsonl", "generalized.json"
Record = TypeVar("Record", bound=PredictionRecord | SetPrediction)
CONFIG_FILE = "evaluate_config.json"
"""Name of the configuration file in the output folder."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Checkpoint, data and splits to evaluate."""

    checkpoint: Path
    """Folder that training has saved, such as ``runs/refcoco/best``; or a hub id, ``org/name``."""

    data: UPath
    """Run of samples, with priors if the network uses them."""

    splits: tuple[str, ...]
    """Splits, one or more."""

    output: Path
    """Folder for predictions and scores."""

    priors: tuple[PriorMode, ...] = ("own",)
    """Prior modes, one or more: each query's ``own`` prior, ``none``, or ``shuffled``, the prior of another query. A
    network without priors is evaluated once, with ``none``."""

    batch_images: int = 32
    """Images of a batch of one process."""

    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Precision of the network; ``bf16`` and ``fp16`` are faster on GPUs, and boxes move by about a thousandth of the
    image. Default None: as `accelerate config` says, or else float32."""

    num_workers: int = 0
    """Background processes that build batches, for each process; 0 builds them in between."""

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits must be one or more, each once, got {self.splits}")
        if not self.priors or len(set(self.priors)) < len(self.priors):
            raise ValueError(f"priors must be one or more prior modes, each once, got {self.priors}")


def evaluate(config: EvaluateConfig) -> list[PredictionRecord]:
    """Evaluate a checkpoint, and write ``predictions.jsonl`` and ``scores.json``.

    If the network can say that there is no target, ``set_predictions.jsonl`` has its answers to queries with any number
    of targets, and ``generalized.json`` their metrics.

    Returns:
        The records of ``predictions.jsonl``: by prior mode, by split, and in the order of the data.

    Raises:
        TrainerError, SchemaError, PipelineError: the checkpoint or the data are missing, damaged or do not fit.
    """
    checkpoint = find_checkpoint(config.checkpoint)
    check_checkpoint(checkpoint)
    from trainer.confidence import Calibration
    from trainer.data.dataset import Samples
    from trainer.data.processor import Processor
    from trainer.evaluation.evaluator import Predictor
    from trainer.model.network import GroundingNetwork
    from trainer.training.error_messages import translate_errors
    from trainer.training.setup import create_accelerator

    accelerator = create_accelerator(config.mixed_precision)
    predictor = Predictor(
        network=GroundingNetwork.from_pretrained(checkpoint).to(accelerator.device),
        processor=Processor.from_pretrained(checkpoint),
        calibration=Calibration.from_pretrained(checkpoint),
    )
    modes: tuple[PriorMode, ...] = config.priors if predictor.network.config.use_prior else ("none",)
    samples = {
        split: Samples([SampleReader(config.data, split)], keep_without_target=predictor.keeps_without_target)
        for split in config.splits
    }
    memory_hint = f"use --batch-images {max(1, config.batch_images // 2)}"
    records: list[PredictionRecord] = []
    sets: list[SetPrediction] = []
    with translate_errors(lambda: f"after {len(records)} queries", memory_hint):
        for mode in modes:
            for split in config.splits:
                evaluation = _evaluate_split(predictor, samples[split], mode, config, accelerator)
                records += evaluation.records
                sets += evaluation.sets
    if accelerator.is_main_process:
        write_predictions(config.output, records, sets)
    accelerator.wait_for_everyone()
    accelerator.end_training()  # or threads of the process group can abort a process that is done
    return records


def _evaluate_split(
    predictor: Predictor, samples: Samples, mode: PriorMode, config: EvaluateConfig, accelerator: Accelerator
) -> Evaluation:
    from trainer.evaluation.evaluator import build_evaluation_stream, evaluate_all

    stream = build_evaluation_stream(
        samples,
        predictor.network,
        predictor.processor,
        accelerator,
        batch_images=config.batch_images,
        num_workers=config.num_workers,
        priors=mode,
    )
    console = Console(stderr=True, quiet=not accelerator.is_main_process)
    if samples.num_left_out:
        console.print(f"left out: {samples.num_left_out:,} queries without a target")
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("evaluating", total=stream.num_batches / accelerator.num_processes)
        evaluation = evaluate_all(predictor, stream, accelerator, priors=mode, on_batch=lambda: bar.advance(task))
    if evaluation.sets:
        console.print(f"{format_generalized_scores(compute_generalized_scores(evaluation.sets))}, priors: {mode}")
    return evaluation


def compute_scores_by_split(records: Sequence[PredictionRecord]) -> dict[str, dict[str, Any]]:
    """Return prior mode -> split -> ``compute_scores``."""
    return _apply_by_split(records, compute_scores)


def _apply_by_split(
    records: Sequence[Record], compute: Callable[[Sequence[Record]], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    groups: dict[PriorMode, dict[str, list[Record]]] = {}
    for record in records:
        groups.setdefault(record.priors, {}).setdefault(record.split, []).append(record)
    return {mode: {split: compute(group) for split, group in splits.items()} for mode, splits in groups.items()}


def write_predictions(folder: Path, records: Sequence[PredictionRecord], sets: Sequence[SetPrediction] = ()) -> None:
    """Write ``predictions.jsonl`` and ``scores.json``, each whole or not at all.

    With ``sets``, also ``set_predictions.jsonl`` and ``generalized.json``; without, these of before are removed.
    """
    write_atomic(folder / PREDICTIONS, _format_lines(records))
    write_atomic(folder / "scores.json", json.dumps(compute_scores_by_split(records), indent=1))
    if sets:
        write_atomic(folder / SET_PREDICTIONS, _format_lines(sets))
        write_atomic(folder / GENERALIZED, json.dumps(_apply_by_split(sets, compute_generalized_scores), indent=1))
        return
    for name in (SET_PREDICTIONS, GENERALIZED):
        (folder / name).unlink(missing_ok=True)


def _format_lines(records: Sequence[Record]) -> str:
    return "".join(json.dumps(vars(record)) + "\n" for record in records)


def read_predictions(folder: Path) -> list[PredictionRecord]:
    """Read the records that ``write_predictions`` wrote.

    Raises:
        TrainerError: the file is missing or damaged; names the line.
    """
    return _read_lines(folder / PREDICTIONS, PredictionRecord)


def read_set_predictions(folder: Path) -> list[SetPrediction]:
    """Read the predictions for queries with any number of targets; none if the network could not tell.

    Raises:
        TrainerError: the file is damaged; names the line.
    """
    path = folder / SET_PREDICTIONS
    return _read_lines(path, SetPrediction) if path.is_file() else []


def _read_lines(path: Path, kind: type[Record]) -> list[Record]:
    if not path.is_file():
        raise TrainerError(f"{path} does not exist; evaluate a network into {path.parent} first")
    records, adapter = list[Record](), TypeAdapter(kind)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            records.append(adapter.validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            rule = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise TrainerError(f"{path}, line {number}: {rule}; evaluate the network again") from error
    return records


def parse_command_line(arguments: Sequence[str]) -> EvaluateConfig:
    """Return the configuration of the options, on top of the file after ``--config`` if there is one.

    Raises:
        TrainerError: the file is not a configuration of this version.
        SystemExit: an option is unknown, or a value breaks a rule; tyro has printed the reason.
    """
    path, options = split_config_option(arguments)
    if path is not None:
        return parse_overrides(read_config(EvaluateConfig, path), options, __doc__)
    return parse_options(EvaluateConfig, options, __doc__)


def main() -> None:
    """Run the command line."""
    try:
        config = parse_command_line(sys.argv[1:])
        records = evaluate(config)
    except (TrainerError, SchemaError, PipelineError) as error:
        exit_with_error(error)
    from accelerate import PartialState

    if PartialState().is_main_process:
        for mode, splits in compute_scores_by_split(records).items():
            for split, split_scores in splits.items():
                accuracy = f"Acc@0.5 {split_scores['accuracy']['0.50']:.4f} of {split_scores['num_queries']} queries"
                print(f"{split}: {accuracy}, priors: {mode}")
        print(f"predictions and scores were saved to {config.output}")


if __name__ == "__main__":
    main()
