"""What the engine costs: plans, resumes, memory, overhead, waiting workers, and a job of ten million samples.

    make benchmark NAME=engine                                 # about 20 minutes on two cores
    python -m benchmarks.engine --only plan resume

Prints a table and writes the figures as JSON. Compared are ratios within one run, in turn, several times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from pipeline import (
    ExecutorConfig,
    Item,
    Job,
    PlanRow,
    PlanSettings,
    Rejected,
    Resources,
    ShardItems,
    Sink,
    SinkOutput,
    Stage,
    read_receipts,
    run_job,
)
from pipeline.commit import recover
from pipeline.plan import open_or_make_plan
from workflows.cli.console import configure_library_logging

Figures = dict[str, float | int | str]
quiet = Console(file=io.StringIO())


@dataclass(frozen=True, kw_only=True)
class Blob:
    key: str
    content: bytes


class NothingStage(Stage[Item, Blob]):
    batch_size = 100

    def process(self, items: list[Item]) -> list[Blob | Rejected]:
        return [Blob(key=item.key, content=b"") for item in items]


class BlobStage(Stage[Item, Blob]):
    """A tenth of a megabyte an item."""

    batch_size = 10

    def process(self, items: list[Item]) -> list[Blob | Rejected]:
        return [Blob(key=item.key, content=bytes(100_000)) for item in items]


class WaitStage(Stage[Item, Blob]):
    resources = Resources(num_cpus=0.01)
    batch_size = 1

    def process(self, items: list[Item]) -> list[Blob | Rejected]:
        time.sleep(0.2)
        return [Blob(key=item.key, content=b"") for item in items]


class TarSink(Sink[Blob]):
    def write(self, items: list[Blob], folder: Path) -> SinkOutput:
        with tarfile.open(folder / "blobs.tar", "w") as tar:
            for item in items:
                info = tarfile.TarInfo(item.key)
                info.size = len(item.content)
                tar.addfile(info, io.BytesIO(item.content))
        return SinkOutput(files={"tar": folder / "blobs.tar"})


class NothingSink(Sink[Blob]):
    def write(self, items: list[Blob], folder: Path) -> SinkOutput:
        (folder / "count").write_text(str(len(items)))
        return SinkOutput(files={"count": folder / "count"})


def make_rows(count: int) -> Iterator[PlanRow]:
    for number in range(count):
        yield PlanRow(key=f"refcoco_train_{number:09d}", payload={"text": "second cup from the left", "n": number})


def make_job(count: int, per_shard: int, stage: Stage[Any, Any], sink: Sink[Any]) -> Job:
    return Job(
        name="benchmark",
        fingerprint={},
        inputs=lambda: make_rows(count),
        items_per_shard=per_shard,
        seed=0,
        stages=[stage],
        sink=sink,
    )


def run_in_process(function: Callable[..., Figures], *arguments: Any) -> Figures:
    """Run in a fresh process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def get_peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1)


def measure_plan(folder: Path, count: int, per_shard: int) -> Figures:
    """Make a plan, and open it again."""
    settings = PlanSettings(name="benchmark", fingerprint={}, seed=0, items_per_shard=per_shard)
    started = time.perf_counter()
    new_plan = open_or_make_plan(folder, settings, make_rows(count))
    made_s = time.perf_counter() - started
    started = time.perf_counter()
    open_or_make_plan(folder, settings, iter(()))
    opened_s = time.perf_counter() - started
    started = time.perf_counter()
    ShardItems(new_plan).read(list(new_plan.shards)[-1])
    return {
        "samples": count,
        "shards": len(new_plan.shards),
        "make_s": round(made_s, 2),
        "open_and_check_s": round(opened_s, 2),
        "read_one_shard_s": round(time.perf_counter() - started, 2),
        "peak_mb": get_peak_mb(),
        "plan_json_mb": round((folder / "plan" / "plan.json").stat().st_size / 1e6, 2),
        "items_parquet_mb": round(new_plan.items.stat().st_size / 1e6, 1),
    }


def measure_resume(folder: Path) -> Figures:
    """Measure the start of a resumed run: open the plan, read and check every receipt."""
    started = time.perf_counter()
    settings = PlanSettings(name="benchmark", fingerprint={}, seed=0, items_per_shard=_read_items_per_shard(folder))
    opened = open_or_make_plan(folder, settings, iter(()))
    receipts = recover(opened)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in (folder / "receipts").iterdir())
    return {
        "receipts": len(receipts),
        "resume_s": round(seconds, 2),
        "receipts_mb": round(size / 1e6, 1),
        "peak_mb": get_peak_mb(),
    }


