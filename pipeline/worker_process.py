"""Serve calls of stages and sink in the child process of ``pipeline.worker``.

No other module may import this one: ``python -m`` runs it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import PipelineError
from pipeline.worker import ItemError, StageHost


def main(calls: Connection, lifeline: Connection) -> None:
    """Serve the parent until it closes the connection or ends."""
    for notice in (signal.SIGINT, signal.SIGTERM):  # the parent decides what to finish
        signal.signal(notice, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    try:
        stage_host = _load_stage_host(calls.recv_bytes())
        while True:
            calls.send_bytes(_execute_call(stage_host, *pickle.loads(calls.recv_bytes())))
    except (EOFError, ConnectionError):
        pass


def _load_stage_host(stage_host: bytes) -> StageHost | PipelineError:
    try:
        loaded: StageHost = pickle.loads(stage_host)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return PipelineError(f"a worker process could not load the stages: {type(error).__name__}: {error}")
    return loaded


def _execute_call(stage_host: StageHost | PipelineError, method: str, arguments: tuple[Any, ...]) -> bytes:
    if isinstance(stage_host, PipelineError):
        return pickle.dumps((stage_host, None))
    try:
        return pickle.dumps((None, getattr(stage_host, method)(*arguments)))
    except (ItemError, PipelineError, OSError) as error:
        return pickle.dumps((error, None))


def _end_with_parent(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), Connection(int(sys.argv[2])))
