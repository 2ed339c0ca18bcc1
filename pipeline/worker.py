"""Run stages and sink in a child process, which the parent watches.

A stage may raise, end its process, run without end or use all memory. The parent then starts another process and tries
the same batch once more, since the batch may not be the cause. If it fails twice, ``pipeline.shard_stages`` halves it.
Items travel pickled: the parent never imports their classes, and a second try gets them unchanged.
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
from pipeline.limits import LimitedConfig, PositiveFloat, PositiveInt
from pipeline.stage import Keyed, Rejected, Sink, SinkOutput, Stage

CHECKOUT = Path(__file__).resolve().parents[1]
MACHINE_ERRNOS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EMFILE", "ENFILE", "ENOMEM")}
"""Errors of the machine, which no item causes."""

MAX_CONSECUTIVE_DEATHS = 5
"""Number of items in a row that each end their process alone; then the run stops, since they are not the cause."""

POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class WorkerLimits(LimitedConfig):
    """Limits of a worker process and of its batches."""

    isolate: bool = True
    """Stages run in a child process. Turn it off to debug them; then no limit applies, and their crash ends the run."""

    batch_time_limit_s: PositiveFloat = 600.0
    """Seconds that a batch may take; then its slow items are quarantined. Loading of weights is not timed."""

    memory_limit_gb: PositiveFloat | None = None
    """Memory that a worker process may hold, in gigabytes (10^9 bytes); no limit by default."""

    threads: PositiveInt = 1
    """Threads of numerical libraries in each worker process. Rounding, and with it the bytes, depends on it: resume a
    run with the same number."""


@dataclass(frozen=True, slots=True)
class SerializedItem:
    """Key of an item, and the item pickled."""

    key: str
    content: bytes


class ItemError(Exception):
    """Failure of a batch that its items caused."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class WorkerDiedError(ItemError):
    """End of a process during a batch, by itself or by a limit."""


def serialize_item(item: Keyed) -> SerializedItem:
    try:
        return SerializedItem(item.key, pickle.dumps(item))
    except (pickle.PicklingError, AttributeError):  # a class of the program's main module
        return SerializedItem(item.key, cloudpickle.dumps(item))


class StageHost:
    """Stages and sink, in the worker process, or in this one if they are not isolated."""

    def __init__(self, stages: Sequence[Stage[Any, Any]], sink: Sink[Any] | None) -> None:
        self._stages, self._sink = stages, sink

    def serialize(self) -> bytes:
        """Pickle stages and sink for another process.

        Raises:
            PipelineError: a stage or the sink has an attribute that cannot be pickled.
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
        """Call ``setup`` of a stage."""
        stage = self._stages[index]
        try:
            stage.setup()
        except Exception as error:
            message = f"stage {stage.name!r} could not be set up: {type(error).__name__}: {error}"
            raise PipelineError(message) from error

    def process(self, index: int, batch: list[SerializedItem]) -> list[SerializedItem | Rejected]:
        """Process a batch by a stage.

        Raises:
            ItemError: the stage raised an error, or returned wrong results.
            PipelineError: the machine or an input is the cause.
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
                raise PipelineError(
                    f"stage {self._stages[index].name!r}: {error}; fix the cause and run again"
                ) from error
            raise ItemError(type(error).__name__, _describe_error(error)) from error

    def write(self, items: list[SerializedItem], folder: Path) -> SinkOutput:
        """Write a shard with the sink into the folder, after removing files of a try that died."""
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
        """Call ``StageHost.process``; a batch that ends its process is tried a second time.

        Raises:
            WorkerDiedError: the process ended twice.
            PipelineError: many items in a row ended their process, or the stage could not be set up.
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
        """Call ``StageHost.write``."""
        try:
            sink_output: SinkOutput = self._call_with_retry("write", None, items, folder)
        except WorkerDiedError as death:
            raise PipelineError(f"the sink ended its worker process twice: {death.reason} ({death.detail})") from death
        return sink_output

    def close(self) -> None:
        """Stop the process."""
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
    """Python process that runs ``pipeline.worker_process``. It ends when the parent does."""

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
            code = self._popen.wait()
            exit_text = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise WorkerDiedError("WorkerDied", exit_text) from gone
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
    """Return the paths from which the parent imports, without Python's own folders, as ``PYTHONPATH``."""
    own = (sys.prefix, sys.base_prefix)
    paths = [str(CHECKOUT), *(path for path in sys.path if path and not path.startswith(own))]
    return os.pathsep.join(dict.fromkeys(paths))


class WrongResultError(Exception):
    """Results of a stage that do not match its items in number, order or keys."""


def check_results(batch: Sequence[SerializedItem], results: Any) -> None:
    """Check that there are as many results as items, in the same order, under the same keys.

    Raises:
        WrongResultError: names the difference.
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
    """Return the message and its line of code, without memory addresses, since these differ between runs."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x...", str(error)) + where
