"""Steps of the demo: commands in lanes that run side by side, with one line of progress for each step."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from pipeline import write_atomic
from workflows.cli.console import console
from workflows.cli.processes import ProcessGroup, stop_at_sigterm

RECORD = "steps.json"

Command = tuple[str, ...]
"""Name of a module, then its options."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Commands of a step."""

    name: str
    expected_s: int
    """Seconds on two idle cores."""

    lanes: tuple[tuple[Command, ...], ...]
    """Lanes that run side by side; the commands of a lane run one after another."""


def run_steps(steps: Sequence[Step], output: Path) -> dict[str, float]:
    """Run the missing steps, with their output in ``<output>/log``.

    A step is done if ``steps.json`` has its commands, and all steps before it are done.

    Returns:
        Seconds by step, also of those that an earlier call ran.

    Raises:
        UserError: a command failed.
        Preempted: SIGTERM arrived.
    """
    path = output / RECORD
    former: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    minutes = sum(step.expected_s for step in steps) / 60
    console.print(f"{len(steps)} steps, about {minutes:.0f} min on two idle cores; their output: {output / 'log'}")
    stop_at_sigterm()
    done: dict[str, Any] = {}
    for number, step in enumerate(steps, 1):
        label, commands = f"{number}/{len(steps)} {step.name}", [[*map(list, lane)] for lane in step.lanes]
        if step.name in former and former[step.name]["commands"] == commands:
            done[step.name] = former[step.name]
            console.print(f"{label}: done before, {done[step.name]['seconds']:.0f} s")
            continue
        former, started = {}, time.monotonic()
        with Progress(
            TextColumn(label), TimeElapsedColumn(), TextColumn(f"of about {step.expected_s} s"), console=console
        ) as bar:
            bar.add_task("")
            _run_lanes(step, output / "log")
        done[step.name] = {"commands": commands, "seconds": round(time.monotonic() - started, 1)}
        write_atomic(path, json.dumps(done, indent=1))
    return {name: entry["seconds"] for name, entry in done.items()}


def _run_lanes(step: Step, logs: Path) -> None:
    """Run the lanes of a step side by side; if one fails, end the others."""
    processes, num_threads = ProcessGroup(), max(1, len(os.sched_getaffinity(0)) // len(step.lanes))
    logs.mkdir(parents=True, exist_ok=True)

    def run_lane(number: int, lane: Sequence[Command]) -> None:
        name = re.sub(r"\W+", "-", step.name) + (f"-{number}" if len(step.lanes) > 1 else "")
        with (logs / f"{name}.txt").open("ab") as log:
            for command in lane:
                log.write(f"\n$ python -m {shlex.join(command)}\n".encode())
                log.flush()
                processes.run(command[0], command, log, num_threads)

    with ThreadPoolExecutor(len(step.lanes)) as pool:
        running = [pool.submit(run_lane, number, lane) for number, lane in enumerate(step.lanes, 1)]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            processes.stop()
            raise
