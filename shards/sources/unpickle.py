"""Pickles from strangers, read without running their code.

A pickle may name any function and call it. This reader admits the plain types that annotation files hold (lists,
dictionaries, strings, numbers) and NumPy's scalars and arrays; anything else is refused by name.
"""

from __future__ import annotations

import importlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from shards.sources.errors import SourceError

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""First of the five pickles in a file of ``torch.save`` before version 1.6; the fourth is the object."""

MOST_BYTES = 2 * 1024**3
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_MULTIARRAY = {"numpy.core.multiarray", "numpy._core.multiarray"}


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module in _MULTIARRAY and name in ("_reconstruct", "scalar"):
            return getattr(importlib.import_module("numpy._core.multiarray"), name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise SourceError(
                f"{self._path} asks for {module}.{name}, which annotations never need and which could run code; "
                "nothing of it was run. Get the file from where the data set is published"
            )
        return admitted

    def persistent_load(self, pid: Any) -> Any:
        raise SourceError(f"{self._path} refers to tensor storage {str(pid)[:60]!r}; annotations hold none")


def _latin1_bytes(text: str, encoding: str = "latin1") -> bytes:
    """What Python 2's pickles use to write bytes."""
    if encoding != "latin1":
        raise SourceError(f"bytes in encoding {encoding!r}; pickles write latin1")
    return text.encode("latin1")


def read_pickle(path: Path) -> Any:
    """The object in a pickle or in a file that ``torch.save`` wrote, old or new layout.

    Raises:
        SourceError: the file is missing, no pickle, truncated, too large, or asks for anything but plain data.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check the folder and the name of the split")
    if path.stat().st_size > MOST_BYTES:
        raise SourceError(f"{path} has {path.stat().st_size:,} bytes; annotations have at most {MOST_BYTES:,}")
    try:
        if zipfile.is_zipfile(path):
            return _read_torch_zip(path)
        with path.open("rb") as file:
            first = _PlainUnpickler(file, path).load()
            if first != _TORCH_MAGIC:
                return first
            for _ in range(2):
                _PlainUnpickler(file, path).load()
            return _PlainUnpickler(file, path).load()
    except SourceError:
        raise
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise SourceError(f"{path} is not a readable pickle ({error}); it may be truncated, fetch it again") from error
    except (OverflowError, MemoryError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not a readable pickle ({error}); it may be damaged, fetch it again") from error


def _read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(names) != 1:
            raise SourceError(f"{path} is a zip file without one data.pkl; it is not a file of torch.save")
        if archive.getinfo(names[0]).file_size > MOST_BYTES:
            raise SourceError(f"{path} unpacks to more than {MOST_BYTES:,} bytes; annotations do not")
        return _PlainUnpickler(io.BytesIO(archive.read(names[0])), path).load()
