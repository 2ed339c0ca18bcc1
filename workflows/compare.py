"""Compare two networks on the same queries, paired, with bootstrap intervals.

    python -m workflows.compare runs/miniature-both/evaluation runs/miniature-base/evaluation
    make compare A=runs/miniature-both/evaluation B=runs/miniature-base/evaluation

Differences are of the first network minus the second one, each with the prior mode that its report is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from trainer.evaluate import SET_PREDICTIONS, Record, read_predictions, read_set_predictions
from workflows.cli.console import console, run, save_results
from workflows.reports.accuracy import compare_evaluations
from workflows.reports.accuracy_tables import format_comparison


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two folders that ``evaluate`` wrote."""

    first: Annotated[Path, tyro.conf.Positional]
    """Folder of the first evaluation, as ``evaluate`` writes it."""

    second: Annotated[Path, tyro.conf.Positional]
    """Folder of the second evaluation, of the same queries."""

    output: Path | None = None
    """Folder for ``comparison.json`` and ``comparison.md``; the first evaluation's by default."""


def main(config: CompareConfig) -> None:
    """Print and write the comparison."""
    folders = (config.first, config.second)
    first, second = (_keep_first_mode(read_predictions(folder)) for folder in folders)
    sets = (_keep_first_mode(read_set_predictions(config.first)), _keep_first_mode(read_set_predictions(config.second)))
    comparison = compare_evaluations(first, second, sets)
    for folder, some, others in zip(folders, sets, reversed(sets), strict=True):
        if others and not some:
            console.print(
                f"not compared: queries with any number of targets, since {folder} has no {SET_PREDICTIONS}; evaluate "
                "a network with a presence head or a calibration there"
            )
    names = (_get_run_name(config.first), _get_run_name(config.second))
    text = format_comparison(names, comparison)
    save_results(config.output or config.first, "comparison", {"runs": names, "splits": comparison}, text)


def _keep_first_mode(records: Sequence[Record]) -> list[Record]:
    """Return the records of the first prior mode, which the report is about."""
    return [one for one in records if one.priors == records[0].priors]


def _get_run_name(folder: Path) -> str:
    """Return the run's name, such as "miniature-both" for ``runs/miniature-both/evaluation``."""
    return folder.parent.name if folder.name == "evaluation" else folder.name


if __name__ == "__main__":
    run(main, CompareConfig, __doc__)
