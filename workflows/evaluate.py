"""How good a trained network is, where it fails, and whether its priors matter: JSON, tables, plots and pictures.

    make evaluate
    make evaluate ARGS="--dataset refcoco --checkpoint runs/refcoco-both/best --processes 4"
    python -m workflows.compare runs/miniature-both/evaluation runs/miniature-base/evaluation

Into the folder ``evaluation`` beside the checkpoint go ``report.json`` and ``report.md`` (accuracy at IoU 0.5 to 0.9
and mean IoU with 95 % bootstrap intervals; by rivals, words, length, size and category; with the true, without and with
shuffled priors), plots, sheets of the worst and of random predictions, and every prediction in ``predictions.jsonl``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from upath import UPath

from shards.reader import SampleReader
from trainer.evaluate import EvaluateConfig, evaluate, read_judgements
from trainer.evaluation.metrics import Judgement, PriorMode
from workflows.cli.accelerate_launch import LaunchConfig, launcher
from workflows.cli.console import UserError, console, lies_in, run
from workflows.cli.paths import DATA, folders, write_whole
from workflows.reports.accuracy import percent, report_of, with_interval
from workflows.reports.accuracy_plots import draw_plots
from workflows.reports.accuracy_tables import markdown
from workflows.reports.distractors import RIVALS
from workflows.visualization.prediction_sheets import draw_sheets

Reports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class EvaluateCommandConfig(LaunchConfig):
    """Which network on which splits."""

    dataset: str = "miniature"
    checkpoint: Path = Path("runs/miniature-both/best")
    splits: tuple[str, ...] = ()
    """All but ``train`` where none is named."""

    output: Path | None = None
    """Folder for the report; ``evaluation`` beside the checkpoint where not given."""

    data: UPath = DATA
    priors: tuple[PriorMode, ...] = ("true", "without", "shuffled")
    """Ways of giving priors to try; the report's tables are about the first."""

    batch_images: int = 32
    num_workers: int = 0
    """Processes that prepare pictures, of each process that asks the network."""


def main(config: EvaluateCommandConfig) -> None:
    """Evaluate, write the report and print its table."""
    output = config.output or config.checkpoint.parent / "evaluation"
    report = evaluate_to(config, output)
    if config.machine_rank == 0:
        print_table({config.checkpoint.parent.name: report})
        lies_in("the report, with plots and pictures", output)


def evaluate_to(config: EvaluateCommandConfig, output: Path) -> dict[str, Any]:
    """Split to its figures, as in ``report.json`` of ``output``."""
    samples = folders(config.dataset, config.data).evaluated
    splits = config.splits or tuple(split for split in SampleReader(samples).splits if split != "train")
    if not splits:
        raise UserError(f"{samples} holds nothing but training samples; name what to evaluate with --splits")
    ask(config, samples, splits, output)
    return write_report(samples, read_judgements(output), output) if config.machine_rank == 0 else {}


def ask(config: EvaluateCommandConfig, samples: UPath, splits: Sequence[str], output: Path) -> None:
    """Have the network answer, in this process or in several."""
    if config.processes * config.machines == 1:
        chosen = EvaluateConfig(
            checkpoint=config.checkpoint,
            data=samples,
            splits=tuple(splits),
            output=output,
            priors=config.priors,
            batch_images=config.batch_images,
            num_workers=config.num_workers,
        )
        evaluate(chosen)
        return
    options = ["--checkpoint", str(config.checkpoint), "--data", str(samples), "--output", str(output)]
    options += ["--splits", *splits, "--priors", *config.priors]
    options += ["--batch-images", str(config.batch_images), "--num-workers", str(config.num_workers)]
    done = subprocess.run([*launcher(config), "-m", "trainer.evaluate", *options], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def write_report(samples: UPath, judgements: Sequence[Judgement], output: Path) -> dict[str, Any]:
    """Figures, tables, plots and pictures of predictions."""
    report = report_of(judgements)
    write_whole(output / "report.json", json.dumps(report, indent=1))
    write_whole(output / "report.md", markdown(report))
    draw_plots(report, output)
    draw_sheets(samples, [one for one in judgements if one.priors == judgements[0].priors], output)
    return report


def print_table(reports: Mapping[str, Reports]) -> None:
    """Acc@0.5, Acc@0.75, mean IoU, and Acc@0.5 by rivals; a row for each network, split and way of giving priors."""
    present = [g for g in RIVALS if any(g in f["by"]["rivals"] for r in reports.values() for f in r.values())]
    table = Table(title="Acc@0.5 by rivals of the target's category; number of queries in brackets")
    left = ("network", "split", "priors")
    for column in (*left, "Acc@0.5 (95 %)", "Acc@0.75", "mean IoU", *(f"{g} rivals" for g in present)):
        table.add_column(column, justify="left" if column in left else "right")
    for name, report in reports.items():
        for split, figures in report.items():
            groups = [figures["by"]["rivals"].get(group) for group in present]
            by_rivals = [f"{percent(g['accuracy']['0.50'])} ({g['num_queries']})" if g else "" for g in groups]
            table.add_row(name, split, figures["priors"], *_cells(figures), *by_rivals)
            for mode, others in figures["other_priors"].items():
                table.add_row(name, split, mode, *_cells(others), *([""] * len(present)))
    console.print(table)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    return [with_interval(figures, "0.50"), percent(figures["accuracy"]["0.75"]), percent(figures["mean_iou"])]


if __name__ == "__main__":
    run(main, EvaluateCommandConfig, __doc__)
