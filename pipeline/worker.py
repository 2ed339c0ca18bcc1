"""The process that does the work: stages and sink live in a child process, watched by the one that plans and commits.

A stage may raise, end its process, run for ever or eat all memory. The parent notices, starts another process and
tries the batch once more as it was, since the death may have had nothing to do with it; whoever dies twice is told
apart by halving (``pipeline.shard_stages``). Items travel sealed, so that the parent never loads what they are made of
and a second try gets them as they were.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from pipeline.errors import PipelineError
from pipeline.stage import Keyed, Rejected, Sink, SinkOutput, Stage

CHECKOUT = Path(__file__).resolve().parents[1]
MACHINE_ERRNOS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EMFILE", "ENFILE", "ENOMEM")}
"""Errors of the machine; no item is to blame."""

MAX_CONSECUTIVE_DEATHS = 5
"""So many items in a row that each killed their process alone: it is not the items."""

POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """How a worker process runs, and what a batch may cost."""

    isolate: bool = True
    """Stages run in a process of their own. Without it a debugger reaches them, no limit is kept, and what kills them
    kills the run."""

    batch_time_limit_s: float = 600.0
    """A batch that takes longer is stopped, and its guilty items are quarantined; loading of weights is not timed."""

    memory_limit_gb: float | None = None
    """The same for a worker process that holds more than so many gigabytes (10^9 bytes); no limit where not given."""

    threads: int = 1
    """Threads of numerical libraries in each worker process. Their last digits depend on it, and with them the bytes:
    go on with a run as it was begun."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.batch_time_limit_s <= 0 or (self.memory_limit_gb is not None and self.memory_limit_gb <= 0):
            raise ValueError("batch_time_limit_s and memory_limit_gb must be positive")


@dataclass(frozen=True, slots=True)
class SerializedItem:
    """An item on its way: its key, and the rest pickled."""

    key: str
    content: bytes


