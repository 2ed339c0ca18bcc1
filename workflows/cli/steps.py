"""Steps: commands in lanes that run side by side, with one line of progress for each step."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from pipeline import write_atomic
from workflows.cli.console import console
from workflows.cli.processes import ProcessGroup, ProcessUsage, stop_at_sigterm

RECORD = "steps.json"

Command = tuple[str, ...]
"""Name of a module, then its options."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Commands of a step."""

    name: str
    lanes: tuple[tuple[Command, ...], ...]
    """Lanes that run side by side; the commands of a lane run one after another."""

    expected_s: int | None = None
    """Seconds on two idle cores; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Time and memory of a step."""

    seconds: float
    cpu_s: float = 0.0
    """CPU seconds, which depend less on other load than seconds do; 0 if an earlier version ran it."""

    peak_bytes: int = 0
    """Largest resident memory of one of its processes; 0 if an earlier version ran it."""

    gpu_peak_bytes: int | None = None
    """Largest memory in use on the first GPU, also by other programs; None without ``nvidia-smi``."""


def run_steps(steps: Sequence[Step], output: Path) -> dict[str, StepCost]:
    """Run the missing steps, with their output in ``<output>/log``.

    A step is done if ``steps.json`` has its commands, and all steps before it are done.

    Returns:
        Costs by step, also of those that an earlier call ran.

    Raises:
        UserError: a command failed.
        Preempted: SIGTERM arrived.
    """
    path = output / RECORD
    former: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    minutes = sum(step.expected_s or 0 for step in steps) / 60
    expected = f", about {minutes:.0f} min on two idle cores" if minutes else ""
    console.print(f"{len(steps)} steps{expected}; their output: {output / 'log'}")
    stop_at_sigterm()
    done: dict[str, Any] = {}
    for number, step in enumerate(steps, 1):
        label, commands = f"{number}/{len(steps)} {step.name}", [[*map(list, lane)] for lane in step.lanes]
        if step.name in former and former[step.name]["commands"] == commands:
            done[step.name] = former[step.name]
            console.print(f"{label}: done before, {done[step.name]['seconds']:.0f} s")
            continue
        former, started = {}, time.monotonic()
        expected = f"of about {step.expected_s} s" if step.expected_s else ""
        with Progress(
            TextColumn(label), TimeElapsedColumn(), *([TextColumn(expected)] if expected else []), console=console
        ) as bar:
            bar.add_task("")
            with watch_gpu_memory() as gpu:
                usages = _run_lanes(step, output / "log")
        cost = StepCost(
            seconds=round(time.monotonic() - started, 1),
            cpu_s=round(sum(usage.cpu_s for usage in usages), 1),
            peak_bytes=max(usage.peak_bytes for usage in usages),
            gpu_peak_bytes=max(gpu, default=None),
        )
        done[step.name] = {"commands": commands, **asdict(cost)}
        write_atomic(path, json.dumps(done, indent=1))
    return {name: StepCost(**{key: entry[key] for key in entry if key != "commands"}) for name, entry in done.items()}


def _run_lanes(step: Step, logs: Path) -> list[ProcessUsage]:
    """Run the lanes of a step side by side, and return what each command used; if one fails, end the others."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    num_threads = int(given) if given.isdigit() else len(os.sched_getaffinity(0))
    processes, num_threads = ProcessGroup(), max(1, num_threads // len(step.lanes))
    logs.mkdir(parents=True, exist_ok=True)

    def run_lane(number: int, lane: Sequence[Command]) -> list[ProcessUsage]:
        usages = []
        name = re.sub(r"\W+", "-", step.name) + (f"-{number}" if len(step.lanes) > 1 else "")
        with (logs / f"{name}.txt").open("ab") as log:
            for command in lane:
                log.write(f"\n$ python -m {shlex.join(command)}\n".encode())
                log.flush()
                usages.append(processes.run(command[0], command, log, num_threads))
        return usages

    with ThreadPoolExecutor(len(step.lanes)) as pool:
        running = [pool.submit(run_lane, number, lane) for number, lane in enumerate(step.lanes, 1)]
        try:
            return [usage for done in as_completed(running) for usage in done.result()]
        except BaseException:
            processes.stop()
            raise


@contextmanager
def watch_gpu_memory() -> Iterator[list[int]]:
    """Yield a list that gets the bytes in use on the first GPU, twice a second; it stays empty without nvidia-smi."""
    used: list[int] = []
    stop = threading.Event()
    program = shutil.which("nvidia-smi")

    def watch() -> None:
        while program and not stop.wait(0.5):
            query = [program, "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip().isdigit():  # a part of a GPU has no figure
                used.append(int(done.stdout) << 20)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield used
    finally:
        stop.set()
        watcher.join()
