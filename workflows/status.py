"""How far a run is, from its receipts alone: also while it is at work elsewhere, also in an object store.

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
    Receipt,
    Report,
    compute_recent_rate,
    format_duration,
    format_progress,
    open_plan,
    read_ledger,
    read_receipts,
)
from workflows.cli.console import UserError, run

out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Which run, and how much of it is told."""

    run: Annotated[UPath, tyro.conf.Positional]
    """Folder or URI of the run."""

    failures: bool = False
    """List the quarantined samples, each with its stage, reason and detail."""

    rejected: bool = False
    """List the rejected samples in the same way."""

    limit: int = 100
    """List at most so many."""

    watch_s: float | None = None
    """Tell again every so many seconds until the run is finished."""

    def __post_init__(self) -> None:
        if self.limit < 1 or (self.watch_s is not None and self.watch_s <= 0):
            raise UserError("--limit and --watch-s must be positive")


def main(config: StatusConfig) -> None:
    """Tell once, or until the run is finished."""
    while True:
        receipts = read_receipts(config.run, allow_partial=True)
        report = build_report(config.run, receipts)
        print_status(report, receipts)
        if config.watch_s is None or report.is_complete:
            break
        time.sleep(config.watch_s)
    for outcome, wanted in (("failed", config.failures), ("rejected", config.rejected)):
        if wanted:
            print_samples(config, receipts, outcome)


def build_report(folder: UPath, receipts: Sequence[Receipt]) -> Report:
    """The sums over receipts, as the run itself reports them."""
    report = Report.from_plan(open_plan(folder))
    for receipt in receipts:
        report.add(receipt)
    return report


def print_status(report: Report, receipts: Sequence[Receipt]) -> None:
    """Progress, reasons and shares of time; and when the last shard came, since nobody else says that a run died."""
    out.print(format_progress(report, compute_recent_rate(receipts)), soft_wrap=True, markup=False)
    out.print("\n".join(report.format_details()), soft_wrap=True, markup=False)
    if receipts and not report.is_complete:
        ago_s = max(0.0, time.time() - max(receipt.finished_at for receipt in receipts))
        out.print(f"  the last shard came {format_duration(ago_s)} ago; if nothing runs, the same command goes on")


def print_samples(config: StatusConfig, receipts: Sequence[Receipt], outcome: str) -> None:
    """A table of samples that were not accepted, on standard output."""
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
        out.print(f"{num_matching - config.limit:,} more; --limit says how many are listed")


if __name__ == "__main__":
    run(main, StatusConfig, __doc__)
