"""Load untrusted files, each in a process with limits of time and memory.

``isolated`` starts this script and sends one request a line: a kind of ``_LOADERS``, a path and further arguments. The
script forks for each file. So a file that crashes, hangs or fills the memory of its process affects no other file. The
script imports nothing of this project, and a library only if a file needs it: it starts in 30 ms.

Pickles are read by the standard library's ``Unpickler``. It may only construct plain values: every global is refused
except those in ``_ALLOWED``, which stand for NumPy's numbers and arrays. NumPy's own constructors are not allowed,
because a forged ``dtype`` makes them follow pointers.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import json
import marshal
import os
import pickle
import re
import resource
import signal
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

MAX_MATRIX_BYTES = 1 << 26
"""Largest matrix that is returned: 64 MiB, a mask of 8,000 x 8,000."""

_BYTES_PER_EXTRA_CPU_S = 1 << 20
"""File size for each further second of CPU time beyond ``max_cpu_s`` of the file's kind."""

_MAX_MEMORY_BYTES, _MAX_MEMORY_FACTOR = 1 << 29, 64
"""Address space for any file beyond that of the libraries, and further bytes for each byte of the file."""

_MAX_EXPANSION = 16
"""Values may take this many times the bytes of their file, or 16 MiB, if shared parts are written out in full."""

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_NUMBER_TYPE = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248]|U[1-9]\d{0,5})")


class ForbiddenError(pickle.UnpicklingError):
    """A request of the pickle for an object that no dataset needs."""


