"""Evaluate a trained network: accuracy, failures and the effect of priors, as JSON, tables, plots and images.

    make evaluate
    make evaluate ARGS="--dataset refcoco --checkpoint runs/refcoco-both/best --num-processes 4"
    make evaluate ARGS="--dataset refcoco --predictions answers.jsonl"                  # predictions of any other model
    python -m workflows.compare runs/miniature-both/evaluation runs/miniature-base/evaluation

The folder ``evaluation`` beside the checkpoint then holds
- ``report.json`` and ``report.md``: accuracy at IoU 0.5 to 0.9 and mean IoU with 95 % bootstrap intervals; by
  distractors, words, length, size and category; with own, without and with shuffled priors; N-acc, T-acc and
  Pr@(F1=1) of queries with any number of targets, if the data have such queries;
- plots, and sheets of the worst and of random predictions;
- ``predictions.jsonl`` with every prediction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from upath import UPath

from pipeline import PositiveInt, write_atomic
from shards.exports.conversations import MAX_PIXELS, MIN_PIXELS
from shards.reader import SampleReader
from trainer.config_file import read_config, write_config
from trainer.evaluate import (
    CONFIG_FILE,
    EvaluateConfig,
    evaluate,
    read_predictions,
    read_set_predictions,
    write_predictions,
)
from trainer.evaluation.generalized import SetPrediction
from trainer.evaluation.metrics import PredictionRecord, PriorMode
from trainer.files import find_checkpoint
from workflows.cli.accelerate_launch import LaunchConfig, launch
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig, write_lines
from workflows.reports.accuracy import build_report, format_interval, format_percent
from workflows.reports.accuracy_plots import plot_report
from workflows.reports.accuracy_tables import format_report
from workflows.reports.distractors import DISTRACTOR_GROUPS
from workflows.reports.external_predictions import BoxReading, BoxScale, read_external_predictions
from workflows.visualization.prediction_sheets import draw_sheets

Reports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class EvaluateCommandConfig(DatasetConfig, LaunchConfig):
    """Network and splits of an evaluation."""

    checkpoint: Path | None = None
    """Folder that training has saved; ``miniature``, the shipped network; or a hub id, ``org/name`` or
    ``org/name@revision``. Default ``runs/<dataset>-both/best``."""

    predictions: Path | None = None
    """Predictions of another model to evaluate instead of a network: JSON lines or CSV with ``query_id``, or ``image``
    and ``query``, and ``box`` or ``answer``."""

    box_scale: BoxScale = "pixels"
    """Unit of the boxes in ``predictions``, as ``make export`` writes them for the model."""

    min_pixels: PositiveInt = MIN_PIXELS
    """Minimum pixels of an image in Qwen2.5-VL's processor, for the box scale qwen2.5-vl."""

    max_pixels: PositiveInt = MAX_PIXELS
    """Maximum pixels of an image in that processor."""

    splits: tuple[str, ...] = ()
    """Splits; default all but ``train``."""

    output: Path | None = None
    """Folder for the report; default ``evaluation`` beside the checkpoint, for a shipped network
    ``runs/<name>/evaluation``. It must not hold another network's or dataset's."""

    priors: tuple[PriorMode, ...] = ("own", "none", "shuffled")
    """Prior modes; the report's tables are about the first."""

    batch_images: int = 32
    """Images of a batch of one process."""

    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Precision of the network; ``bf16`` and ``fp16`` are faster on GPUs. Default None: as `accelerate config` says, or
    else float32."""

    num_workers: int = 0
    """Background processes that build batches, for each process; 0 builds them in between."""

    def find_checkpoint(self) -> Path:
        """Return the checkpoint; by default the network of the dataset with priors and scenes.

        Raises:
            UserError: there is none; lists the others.
        """
        if self.checkpoint:
            return find_checkpoint(self.checkpoint)
        if (checkpoint := Path("runs") / f"{self.dataset}-both" / "best").exists():
            return checkpoint
        others = ", ".join(sorted(map(str, Path("runs").glob("*/best"))))
        raise UserError(
            f"{checkpoint} does not exist; train it by `make train`, or pass --checkpoint ({others or 'none yet'})"
        )


def main(config: EvaluateCommandConfig) -> None:
    """Evaluate, write the report and print its table."""
    if config.predictions:
        output = config.output or Path("runs") / config.predictions.stem / "evaluation"
        print_table({config.predictions.stem: evaluate_predictions(config, config.predictions, output)})
        print_path("the report, with plots and images", output)
        return
    checkpoint = config.find_checkpoint()
    is_shipped = config.checkpoint not in (None, checkpoint)
    network = Path("runs") / str(config.checkpoint) if is_shipped else checkpoint.parent
    output = config.output or network / "evaluation"
    report = evaluate_to(config, output)
    if config.machine_rank == 0:
        print_table({network.name: report})
        print_path("the report, with plots and images", output)


def evaluate_to(config: EvaluateCommandConfig, output: Path) -> dict[str, Any]:
    """Evaluate, write the report, and return the contents of ``report.json`` by split.

    Raises:
        UserError: the data have no split but ``train``, or the folder holds another network's or dataset's evaluation.
    """
    samples, splits = find_evaluated_splits(config)
    run_evaluation(config, samples, splits, output)
    if config.machine_rank:
        return {}
    subject = f"Network {config.find_checkpoint()} on {samples}."
    return write_report(samples, read_predictions(output), output, subject, read_set_predictions(output))


def evaluate_predictions(config: EvaluateCommandConfig, predictions: Path, output: Path) -> dict[str, Any]:
    """Evaluate the predictions of another model, write the report, and return the contents of ``report.json``.

    Raises:
        UserError: the data are missing, or the file answers no query of them.
    """
    samples, splits = find_evaluated_splits(config)
    reading = BoxReading(scale=config.box_scale, min_pixels=config.min_pixels, max_pixels=config.max_pixels)
    readers = [SampleReader(samples, split) for split in splits]
    result = read_external_predictions(predictions, chain.from_iterable(readers), reading)
    if (output / CONFIG_FILE).is_file():
        raise UserError(f"{output} holds the evaluation of a network; pass another --output, or remove that folder")
    write_predictions(output, result.records)
    write_lines(UPath(output) / "problems.jsonl", result.problems)
    for rule, count in result.count_problems().items():
        console.print(f"[yellow]{rule}:[/] {count:,} times; listed in {output / 'problems.jsonl'}")
    unanswered = result.count_problems()["no_answer"]
    subject = f"Predictions {predictions} on {samples}."
    if unanswered:
        subject += f" {unanswered:,} of {len(result.records):,} queries have no answer and count as wrong."
    return write_report(samples, result.records, output, subject)


def find_evaluated_splits(config: EvaluateCommandConfig) -> tuple[UPath, tuple[str, ...]]:
    """Return the run of the samples and the splits to evaluate.

    Raises:
        UserError: the data are missing, or have no split but ``train``.
    """
    samples = config.check_exists(config.paths.evaluated, "ingest")
    splits = config.splits or tuple(split for split in SampleReader(samples).splits if split != "train")
    if not splits:
        raise UserError(f"{samples} has only the split train; name the splits to evaluate on with --splits")
    return samples, splits


def run_evaluation(config: EvaluateCommandConfig, samples: UPath, splits: Sequence[str], output: Path) -> None:
    """Evaluate the network and write its predictions, in this process or in several."""
    evaluate_config = EvaluateConfig(
        checkpoint=config.find_checkpoint(),
        data=samples,
        splits=tuple(splits),
        output=output,
        priors=config.priors,
        batch_images=config.batch_images,
        mixed_precision=config.mixed_precision,
        num_workers=config.num_workers,
    )
    _refuse_other_evaluation(evaluate_config, output)
    write_config(evaluate_config, output / CONFIG_FILE)
    if not config.needs_launcher:
        evaluate(evaluate_config)
        return
    launch(config, ["-m", "trainer.evaluate", "--config", str(output / CONFIG_FILE)])


def _refuse_other_evaluation(config: EvaluateConfig, output: Path) -> None:
    """Raise an error if the folder holds the evaluation of another network or dataset."""
    if not (output / CONFIG_FILE).is_file():
        return
    before = read_config(EvaluateConfig, output / CONFIG_FILE)
    if (before.checkpoint, str(before.data.parent)) != (config.checkpoint, str(config.data.parent)):
        raise UserError(
            f"{output} holds the evaluation of {before.checkpoint} on {before.data}, not of {config.checkpoint} on "
            f"{config.data}; pass another --output, or remove that folder"
        )


def write_report(
    samples: UPath,
    records: Sequence[PredictionRecord],
    output: Path,
    subject: str = "",
    sets: Sequence[SetPrediction] = (),
) -> dict[str, Any]:
    """Write the report of predictions with its tables, plots and images, and return it.

    Args:
        samples: run of the samples.
        records: predictions.
        output: folder of the report.
        subject: sentence that names network and data.
        sets: predictions for queries with any number of targets; none if the network cannot tell.
    """
    report = build_report(records, sets)
    write_atomic(output / "report.json", json.dumps(report, indent=1))
    write_atomic(output / "report.md", format_report(report, subject))
    plot_report(report, output)
    draw_sheets(samples, [record for record in records if record.priors == records[0].priors], output)
    return report


def print_table(reports: Mapping[str, Reports]) -> None:
    """Print accuracy, mean IoU and Acc@0.5 by distractors; a row for each network, split and prior mode."""
    present = [
        g for g in DISTRACTOR_GROUPS if any(g in f["by"]["distractors"] for r in reports.values() for f in r.values())
    ]
    table = Table(title="Acc@0.5 by distractors of the target's category; number of queries in brackets")
    left = ("network", "split", "priors")
    for column in (*left, "Acc@0.5 (95 %)", "Acc@0.75", "mean IoU", *(f"distractors: {g}" for g in present)):
        table.add_column(column, justify="left" if column in left else "right")
    for name, report in reports.items():
        for split, figures in report.items():
            groups = [figures["by"]["distractors"].get(group) for group in present]
            by_distractors = [
                f"{format_percent(g['accuracy']['0.50'])} ({g['num_queries']})" if g else "" for g in groups
            ]
            table.add_row(name, split, figures["priors"], *_format_cells(figures), *by_distractors)
            for mode, mode_figures in figures["other_priors"].items():
                table.add_row(name, split, mode, *_format_cells(mode_figures), *([""] * len(present)))
    console.print(table)


def _format_cells(figures: Mapping[str, Any]) -> list[str]:
    return [
        format_interval(figures, "0.50"),
        format_percent(figures["accuracy"]["0.75"]),
        format_percent(figures["mean_iou"]),
    ]


if __name__ == "__main__":
    run(main, EvaluateCommandConfig, __doc__)
