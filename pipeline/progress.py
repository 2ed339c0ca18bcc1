"""Progress of a run: a live bar in a terminal, plain lines at intervals elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from pipeline.receipts import Receipt
from pipeline.report import Report


class ProgressView:
    """View of a report while it grows. Rates count from the start of the view, without earlier runs."""

    def __init__(self, report: Report, console: Console, *, interval_s: float = 10.0) -> None:
        self._report = report
        self._console = console
        self._interval_s = interval_s
        self._started = self._printed = time.monotonic()
        self._attempted_before = report.attempted
        self._live = Live(get_renderable=self._render, console=console, transient=True)

    def __enter__(self) -> ProgressView:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._print()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._live.stop()

    def update(self) -> None:
        """Print a line if the report has grown and the interval has passed."""
        if not self._console.is_terminal and time.monotonic() - self._printed >= self._interval_s:
            self._print()

    def format_line(self) -> str:
        """Return ``format_progress`` at the rate since the start of the view."""
        done = self._report.attempted - self._attempted_before
        return format_progress(self._report, done / max(time.monotonic() - self._started, 1e-9))

    def _print(self) -> None:
        self._printed = time.monotonic()
        self._console.print(self.format_line(), soft_wrap=True, highlight=False, markup=False)

    def _render(self) -> Group:
        bar = ProgressBar(total=self._report.num_items, completed=self._report.attempted)
        return Group(bar, Text("\n".join([self.format_line(), *self._report.format_details()])))


def format_progress(report: Report, items_per_s: float) -> str:
    """Return ``demo: 3/10 shards, 96/320 samples, 41.2/s, 6 s left, 90 accepted, 4 rejected, 2 failed``."""
    waiting = report.num_items - report.attempted
    seconds = 0.0 if not waiting else waiting / items_per_s if items_per_s else None
    left = "time left unknown" if seconds is None else f"{format_duration(seconds)} left"
    return (
        f"{report.name}: {report.shards_done:,}/{report.num_shards:,} shards, "
        f"{report.attempted:,}/{report.num_items:,} samples, {items_per_s:,.1f}/s, {left}, "
        f"{report.accepted:,} accepted, {report.rejected.total():,} rejected, {report.failed.total():,} failed"
    )


def compute_recent_rate(receipts: Sequence[Receipt], window_s: float = 600.0) -> float:
    """Compute items per second over the last minutes before the last receipt; 0 for less than two receipts."""
    ordered = sorted(receipts, key=lambda receipt: receipt.finished_at)
    recent = [receipt for receipt in ordered if receipt.finished_at >= ordered[-1].finished_at - window_s]
    if len(recent) < 2:
        return 0.0
    span_s = recent[-1].finished_at - recent[0].finished_at
    return sum(receipt.attempted for receipt in recent[1:]) / max(span_s, 1e-9)


def format_duration(seconds: float) -> str:
    """Return ``42 s``, ``7 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
