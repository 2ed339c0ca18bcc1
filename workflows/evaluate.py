"""Accuracy of a trained network on the test splits, overall and by the number of rivals of the target.

make evaluate
make evaluate ARGS="--dataset refcoco --checkpoint runs/refcoco-both/best --splits val testA testB"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from upath import UPath

from trainer.evaluate import EvaluateConfig, evaluate
from workflows.console import console, lies_in, run
from workflows.layout import DATA, folders

Reports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class EvaluateCommandConfig:
    """Which network on which splits."""

    dataset: str = "miniature"
    checkpoint: Path = Path("runs/miniature-both/best")
    splits: tuple[str, ...] = ("val", "testA", "testB")
    output: Path | None = None
    """Folder for ``report.json`` and ``predictions.jsonl``; ``evaluation`` beside the checkpoint where not given."""

    data: UPath = DATA
    use_prior: bool = True
    """False: see what the network does without its priors."""


def main(config: EvaluateCommandConfig) -> None:
    """Evaluate and print one table."""
    output = config.output or config.checkpoint.parent / "evaluation"
    report = evaluate_to(config, output)
    print_table({config.checkpoint.parent.name: report})
    lies_in("the report", output)


def evaluate_to(config: EvaluateCommandConfig, output: Path) -> dict[str, Any]:
    """Split to metrics, as written to ``output``."""
    return evaluate(
        EvaluateConfig(
            checkpoint=config.checkpoint,
            data=folders(config.dataset, config.data).packed("samples"),
            splits=config.splits,
            output=output,
            use_prior=config.use_prior,
        )
    )


def print_table(reports: Mapping[str, Reports]) -> None:
    """Acc@0.5, Acc@0.75, mean IoU, and Acc@0.5 by rivals; a row for each network and split."""
    groups = ("0", "1", "2-3", "4+", "unknown")
    present = [g for g in groups if any(g in m["by_rivals"] for r in reports.values() for m in r.values())]
    table = Table(title="Acc@0.5 by rivals of the target's category; number of queries in brackets")
    for column in ("network", "split", "Acc@0.5", "Acc@0.75", "mean IoU", *(f"{g} rivals" for g in present)):
        table.add_column(column, justify="left" if column in ("network", "split") else "right")
    for name, report in reports.items():
        for split, metrics in report.items():
            cells = [name, split, *(_percent(metrics["accuracy"][t]) for t in ("0.50", "0.75"))]
            cells.append(_percent(metrics["mean_iou"]))
            for group in present:
                part = metrics["by_rivals"].get(group)
                cells.append(f"{_percent(part['accuracy']['0.50'])} ({part['num_queries']})" if part else "")
            table.add_row(*cells)
    console.print(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


if __name__ == "__main__":
    run(main, EvaluateCommandConfig, __doc__)