def _read_items_per_shard(folder: Path) -> int:
    return int(json.loads((folder / "plan" / "plan.json").read_bytes())["settings"]["items_per_shard"])


def run_alone(folder: Path, count: int, per_shard: int, kind: str) -> Figures:
    """Measure the time of a run, and the peak of driver and worker process."""
    stage, sink = (BlobStage(), TarSink()) if kind == "blobs" else (NothingStage(), NothingSink())
    peaks: dict[int, int] = {}
    ended: list[bool] = []

    def watch() -> None:
        me = psutil.Process()
        while not ended:
            for process in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    peaks[process.pid] = max(peaks.get(process.pid, 0), process.memory_info().rss)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    report = run_job(make_job(count, per_shard, stage, sink), folder, ExecutorConfig(), console=quiet)
    seconds = time.perf_counter() - started
    ended.append(True)
    watcher.join()
    return {
        "samples": report.attempted,
        "shards": report.shards_done,
        "run_s": round(seconds, 1),
        "driver_peak_mb": get_peak_mb(),
        "worker_peak_mb": round(max(peaks.values(), default=0) / 1e6, 1),
    }


def make_miniature_job(count: int) -> Job:
    """Return the job of ``make generate-priors`` with the miniature models: real stages and their sink."""
    # Only here, so that the peaks of the other measurements are the engine's own.
    from generation.priors.config import build_image_settings
    from workflows import generate_priors
    from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS

    config = generate_priors.GeneratePriorsConfig()
    settings = build_image_settings(config.prior)
    names = [f"a {color} {pattern} {category}" for category in CATEGORIES for color in COLORS for pattern in PATTERNS]
    prompts = [f"{names[number % len(names)]}{' on grass' * (number // len(names))}" for number in range(count)]
    rows = [PlanRow(key=f"{i:06d}", payload={"prompt": prompt, "attributes": {}}) for i, prompt in enumerate(prompts)]
    return generate_priors.make_prior_job(config, settings, {}, lambda: rows)


def run_plain_loop(folder: Path, job: Job) -> None:
    """Call the same stages and sink without the engine."""
    settings = PlanSettings(name=job.name, fingerprint={}, seed=job.seed, items_per_shard=job.items_per_shard)
    new_plan = open_or_make_plan(folder, settings, job.inputs())
    items = ShardItems(new_plan)
    for stage in job.stages:
        stage.setup()
    for shard_id in new_plan.shards:
        alive: list[Any] = list(items.read(shard_id))
        for stage in job.stages:
            batches = [alive[start : start + stage.batch_size] for start in range(0, len(alive), stage.batch_size)]
            alive = [result for batch in batches for result in stage.process(batch)]
        (folder / shard_id).mkdir()
        job.sink.write(alive, folder / shard_id)


def measure_overhead(scratch: Path, count: int, rounds: int) -> Figures:
    """Plain loop, engine in one process, engine with one Ray worker, in turn; first each with a single item."""
    from pipeline.ray_executor import SINK_RESOURCES, open_ray_session

    on_ray = ExecutorConfig(executor="ray")
    seconds: dict[str, list[float]] = {"plain": [], "inline": [], "ray": []}
    starts: dict[str, float] = {}

    def measure_run(name: str, folder: Path, job: Job) -> float:
        started = time.perf_counter()
        if name == "plain":
            run_plain_loop(folder, job)
        else:
            run_job(job, folder, on_ray if name == "ray" else ExecutorConfig(), console=quiet)
        return time.perf_counter() - started

    started = time.perf_counter()
    with open_ray_session(on_ray, [*(stage.resources for stage in make_miniature_job(1).stages), SINK_RESOURCES]):
        session_s = time.perf_counter() - started
        run_plain_loop(scratch / "imports", make_miniature_job(1))
        for name in seconds:
            starts[name] = measure_run(name, scratch / f"{name}-start", make_miniature_job(1))
        for number in range(rounds):
            for name in seconds:
                seconds[name].append(measure_run(name, scratch / f"{name}{number}", make_miniature_job(count)))

    def compute_ratio(name: str, subtract_start: bool) -> float:
        a, b = starts[name] * subtract_start, starts["plain"] * subtract_start
        pairs = zip(seconds[name], seconds["plain"], strict=True)
        return round(statistics.median((one - a) / (other - b) for one, other in pairs), 3)

    return {
        "items": count,
        **{f"{name}_s": " ".join(f"{s:.1f}" for s in values) for name, values in seconds.items()},
        **{f"{name}_with_one_item_s": round(value, 1) for name, value in starts.items()},
        "ray_session_start_s": round(session_s, 1),
        **{f"{name}_to_plain": compute_ratio(name, False) for name in ("inline", "ray")},
        **{f"{name}_to_plain_start_apart": compute_ratio(name, True) for name in ("inline", "ray")},
    }


