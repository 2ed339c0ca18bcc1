"""Read untrusted pickles and MATLAB files; ``isolated_loader`` loads them in another process."""

from __future__ import annotations

import atexit
import gc
import json
import marshal
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.sources import isolated_loader
from shards.sources.errors import SourceError

MAX_MATRIX_FILE_BYTES = isolated_loader.MAX_MATRIX_BYTES

_LOCK = threading.Lock()


def read_pickle(path: Path) -> Any:
    """Read the plain values in a pickle, or in a file of ``torch.save`` of either layout.

    Arrays become lists, NumPy's scalars numbers. Tensors are refused.

    Raises:
        SourceError: the file is missing or damaged, requests a global that is not allowed, or exceeds the limits of
            time and memory; names the file and the reason.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check the folder and the name of the split")
    outcome, value = _request("pickle", path)
    if outcome == "value":
        return value
    if outcome == "damaged":
        raise SourceError(f"{path} is damaged, truncated or not a pickle ({value}); get it again")
    raise SourceError(
        f"{path} was not read: {value}. A dataset holds lists, dictionaries, text and numbers only. "
        "Get the file from its publisher again; if it is yours, save it as such values"
    )


def read_matrix(path: Path, name: str) -> npt.NDArray[Any]:
    """Read a real matrix from a MATLAB file of version 4 or 5.

    Args:
        path: file of at most 64 MiB.
        name: variable in it.

    Returns:
        (rows, columns), read-only.

    Raises:
        SourceError: the file is missing, too large or damaged, or has no such matrix; names the file and the reason.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    if path.stat().st_size > MAX_MATRIX_FILE_BYTES:
        raise SourceError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_MATRIX_FILE_BYTES:,} of a mask"
        )
    outcome, value = _request("matrix", path, name)
    if outcome != "value":
        raise SourceError(f"{path} is no MATLAB 5 file that can be read ({value}); get it again")
    shape, dtype, content = value
    return np.frombuffer(content, dtype).reshape(shape)


def _request(kind: str, path: Path, *names: str) -> tuple[str, Any]:
    """Return the loader's outcome ("value", "forbidden", "damaged" or "killed"), and the value or the reason."""
    with _LOCK:
        loader = _start_loader(os.getpid())
        if loader.poll() is not None:  # somebody ended it
            _start_loader.cache_clear()
            loader = _start_loader(os.getpid())
        assert loader.stdin is not None and loader.stdout is not None
        try:
            loader.stdin.write(json.dumps([kind, str(path.resolve()), *names]).encode() + b"\n")
            loader.stdin.flush()
            size_bytes = int.from_bytes(loader.stdout.read(8), "little")
            with pause_garbage_collection():
                outcome, value = marshal.loads(loader.stdout.read(size_bytes))
            return outcome, value
        except BaseException:  # an answer that is left in the pipe would be taken for that of the next file
            loader.kill()
            _start_loader.cache_clear()
            raise


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Pause the collector while millions of permanent objects are made; its visits would take ten times as long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _start_loader(process_id: int) -> subprocess.Popen[bytes]:
    """Start the loader of this process; a fork of the process needs pipes of its own."""
    loader = subprocess.Popen(
        [sys.executable, "-P", isolated_loader.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # one thread: a process with several must not fork
    )
    atexit.register(loader.communicate)  # closes its input, so that it ends
    return loader
