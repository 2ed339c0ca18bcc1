"""Read untrusted pickles, MATLAB files, Parquet tables and files of torch in another process, ``isolated_loader``."""

from __future__ import annotations

import atexit
import gc
import json
import marshal
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards.sources import isolated_loader
from shards.sources.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

MAX_MATRIX_FILE_BYTES = isolated_loader.MAX_MATRIX_BYTES

_LOCK = threading.Lock()


def read_pickle(path: Path) -> Any:
    """Read the plain values in a pickle, or in a file of ``torch.save`` of either layout.

    Arrays become lists, NumPy's scalars numbers. Tensors are refused.

    Raises:
        SourceError: the file is missing or damaged, requests a global that is not allowed, or exceeds the limits of
            time and memory; names the file and the reason.
    """
    return _request(
        ["pickle", path],
        "a pickle",
        "A dataset holds lists, dictionaries, text and numbers only. "
        "Get the file from its publisher again; if it is yours, save it as such values",
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
    if path.is_file() and path.stat().st_size > MAX_MATRIX_FILE_BYTES:
        raise SourceError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_MATRIX_FILE_BYTES:,} of a mask"
        )
    shape, dtype, content = _request(["matrix", path, name], "a MATLAB file of version 4 or 5", "Get it again")
    return np.frombuffer(content, dtype).reshape(shape)


def read_parquet(path: Path, columns: Iterable[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the rows of a Parquet file.

    Args:
        path: the file.
        columns: columns to read; those that it lacks are ignored.

    Returns:
        The names of all its columns, and the values of each row by column.

    Raises:
        SourceError: the file is missing or damaged, or exceeds the limits of time and memory; names the file and the
            reason.
    """
    remedy = "Text that fills the memory is no query; choose the columns with --fields, or write the file anew"
    names, rows = _request(["table", path, *columns], "a Parquet file", remedy)
    return names, rows


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors in a file of ``torch.save``, or in its ``model`` entry; a lone tensor has the name "".

    Raises:
        SourceError: the file is missing or damaged, holds more than tensors and plain settings, or exceeds the limits
            of time and memory; names the file and the reason.
    """
    from safetensors.torch import load

    remedy = "Get it from its publisher again; if it is yours, save tensors alone"
    state: dict[str, Tensor] = load(_request(["tensors", path], "a file of torch", remedy))
    return state


def _request(request: list[str | Path], kind: str, remedy: str) -> Any:
    """Return what the loader answers to a request about a file, or raise a ``SourceError`` with the reason."""
    path = Path(request[1])
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check the folder and the name")
    outcome, value = _ask_loader([request[0], path.resolve(), *request[2:]])
    if outcome == "damaged":
        raise SourceError(f"{path} is damaged, truncated or not {kind} ({value}); get it again")
    if outcome != "value":  # forbidden, or the process was killed
        raise SourceError(f"{path} was not read: {value}. {remedy}")
    return value


def _ask_loader(request: list[str | Path]) -> tuple[str, Any]:
    """Return the loader's outcome ("value", "forbidden", "damaged" or "killed"), and the value or the reason."""
    with _LOCK:
        loader = _start_loader(os.getpid())
        if loader.poll() is not None:  # somebody ended it
            _start_loader.cache_clear()
            loader = _start_loader(os.getpid())
        assert loader.stdin is not None and loader.stdout is not None
        try:
            loader.stdin.write(json.dumps(request, default=str).encode() + b"\n")
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