def measure_waiting(scratch: Path) -> Figures:
    """Shards a second in steady state, with one worker and with eight, of a stage that sleeps."""
    from pipeline.ray_executor import open_ray_session

    rates: dict[int, list[float]] = {1: [], 8: []}
    needs = [WaitStage.resources, Resources(num_cpus=4)]
    with open_ray_session(ExecutorConfig(executor="ray", workers=1), needs):
        for number in range(3):
            for workers in rates:
                config = ExecutorConfig(executor="ray", workers=workers)
                count = 12 * workers
                folder = scratch / f"{workers}-{number}"
                run_job(make_job(count * 5, 5, WaitStage(), NothingSink()), folder, config, console=quiet)
                ends = sorted(receipt.finished_at for receipt in read_receipts(folder))
                rates[workers].append((len(ends) - 2 * workers) / (ends[-1 - workers] - ends[workers - 1]))
    speedups = [eight / one for eight, one in zip(rates[8], rates[1], strict=True)]
    return {
        "one_worker_shards_per_s": " ".join(f"{rate:.2f}" for rate in rates[1]),
        "eight_workers_shards_per_s": " ".join(f"{rate:.2f}" for rate in rates[8]),
        "speedup": round(statistics.median(speedups), 2),
    }


def measure_driver(folder: Path) -> Figures:
    """Shards a second that the Ray driver hands from pool to pool when there is nothing to do."""
    config = ExecutorConfig(executor="ray", workers=2)
    run_job(make_job(2000, 1, NothingStage(), NothingSink()), folder, config, console=quiet)
    ends = sorted(receipt.finished_at for receipt in read_receipts(folder))
    return {"shards": len(ends), "shards_per_s": round((len(ends) - 100) / (ends[-1] - ends[99]), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["plan", "resume", "memory", "overhead", "waiting", "driver", "scale"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/engine.json"))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray gives its actors, so that like is compared with like
    configure_library_logging()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        measures: dict[str, list[tuple[str, Callable[[], Figures]]]] = {
            "plan": [("plan of 1 M samples", lambda: run_in_process(measure_plan, scratch / "plan", 1_000_000, 100))],
            "resume": [
                (
                    "run of 10,000 shards that do nothing",
                    lambda: run_in_process(run_alone, scratch / "r", 10_000, 1, "nothing"),
                ),
                ("resume over 10,000 receipts", lambda: run_in_process(measure_resume, scratch / "r")),
            ],
            "memory": [
                ("10 shards of 2 MB", lambda: run_in_process(run_alone, scratch / "m10", 200, 20, "blobs")),
                ("1,000 shards of 2 MB", lambda: run_in_process(run_alone, scratch / "m1000", 20_000, 20, "blobs")),
            ],
            "overhead": [
                ("one worker against a plain loop", lambda: run_in_process(measure_overhead, scratch, 400, 3))
            ],
            "waiting": [("eight workers that wait", lambda: run_in_process(measure_waiting, scratch))],
            "driver": [("Ray driver, nothing to do", lambda: run_in_process(measure_driver, scratch / "h"))],
            "scale": [
                ("plan of 10 M samples", lambda: run_in_process(measure_plan, scratch / "plan10", 10_000_000, 100)),
                (
                    "run of 10 M samples, 100,000 shards",
                    lambda: run_in_process(run_alone, scratch / "s", 10**7, 100, "nothing"),
                ),
                ("resume over 100,000 receipts", lambda: run_in_process(measure_resume, scratch / "s")),
            ],
        }
        for part in options.only:
            for title, measure in measures[part]:
                figures[title] = measure()
                Console().print(title, figures[title])
    table = Table("measured", "figure", "value")
    for title, values in figures.items():
        for figure, value in values.items():
            table.add_row(title, figure, f"{value:,}" if not isinstance(value, str) else value)
            title = ""
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    kept = json.loads(options.output.read_text()) if options.output.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**kept, **figures, "machine": machine}, indent=1) + "\n")


if __name__ == "__main__":
    from benchmarks import engine  # not __main__, so that worker processes can import the stages

    engine.main()