class ItemError(Exception):
    """A batch failed in a way that its items are to blame for."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class WorkerDiedError(ItemError):
    """The process did not survive the batch, or was not let go on."""


def serialize_item(item: Keyed) -> SerializedItem:
    try:
        return SerializedItem(item.key, pickle.dumps(item))
    except (pickle.PicklingError, AttributeError):  # a class of the program's main module
        return SerializedItem(item.key, cloudpickle.dumps(item))


class StageHost:
    """Where stages and sink do their work: in the worker process, or here if they are not isolated."""

    def __init__(self, stages: Sequence[Stage[Any, Any]], sink: Sink[Any] | None) -> None:
        self._stages, self._sink = stages, sink

    def serialize(self) -> bytes:
        """To be opened elsewhere.

        Raises:
            PipelineError: a stage or the sink holds what cannot travel.
        """
        try:
            content: bytes = cloudpickle.dumps(self)
        except Exception as error:
            raise PipelineError(
                f"the stages cannot be sent to a worker process ({error}); "
                "a stage's __init__ stores configuration only, everything else belongs into setup"
            ) from error
        return content

    def setup(self, index: int) -> None:
        """Load what a stage needs."""
        stage = self._stages[index]
        try:
            stage.setup()
        except Exception as error:
            message = f"stage {stage.name!r} could not be set up: {type(error).__name__}: {error}"
            raise PipelineError(message) from error

    def process(self, index: int, batch: list[SerializedItem]) -> list[SerializedItem | Rejected]:
        """Pass a batch through a stage.

        Raises:
            ItemError: the stage raised, or broke its promise.
            PipelineError: the machine or an input is to blame.
        """
        try:
            items = [pickle.loads(item.content) for item in batch]
            results = self._stages[index].process(items)
            check_results(batch, results)
            return [result if isinstance(result, Rejected) else serialize_item(result) for result in results]
        except PipelineError:
            raise
        except Exception as error:
            if isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in MACHINE_ERRNOS):
                raise PipelineError(f"stage {self._stages[index].name!r}: {error}; mend that and run again") from error
            raise ItemError(type(error).__name__, _describe_error(error)) from error

    def write(self, items: list[SerializedItem], folder: Path) -> SinkOutput:
        """Let the sink write a shard into the folder, without what a try that died may have left there."""
        assert self._sink is not None
        for left in folder.iterdir():
            left.unlink()
        try:
            return self._sink.write([pickle.loads(item.content) for item in items], folder)
        except (OSError, PipelineError):
            raise
        except Exception as error:
            raise PipelineError(
                f"{type(self._sink).__name__}: {type(error).__name__}: {_describe_error(error)}"
            ) from error


class Worker:
    """Process with a stage host, started at once and whenever it dies.

    Args:
        stage_host: stage host, or its pickled bytes, which are opened in the worker's process only, so that this one
            does not import the stages' modules.
        limits: limits of the worker.
    """

    def __init__(self, stage_host: StageHost | bytes, limits: WorkerLimits) -> None:
        self._limits = limits
        self._stage_host = stage_host
        self._process: _Process | None = None
        self._ready: set[int] = set()
        self._consecutive_deaths = self._setup_deaths = 0
        self._start()

    def process(self, index: int, batch: list[SerializedItem]) -> list[SerializedItem | Rejected]:
        """``StageHost.process``; a batch that its process did not survive is tried a second time.

        Raises:
            DeathError: it died twice.
            PipelineError: every item seems to kill its process, or the stage could not be set up.
        """
        try:
            results: list[SerializedItem | Rejected] = self._call_with_retry("process", index, batch)
        except WorkerDiedError as death:
            self._consecutive_deaths += len(batch) == 1
            if self._consecutive_deaths >= MAX_CONSECUTIVE_DEATHS:
                raise PipelineError(
                    f"{self._consecutive_deaths} items in a row ended their worker process, the last by {death.reason} "
                    f"({death.detail}); is there enough memory, are the limits too tight?"
                ) from death
            raise
        self._consecutive_deaths = 0
        return results

    def write(self, items: list[SerializedItem], folder: Path) -> SinkOutput:
        """``StageHost.write``."""
        try:
            sink_output: SinkOutput = self._call_with_retry("write", None, items, folder)
        except WorkerDiedError as death:
            raise PipelineError(f"the sink ended its worker process twice: {death.reason} ({death.detail})") from death
        return sink_output

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
        self._process = None

    def _start(self) -> None:
        if self._limits.isolate and self._process is None:
            stage_host = self._stage_host if isinstance(self._stage_host, bytes) else self._stage_host.serialize()
            self._process, self._ready = _Process(stage_host, self._limits), set()

    def _call_with_retry(self, method: str, index: int | None, *arguments: Any) -> Any:
        try:
            return self._prepare_and_call(method, index, *arguments)
        except WorkerDiedError:
            return self._prepare_and_call(method, index, *arguments)

    def _prepare_and_call(self, method: str, index: int | None, *arguments: Any) -> Any:
        self._start()
        if index is None:
            return self._call(method, self._limits.batch_time_limit_s, *arguments)
        if index not in self._ready:
            self._set_up(index)
        return self._call(method, self._limits.batch_time_limit_s, index, *arguments)

    def _set_up(self, index: int) -> None:
        try:
            self._call("setup", None, index)
        except WorkerDiedError as death:
            self._setup_deaths += 1
            if self._setup_deaths < 2:
                raise
            raise PipelineError(
                f"the worker process did not survive the loading of a stage: {death.reason} ({death.detail}); "
                "is there enough memory?"
            ) from death
        self._setup_deaths = 0
        self._ready.add(index)

    def _call(self, method: str, time_limit_s: float | None, *arguments: Any) -> Any:
        if self._process is None:
            if isinstance(self._stage_host, bytes):
                self._stage_host = pickle.loads(self._stage_host)
            return getattr(self._stage_host, method)(*arguments)
        try:
            return self._process.call(method, time_limit_s, arguments)
        except BaseException as error:  # also an interrupt leaves it in the middle of something
            if not isinstance(error, ItemError | PipelineError | OSError) or isinstance(error, WorkerDiedError):
                self._process.kill()
                self._process = None
            raise


class _Process:
    """A Python process that runs ``main`` below. It ends when the parent does."""

    def __init__(self, stage_host: bytes, limits: WorkerLimits) -> None:
        self._memory_limit_gb = limits.memory_limit_gb
        self._calls, theirs = Pipe()
        lifeline, self._lifeline = Pipe(duplex=False)
        descriptors = (theirs.fileno(), lifeline.fileno())
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "pipeline.worker_process", *map(str, descriptors)],
            pass_fds=descriptors,
            env={**os.environ, "PYTHONPATH": build_python_path(), "OMP_NUM_THREADS": str(limits.threads)},
        )
        theirs.close()
        lifeline.close()
        with contextlib.suppress(ConnectionError):  # it died; the first call tells
            self._calls.send_bytes(stage_host)

    def call(self, method: str, time_limit_s: float | None, arguments: tuple[Any, ...]) -> Any:
        started = time.monotonic()
        try:
            self._calls.send_bytes(pickle.dumps((method, arguments)))
            while not self._calls.poll(POLL_S):
                if time_limit_s is not None and time.monotonic() - started > time_limit_s:
                    raise WorkerDiedError("TimedOut", f"longer than {time_limit_s:g} s")
                self._check_memory()
            error, result = pickle.loads(self._calls.recv_bytes())
        except (EOFError, ConnectionError) as gone:
            raise WorkerDiedError("WorkerDied", _describe_exit(self._popen)) from gone
        if error is not None:
            raise error
        return result

    def _check_memory(self) -> None:
        if self._memory_limit_gb is None:
            return
        with contextlib.suppress(psutil.Error):
            if psutil.Process(self._popen.pid).memory_info().rss > self._memory_limit_gb * 1e9:
                raise WorkerDiedError("TooMuchMemory", f"more than {self._memory_limit_gb:g} GB")

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._calls.close()
        self._lifeline.close()


def build_python_path() -> str:
    """Workers import what the parent can, whatever folder it was started from; Python's own folders are theirs."""
    own = (sys.prefix, sys.base_prefix)
    paths = [str(CHECKOUT), *(path for path in sys.path if path and not path.startswith(own))]
    return os.pathsep.join(dict.fromkeys(paths))


class WrongResultError(Exception):
    """A stage broke its promise: as many results as items, in the same order, under the same keys."""


def check_results(batch: Sequence[SerializedItem], results: Any) -> None:
    """Insist on as many results as items, in the same order, under the same keys.

    Raises:
        WrongResultError: naming what differs.
    """
    if not isinstance(results, list) or len(results) != len(batch):
        got = f"{len(results)} results" if isinstance(results, list) else type(results).__name__
        raise WrongResultError(f"process must return a list of {len(batch)} results, got {got}")
    for position, (item, result) in enumerate(zip(batch, results, strict=True)):
        key = getattr(result, "key", None)
        if key != item.key:
            got = repr(key) if hasattr(result, "key") else f"a {type(result).__name__} without key"
            raise WrongResultError(f"result {position} must have the key of its item, {item.key!r}, got {got}")


def _describe_error(error: Exception) -> str:
    """The message and the line that raised it, free of memory addresses, which differ from run to run."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x...", str(error)) + where


def _describe_exit(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
