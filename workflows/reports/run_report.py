"""Plot of a run's outcomes and times, ``report.png`` beside ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline import ExecutorConfig, Job, Location, Report, resolve_location, run_job
from workflows.cli.console import UserError
from workflows.reports.plot_style import new_figure, plot_levels, save_figure

REPORT_PLOT = "report.png"


def run_and_plot_job(job: Job, output: Location, executor: ExecutorConfig) -> Report:
    """Run a job and plot its report, unless the finished run has the plot already.

    Raises:
        PipelineError: see ``run_job``.
        UserError: a stage should have a GPU of this machine, but torch sees none.
    """
    if executor.executor == "inline" and any(stage.resources.num_gpus for stage in job.stages):
        _check_gpu()
    report, path = run_job(job, output, executor), resolve_location(output) / REPORT_PLOT
    if not path.is_file():
        plot_run(report, path)
    return report


def _check_gpu() -> None:
    import torch

    if not torch.accelerator.is_available():
        raise UserError(
            "--num-gpus was passed, but torch sees no GPU; leave it out to use the CPU, or run `make check-setup` to "
            "see if your build of torch is the reason"
        )


def plot_run(report: Report, path: Location) -> None:
    """Plot a funnel of the items and each stage's share of the working time."""
    outcomes = count_outcomes(report.attempted, report.accepted, report.rejected, report.failed)
    figure, (items, time) = new_figure(9, 1.2 + 0.26 * max(len(outcomes), len(report.stage_seconds)), 2, columns=2)
    plot_levels(items, outcomes, f"{report.name}: items")
    plot_levels(time, compute_time_shares(report.stage_seconds), "working time by stage (%)", decimals=1)
    save_figure(figure, path)


def count_outcomes(
    attempted: int, accepted: int, rejected: Mapping[str, int], failed: Mapping[str, int], kept: Mapping[str, int] = {}
) -> dict[str, float]:
    """Count all items, those rejected by reason, the remaining ones, and their outcomes."""
    away = {f"rejected: {reason}": count for reason, count in sorted(rejected.items(), key=lambda one: -one[1])}
    away |= {f"failed: {reason}": count for reason, count in sorted(failed.items(), key=lambda one: -one[1])}
    return {"attempted": attempted, **away, "accepted": accepted, **kept}


def compute_time_shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Compute the percentage of time per stage, in the order of the stages."""
    total = sum(seconds.values())
    return {stage: 100 * value / total for stage, value in seconds.items()} if total else {}
