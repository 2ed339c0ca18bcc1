"""Run a job: plan it once, run the shards without a receipt, report. To resume, call it again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from upath import UPath

from pipeline.commit import recover, remove_orphans
from pipeline.errors import PipelineError, Preempted
from pipeline.execution import execute
from pipeline.executor import ExecutorConfig
from pipeline.limits import LimitedConfig, Share
from pipeline.plan import PlanRow, PlanSettings, list_changes, open_or_make_plan, open_plan, remove_run
from pipeline.progress import ProgressView
from pipeline.report import Report
from pipeline.stage import Sink, Stage
from pipeline.storage import Location, get_local_path, lock_descriptor, resolve_location


@dataclass(frozen=True, kw_only=True)
class Job:
    """Inputs, the stages that each item passes, and the sink that writes a shard."""

    name: str
    fingerprint: Mapping[str, Any]
    """JSON values of all that decides the output: configuration, inputs (``compute_rows_sha256``), versions of code and
    models."""

    inputs: Callable[[], Iterable[PlanRow]]
    """Function that returns the inputs, called once to make the plan; it may stream."""

    stages: Sequence[Stage[Any, Any]]
    sink: Sink[Any]
    items_per_shard: int = 500
    seed: int = 0
    """Seed of the items' own seeds."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or "commit" in names:
            raise ValueError(f"stages of {self.name!r} need distinct names, none of them 'commit', got {names}")
        for stage in self.stages:
            if stage.batch_size < 1:
                raise ValueError(f"stage {stage.name!r}: batch_size must be at least 1, got {stage.batch_size}")


@dataclass(frozen=True, kw_only=True)
class Limits(LimitedConfig):
    """Limits at which a run stops."""

    max_failure_rate: Share = 0.05
    """Maximum share of failed items, 0 to 1; rejected items do not count."""

    min_attempted: int = 100
    """Number of attempted items from which on the limit applies; at the end it always does."""


def run_job(
    job: Job,
    output: Location,
    executor: ExecutorConfig | None = None,
    limits: Limits | None = None,
    console: Console | None = None,
) -> Report:
    """Run a job into a folder or a prefix of an object store, or resume it there.

    After SIGTERM, which Slurm and Kubernetes send, the shards in flight finish within ``executor.grace_s``.

    Args:
        job: inputs, stages and sink.
        output: folder of the run.
        executor: place and number of workers.
        limits: limits at which the run stops.
        console: console for progress and the summary; standard error by default.

    Returns:
        The finished report, as in ``output/report.json``.

    Raises:
        PipelineError: the run cannot start or continue; names the remedy in one line.
        Preempted: after SIGTERM; the same call resumes.
    """
    console, limits, started = console or Console(stderr=True), limits or Limits(), time.monotonic()
    executor, run = executor or ExecutorConfig(), resolve_location(output)
    settings = PlanSettings(
        name=job.name, fingerprint=job.fingerprint, seed=job.seed, items_per_shard=job.items_per_shard
    )
    if executor.replace:
        _remove_other_run(run, settings, console)
    with _lock_run(run), _watch_sigterm(job.name, executor.grace_s) as is_stopping:
        plan = open_or_make_plan(run, settings, _iterate_rows(job))
        report, done = Report.from_plan(plan), recover(plan)
        for receipt in done:
            report.add(receipt)
        num_done_before = report.shards_done
        todo = sorted(plan.shards.keys() - {receipt.shard_id for receipt in done})
        try:
            receipts = execute(plan, job.stages, job.sink, todo, executor, is_stopping)
            with ProgressView(report, console) as progress, closing(receipts):
                for receipt in receipts:
                    report.add(receipt)
                    done.append(receipt)
                    progress.update()
                    _check_failures(report, limits)
            if is_stopping() and not report.is_complete:
                raise _make_preempted(job.name)
            _check_failures(report, limits)
            if todo:
                remove_orphans(plan, done)
        finally:
            report.add_call(time.monotonic() - started, report.shards_done - num_done_before)
            report.write()
            console.print("\n".join(report.format_lines()), soft_wrap=True, highlight=False, markup=False)
    return report


def _iterate_rows(job: Job) -> Iterator[PlanRow]:
    """Yield the inputs; call ``inputs`` at the first row only, since a resumed run reads none."""
    yield from job.inputs()


def _remove_other_run(run: UPath, settings: PlanSettings, console: Console) -> None:
    """Remove the run in the folder if it was planned with other settings."""
    with _lock_run(run):  # not while another process works there
        changes = list_changes(open_plan(run), settings) if (run / "plan" / "plan.json").exists() else []
        if changes:
            remove_run(run)
    if changes:
        message = f"{settings.name}: removed {run} and starts again ({'; '.join(changes)})"
        console.print(message, soft_wrap=True, highlight=False, markup=False)


def _check_failures(report: Report, limits: Limits) -> None:
    """Stop above the limit of failures."""
    failed = report.failed.total()
    is_conclusive = report.is_complete or report.attempted >= limits.min_attempted
    if not is_conclusive or failed <= limits.max_failure_rate * report.attempted:
        return
    reason, count = report.failed.most_common(1)[0]
    raise PipelineError(
        f"{report.name}: {failed} of {report.attempted} items failed, more than the limit of "
        f"{limits.max_failure_rate:.1%}; the worst reason is {reason} ({count} items), "
        f"see `python -m workflows.status {report.run} --failures`. "
        "Fix the cause and start in a new folder, or allow a higher rate"
    )


@contextmanager
def _watch_sigterm(name: str, grace_s: float) -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether SIGTERM has come; ``grace_s`` later the block ends."""
    stop_requested = threading.Event()

    def handle_sigterm(*_: object) -> None:
        stop_requested.set()
        signal.setitimer(signal.ITIMER_REAL, grace_s)

    def handle_end_of_grace(*_: object) -> None:
        raise _make_preempted(name)

    if threading.current_thread() is not threading.main_thread():  # only that one may listen to signals
        yield stop_requested.is_set
        return
    before = signal.signal(signal.SIGTERM, handle_sigterm), signal.signal(signal.SIGALRM, handle_end_of_grace)
    try:
        yield stop_requested.is_set
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


def _make_preempted(name: str) -> Preempted:
    return Preempted(f"{name} was asked to stop; committed shards stay, run the same command again to resume")


@contextmanager
def _lock_run(run: UPath) -> Iterator[None]:
    """Keep a second run out of a local folder. This saves work only: receipts alone keep the output correct."""
    try:
        here = get_local_path(run)
        if here is None:
            yield
            return
        for folder in ("shards", "attempts", "receipts"):
            (here / folder).mkdir(parents=True, exist_ok=True)
        with (here / ".lock").open("w") as lock:
            lock_descriptor(lock.fileno(), run)
            yield
    except OSError as error:
        raise PipelineError(f"run {run} stopped: {error}; fix the cause and run the same command again") from error
