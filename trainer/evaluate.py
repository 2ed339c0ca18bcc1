"""Evaluate a trained network: every query of the splits once, on one process or many.

    python -m trainer.evaluate --checkpoint runs/refcoco/best --data data/refcoco-packed --splits testA testB \
        --output runs/refcoco/evaluation

Writes ``report.json`` (metrics of each split, overall and by number of rivals) and ``predictions.jsonl``.
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
from upath import UPath

from shards.reader import PipelineError, SampleReader
from shards.schema import SchemaError
from trainer.data import Samples
from trainer.errors import TrainerError
from trainer.judge import Answerer, evaluation_stream, judge_all
from trainer.metrics import Judgement, metrics_of
from trainer.network import GroundingNetwork
from trainer.processor import Processor


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

    use_prior: bool = True
    """False: see what the network does without its priors."""

    batch_images: int = 32
    num_workers: int = 0

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits must be one or more different ones, got {self.splits}")


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """
    Returns:
        Split to its metrics (see ``trainer.metrics.metrics_of``), as in ``report.json``.

    Raises:
        TrainerError, SchemaError, PipelineError: something a person can mend.
    """
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    answerer = Answerer(
        network=GroundingNetwork.from_pretrained(config.checkpoint).to(accelerator.device),
        processor=Processor.from_pretrained(config.checkpoint),
    )
    report: dict[str, Any] = {}
    judgements: list[Judgement] = []
    for split in config.splits:
        found = judge_split(answerer, config, split, accelerator)
        report[split] = metrics_of(found)
        judgements += found
    if accelerator.is_main_process:
        write_report(config.output, report, judgements)
    return report


def judge_split(answerer: Answerer, config: EvaluateConfig, split: str, accelerator: Accelerator) -> list[Judgement]:
    """The judgements of one split, in the order of the data."""
    stream = evaluation_stream(
        Samples([SampleReader(config.data, split)]),
        answerer.network,
        answerer.processor,
        accelerator,
        batch_images=config.batch_images,
        num_workers=config.num_workers,
        use_prior=config.use_prior,
    )
    return judge_all(answerer, stream, accelerator)


def write_report(folder: Path, report: dict[str, Any], judgements: Sequence[Judgement]) -> None:
    """``report.json``, and one line a query in ``predictions.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(judgement.to_json()) + "\n" for judgement in judgements)
    (folder / "predictions.jsonl").write_text("".join(lines))
    (folder / "report.json").write_text(json.dumps(report, indent=1))


def main() -> None:
    """The command line."""
    config = tyro.cli(EvaluateConfig, description=__doc__)
    try:
        report = evaluate(config)
    except (TrainerError, SchemaError, PipelineError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        for split, metrics in report.items():
            print(f"{split}: Acc@0.5 {metrics['accuracy']['0.50']:.4f} of {metrics['num_queries']} queries")
        print(f"the report lies in {config.output}")


if __name__ == "__main__":
    main()
