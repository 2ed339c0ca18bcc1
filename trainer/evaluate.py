"""Ask a trained network every query of some splits once, on one process or many.

    python -m trainer.evaluate --checkpoint runs/refcoco/best --data data/refcoco-packed --splits testA testB \\
        --output runs/refcoco/evaluation --priors true without shuffled
    accelerate launch --num_processes 4 -m trainer.evaluate --checkpoint ...

Writes ``predictions.jsonl``, a line for each query and way of giving priors, and ``scores.json``, how good they are.
The same figures to the last digit on any number of processes: batches are the same, and dealt out in turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import Accelerator, PartialState
from rich.console import Console
from rich.progress import Progress
from upath import UPath

from shards.errors import SchemaError
from shards.reader import PipelineError, SampleReader
from trainer.data.dataset import Samples
from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Predictor, build_evaluation_stream, evaluate_all
from trainer.evaluation.metrics import PredictionRecord, PriorMode, scores
from trainer.model.network import GroundingNetwork
from trainer.training.error_messages import translate_errors

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate on what."""

    checkpoint: Path
    """Folder that training has saved, such as ``output/best``."""

    data: UPath
    """Run of samples, with priors if the network takes them."""

    splits: tuple[str, ...]
    output: Path
    """Folder for the report."""

    priors: tuple[PriorMode, ...] = ("own",)
    """``true``: each query's own; ``without``: none; ``shuffled``: another query's, to see whether they matter at all.
    A network without priors is asked once, ``without``."""

    batch_images: int = 32
    num_workers: int = 0

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits must be one or more different ones, got {self.splits}")
        if not self.priors or len(set(self.priors)) < len(self.priors):
            raise ValueError(f"priors must be one or more different ways of giving them, got {self.priors}")


def evaluate(config: EvaluateConfig) -> list[PredictionRecord]:
    """
    Returns:
        Every judgment, as in ``predictions.jsonl``: by way of giving priors, split, and in the order of the data.

    Raises:
        TrainerError, SchemaError, PipelineError: something a person can mend.
    """
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    predictor = Predictor(
        network=GroundingNetwork.from_pretrained(config.checkpoint).to(accelerator.device),
        processor=Processor.from_pretrained(config.checkpoint),
    )
    modes: tuple[PriorMode, ...] = config.priors if predictor.network.config.use_prior else ("none",)
    samples = {split: Samples([SampleReader(config.data, split)]) for split in config.splits}
    memory_hint = f"use --batch-images {max(1, config.batch_images // 2)}"
    records: list[PredictionRecord] = []
    with translate_errors(lambda: f"after {len(records)} queries", memory_hint):
        for mode in modes:
            for split in config.splits:
                records += _evaluate_split(predictor, samples[split], mode, config, accelerator)
    if accelerator.is_main_process:
        write_predictions(config.output, records)
    accelerator.wait_for_everyone()
    accelerator.end_training()  # or threads of the process group can abort a process that is done
    return records


def _evaluate_split(
    predictor: Predictor, samples: Samples, mode: PriorMode, config: EvaluateConfig, accelerator: Accelerator
) -> list[PredictionRecord]:
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
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("asking", total=stream.num_batches / accelerator.num_processes)
        return evaluate_all(predictor, stream, accelerator, priors=mode, on_batch=lambda: bar.advance(task))


def compute_scores_by_split(records: Sequence[PredictionRecord]) -> dict[str, dict[str, Any]]:
    """Way of giving priors and split to ``trainer.evaluation.metrics.scores``."""
    groups: dict[PriorMode, dict[str, list[PredictionRecord]]] = {}
    for record in records:
        groups.setdefault(record.priors, {}).setdefault(record.split, []).append(record)
    return {mode: {split: scores(group) for split, group in splits.items()} for mode, splits in groups.items()}


def write_predictions(folder: Path, records: Sequence[PredictionRecord]) -> None:
    """``predictions.jsonl`` and ``scores.json``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomic(folder / PREDICTIONS, "".join(json.dumps(record.to_json()) + "\n" for record in records))
    _write_atomic(folder / "scores.json", json.dumps(compute_scores_by_split(records), indent=1))


def read_predictions(folder: Path) -> list[PredictionRecord]:
    """What ``write_predictions`` wrote.

    Raises:
        TrainerError: the file is missing or damaged; names the line.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        raise TrainerError(f"{path} does not exist; evaluate a network into {folder} first")
    records = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            records.append(PredictionRecord.from_json(json.loads(line), f"{path}, line {number},"))
        except ValueError as error:
            raise TrainerError(f"{path}, line {number}: {error}; evaluate the network again") from error
    return records


def _write_atomic(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def main() -> None:
    """The command line."""
    config = tyro.cli(EvaluateConfig, description=__doc__)
    try:
        records = evaluate(config)
    except (TrainerError, SchemaError, PipelineError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        for mode, splits in compute_scores_by_split(records).items():
            for split, split_scores in splits.items():
                accuracy = f"Acc@0.5 {split_scores['accuracy']['0.50']:.4f} of {split_scores['num_queries']} queries"
                print(f"{split}: {accuracy}, priors: {mode}")
        print(f"predictions and scores lie in {config.output}")


if __name__ == "__main__":
    main()