class _NumberType:
    """Stand-in for ``numpy.dtype`` of numbers and text; objects and records are refused."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not _NUMBER_TYPE.fullmatch(code):
            raise ForbiddenError(f"it requests arrays of type {code!r}")
        self._code = code

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">") and self._code[0] not in "<>":
            self._code = state[1] + self._code.lstrip("=|")

    def decode(self, data: Any, shape: Any, order: Any = "C") -> Any:
        """Return the numbers in ``data`` as lists nested by ``shape``; Python 2 wrote bytes as text."""
        import numpy as np  # most pickles need no NumPy

        content = data.encode("latin1") if isinstance(data, str) else bytes(data)
        return np.frombuffer(content, self._code).reshape(shape, order=order).tolist() if content else []


class _Array:
    """Stand-in for ``numpy.ndarray``; becomes a list."""

    is_used = False
    numbers: Any = ()

    def __setstate__(self, state: Any) -> None:
        _Array.is_used = True
        _, shape, dtype, is_fortran_order, data = state
        self.numbers = dtype.decode(data, shape, "F" if is_fortran_order else "C")


def _encode_text(text: str, codec: str) -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise ForbiddenError(f"it requests the codec {codec!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("builtins", "bytes"): lambda: b"",
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): _encode_text,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _NumberType,
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("numpy.core.multiarray", "scalar"): lambda dtype, data: dtype.decode(data, ()),
    ("numpy.core.numeric", "_frombuffer"): lambda data, dtype, shape, order: dtype.decode(data, shape, order),
}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of plain values."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global of Python 2 or 3, NumPy 1 or 2."""
        modern = module.replace("__builtin__", "builtins").replace("numpy._core.", "numpy.core.")
        if (modern, name) not in _ALLOWED:
            raise ForbiddenError(f"it requests {module[:60]}.{name[:60]}")
        return _ALLOWED[modern, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse the tensors and storages that ``torch.save`` writes beside the pickle."""
        raise ForbiddenError("it holds a tensor or another outside object")


def load_pickle(path: Path) -> Any:
    """Return the plain values in a pickle, or in a file of ``torch.save`` of either layout."""
    with path.open("rb") as file:
        is_archive = file.peek(4)[:4] == b"PK\x03\x04"
        value = _load_from_archive(file) if is_archive else _load_from_stream(file)
    if _Array.is_used:
        value = _convert_arrays(value)
    try:
        expanded_bytes = len(marshal.dumps(value, 2))  # version 2 writes each shared part in full
    except (MemoryError, ValueError) as error:
        raise ForbiddenError("its parts hold each other over and over") from error
    if expanded_bytes > max(_MAX_EXPANSION * path.stat().st_size, 1 << 24):
        raise ForbiddenError("its parts hold each other over and over")
    return value


def _load_from_stream(file: IO[bytes]) -> Any:
    """Return one pickle, or the last of torch's four: magic number, protocol, byte order, values."""
    first = _PlainUnpickler(file, encoding="latin1").load()
    if type(first) is not int or first != _TORCH_MAGIC:
        return first
    for _ in range(2):
        _PlainUnpickler(file, encoding="latin1").load()
    return _PlainUnpickler(file, encoding="latin1").load()


def _load_from_archive(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise ValueError("the archive must hold one data.pkl, as torch.save writes it")
        content = io.BytesIO(archive.read(names[0]))
    return _PlainUnpickler(content, encoding="latin1").load()


def _convert_arrays(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.numbers
    if isinstance(value, dict):
        return {key: _convert_arrays(part) for key, part in value.items()}
    return type(value)(map(_convert_arrays, value)) if type(value) in (list, tuple) else value


def load_matrix(path: Path, name: str) -> tuple[tuple[int, ...], str, bytes]:
    """Return shape, dtype and bytes of the real (rows, columns) matrix of that name in a MATLAB file."""
    import numpy as np
    from scipy.io.matlab import MatReadError, loadmat

    warnings.simplefilter("ignore")  # duplicate names and the like
    try:
        matrix = loadmat(str(path), appendmat=False, variable_names=[name]).get(name)
    except MatReadError as error:
        raise ValueError(str(error)) from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        raise ValueError(f"it has no {name} of numbers in rows and columns")
    if matrix.nbytes > MAX_MATRIX_BYTES:
        raise ValueError(f"{name} has {matrix.nbytes:,} bytes and is larger than a mask")
    return matrix.shape, matrix.dtype.str, matrix.tobytes()


def load_table(path: Path, *columns: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of all columns of a Parquet file, and its rows with those of ``columns`` that it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more address space than they use
    with pq.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        table = file.read([name for name in names if name in columns], use_threads=False)
    plain = json.dumps(  # dates, bytes and the like become text
        table.to_pylist(), default=lambda value: float(value) if isinstance(value, Decimal) else str(value)
    )
    return names, json.loads(plain)


def load_tensors(path: Path) -> bytes:
    """Return the tensors in a file of ``torch.save``, or in its ``model`` entry, as the content of a safetensors file.

    A file that holds a lone tensor gives it the name "".
    """
    import torch
    from safetensors.torch import save

    torch.serialization.add_safe_globals([argparse.Namespace])  # the published checkpoints hold their options
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    state = {"": content} if isinstance(content, torch.Tensor) else content
    state = state.get("model", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ForbiddenError("it holds no tensor, no dictionary of tensors, nor one under 'model'")
    # A clone stores all its numbers: a view of a few could claim terabytes.
    dense = {str(name): tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    content_bytes: bytes = save(dense)
    return content_bytes


@dataclass(frozen=True)
class _Loader:
    """Function for a kind of file."""

    load: Callable[..., Any]
    max_cpu_s: int
    libraries: tuple[str, ...] = ()


_LOADERS = {
    "pickle": _Loader(load_pickle, 2),
    "matrix": _Loader(load_matrix, 2, ("scipy.io",)),
    "table": _Loader(load_table, 20, ("pyarrow.parquet",)),
    "tensors": _Loader(load_tensors, 20, ("torch", "safetensors.torch")),
}
"""Loader of each kind, and CPU time for any file; real files take a twentieth of that."""

_LOAD_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    AssertionError,
    struct.error,
)
"""Errors of the readers at damaged files; any other ends the process, and the caller names the file as well."""


def _load(kind: str, path: str, *names: str) -> tuple[str, Any]:
    """Return ("value", the value), ("forbidden", the reason) or ("damaged", the reason)."""
    try:
        return "value", _LOADERS[kind].load(Path(path), *names)
    except ForbiddenError as error:
        return "forbidden", str(error)[:200]
    except MemoryError:
        return "forbidden", "it takes too much memory"
    except _LOAD_ERRORS as error:
        return "damaged", f"{type(error).__name__}: {error}"[:200]


def _set_limits(max_cpu_s: int, size_bytes: int) -> None:
    used_bytes = 0
    with contextlib.suppress(OSError):  # only Linux tells
        used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_CPU: max_cpu_s + size_bytes // _BYTES_PER_EXTRA_CPU_S,
        resource.RLIMIT_AS: used_bytes + _MAX_MEMORY_BYTES + _MAX_MEMORY_FACTOR * size_bytes,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError):  # macOS cannot limit the address space
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _load_in_fork(request: list[str]) -> bytes:
    """Return the marshalled answer of a forked process, or ("killed", why) if it ends before."""
    receiver, sender = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        gc.disable()  # several times faster for many small objects, and the process ends soon
        _set_limits(_LOADERS[request[0]].max_cpu_s, Path(request[1]).stat().st_size)
        with open(sender, "wb") as file:  # noqa: PTH123
            file.write(marshal.dumps(_load(*request)))
        os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as file:  # noqa: PTH123
        answer = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    if status == 0:
        return answer
    ending = signal.Signals(-status).name if status < 0 else f"status {status}"
    return marshal.dumps(("killed", "it takes too long" if ending == "SIGXCPU" else f"it crashes its reader, {ending}"))


def main() -> None:
    """Serve requests until the pipe closes; an answer is 8 bytes of length and marshalled bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's
    for line in sys.stdin.buffer:
        request = json.loads(line)
        for library in _LOADERS[request[0]].libraries:
            importlib.import_module(library)  # once, not in each fork
        answer = _load_in_fork(request)
        sys.stdout.buffer.write(len(answer).to_bytes(8, "little") + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
