"""Report the progress of a run from its receipts, also while it runs elsewhere or in an object store.

python -m workflows.status data/miniature/scenes
python -m workflows.status s3://bucket/data/refcoco/samples --watch-s 30
python -m workflows.status data/miniature/samples --failures
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from upath import UPath

from pipeline import (
    LimitedConfig,
    PositiveFloat,
    PositiveInt,
    Receipt,
    Report,
    compute_recent_rate,
    format_duration,
    format_progress,
    list_runs,
    open_plan,
    read_ledger,
    read_receipts,
    resolve_location,
)
from workflows.cli.console import UserError, run

out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True, kw_only=True)
class StatusConfig(LimitedConfig):
    """Run and details of the report."""

    run: Annotated[UPath, tyro.conf.Positional]
    """Folder or URI of the run."""

    failures: bool = False
    """Whether to list the quarantined samples with stage, reason and detail."""

    rejected: bool = False
    """Whether to list the rejected samples with stage, reason and detail."""

    limit: PositiveInt = 100
    """Limit of listed samples, at least 1."""

    watch_s: PositiveFloat | None = None
    """Interval of repeated reports in seconds, until the run is finished; None reports once."""


def main(config: StatusConfig) -> None:
    """Report once, or until the run is finished.

    Raises:
        UserError: the folder is no run, but contains some; names them.
    """
    if (runs := list_runs(config.run)) and resolve_location(config.run) not in runs:
        raise UserError(f"{config.run} is not a run; pass one of {', '.join(map(str, runs))}")
    while True:
        receipts = read_receipts(config.run, allow_partial=True)
        report = build_report(config.run, receipts)
        print_status(report, receipts)
        if config.watch_s is None or report.is_complete:
            break
        time.sleep(config.watch_s)
    for outcome, is_listed in (("failed", config.failures), ("rejected", config.rejected)):
        if is_listed:
            print_samples(config, receipts, outcome)


def build_report(folder: UPath, receipts: Sequence[Receipt]) -> Report:
    """Sum the receipts of a run as the run itself does."""
    report = Report.from_plan(open_plan(folder))
    for receipt in receipts:
        report.add(receipt)
    return report


def print_status(report: Report, receipts: Sequence[Receipt]) -> None:
    """Print progress, reasons, shares of time and the age of the last receipt."""
    out.print(format_progress(report, compute_recent_rate(receipts)), soft_wrap=True, markup=False)
    out.print("\n".join(report.format_details()), soft_wrap=True, markup=False)
    if receipts and not report.is_complete:
        ago_s = max(0.0, time.time() - max(receipt.finished_at for receipt in receipts))
        out.print(
            f"  the last shard was finished {format_duration(ago_s)} ago; if no process is working on the run, run its "
            "command again to resume it",
            soft_wrap=True,
        )


def print_samples(config: StatusConfig, receipts: Sequence[Receipt], outcome: str) -> None:
    """Print a table of rejected or failed samples to standard output."""
    table = Table("shard", "sample", "stage", "reason", "detail", title=outcome)
    num_matching = 0
    for receipt in receipts:
        if not getattr(receipt, outcome):
            continue
        for row in read_ledger(config.run, receipt):
            if row["outcome"] == outcome:
                num_matching += 1
                if num_matching <= config.limit:
                    cells = (row[column] for column in ("key", "stage", "reason", "detail"))
                    table.add_row(receipt.shard_id, *map(escape, cells))
    out.print(table)
    if num_matching > config.limit:
        out.print(f"{num_matching - config.limit:,} more; raise --limit to list them")


if __name__ == "__main__":
    run(main, StatusConfig, __doc__)
