"""Figures of the parts, written as soon as they are measured, and how busy the GPU was."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

console = Console(width=160)


@dataclass(kw_only=True)
class Record:
    """Measured figures, in a file that a killed run leaves behind."""

    path: Path
    smoke: bool
    """Miniature models and few repetitions, to try the benchmark on a CPU."""

    rounds: int
    folder: Path
    """Scratch folder."""

    device: torch.device
    started: float = field(default_factory=time.monotonic)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, name: str, values: Any) -> None:
        """Add figures, write the file, and print them in one line, without the longest kernels of a profile."""
        self.figures.setdefault(part, {})[name] = values
        shown = (
            {key: value for key, value in values.items() if key != "longest"} if isinstance(values, dict) else values
        )
        console.print(f"[{time.monotonic() - self.started:5.0f} s] {part}: {name}: {shown}", markup=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"machine": describe_machine(), **self.figures}, indent=1) + "\n")
        partial.replace(self.path)


def describe_machine() -> str:
    """Return the GPU, the cores and the versions in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{device}, {os.cpu_count()} cores of {platform.machine()}, torch {torch.__version__}"


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_seconds(work: Callable[[], object]) -> float:
    """Measure the wall clock of ``work`` with everything that it starts on the GPU."""
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


@contextlib.contextmanager
def watch_gpu() -> Iterator[dict[str, float]]:
    """Fill the yielded figures at the end: percent of the time with a running kernel (NVML), peak memory in GB.

    Samples before ``since``, a time in seconds that the body may add to the figures, do not count.
    """
    figures: dict[str, float] = {}
    if not torch.cuda.is_available():
        yield figures
        figures.pop("since", None)
        return
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    samples: list[tuple[float, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            samples.append((time.time(), pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))

    torch.cuda.reset_peak_memory_stats()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield figures
    finally:
        stop.set()
        watcher.join()
        since = figures.pop("since", 0.0)
        counted = [percent for when, percent in samples if when >= since]
        figures["gpu_busy_percent"] = round(sum(counted) / max(1, len(counted)), 1)
        figures["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)


class Stopwatch:
    """Milliseconds on the device in marked calls, by name."""

    def __init__(self) -> None:
        self.events: dict[str, list[tuple[Any, Any]]] = {}

    @contextlib.contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time the device's work that the body starts."""
        if not torch.cuda.is_available():
            started = time.perf_counter()
            yield
            self.events.setdefault(name, []).append((started, time.perf_counter()))
            return
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        yield
        last.record()
        self.events.setdefault(name, []).append((first, last))

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its device's work timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.time(name):
                return function(*args, **kwargs)

        return timed

    def pop_ms(self) -> dict[str, list[float]]:
        """Return the milliseconds of each call by name, and forget them."""
        synchronize()
        events, self.events = self.events, {}
        if not torch.cuda.is_available():
            return {name: [1000 * (b - a) for a, b in pairs] for name, pairs in events.items()}
        return {name: [a.elapsed_time(b) for a, b in pairs] for name, pairs in events.items()}


def measure_matmul_tflops(dtype: torch.dtype, device: torch.device) -> float:
    """Measure the TFLOP/s of a product of square matrices of random numbers, median of ten."""
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = sorted(measure_seconds(lambda: a @ b) for _ in range(13))[6]
    return round(2 * side**3 / seconds / 1e12, 1)


def find_host_waits(work: Callable[[], object]) -> list[str]:
    """Find the lines of code, one string for each wait, where the host waits for the GPU."""
    work()
    synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchronizing" in str(one.message)]


def profile_kernels(work: Callable[[], object], num_rows: int = 14) -> dict[str, Any]:
    """Profile one call: milliseconds with a running kernel, of gaps, and of the longest kernels."""
    from torch.profiler import ProfilerActivity, profile

    work()
    wall_ms = 1000 * measure_seconds(work)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        synchronize()
    intervals = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    busy_us, end = 0.0, 0.0
    for start, stop in intervals:
        busy_us += max(0.0, stop - max(start, end))
        end = max(end, stop)
    totals: dict[str, list[float]] = {}
    for event in profiler.events() or ():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            total = totals.setdefault(event.name[:100], [0.0, 0.0])
            total[0] += event.time_range.elapsed_us() / 1000
            total[1] += 1
    longest = sorted(totals.items(), key=lambda item: -item[1][0])[:num_rows]
    return {
        "wall_ms": round(wall_ms, 2),
        "kernels_ms": round(busy_us / 1000, 2),
        "kernels": len(intervals),
        "longest": {name: [round(ms, 2), int(count)] for name, (ms, count) in longest},
    }
