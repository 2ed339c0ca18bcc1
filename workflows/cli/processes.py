"""Commands in processes of their own, several at once, that end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline import Preempted
from workflows.cli.console import UserError


@dataclass(frozen=True, kw_only=True)
class ProcessUsage:
    """What a process and its children used."""

    cpu_s: float
    """CPU seconds, which depend less on other load than seconds do."""

    peak_bytes: int
    """Largest resident memory of one of them."""


class ProcessGroup:
    """Processes of modules. ``stop`` ends those that run, from any thread."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    def run(self, name: str, command: Sequence[str], log: BinaryIO, num_threads: int = 1) -> ProcessUsage:
        """Run a module with its options, and return what it used.

        Args:
            name: what runs, for messages.
            command: name of the module, then its options.
            log: file for the output.
            num_threads: threads of the process.

        Raises:
            UserError: the process failed, or the group was stopped.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": str(num_threads)}
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        self._processes.add(process)
        if self._stopped.is_set():
            _terminate(process)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._processes.discard(process)
        if status:
            last_line = Path(log.name).read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"{name} ended with status {process.returncode}: {' '.join(last_line)} ({log.name}); "
                "fix the cause and run the same command to resume"
            )
        return ProcessUsage(cpu_s=used.ru_utime + used.ru_stime, peak_bytes=used.ru_maxrss << 10)

    def stop(self) -> None:
        """End the running processes, and each that is started later."""
        self._stopped.set()
        for process in list(self._processes):
            _terminate(process)


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, without ``Popen``: its methods would wait for the process, as its thread already does."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)


def stop_at_sigterm() -> None:
    """Let SIGTERM raise ``Preempted`` in the main thread from now on."""

    def raise_preempted(number: int, frame: object) -> None:
        raise Preempted("stopped by SIGTERM; to resume, run the same command again")

    signal.signal(signal.SIGTERM, raise_preempted)
