"""Read the pickles of public data sets without running them.

A pickle is a program: ``pickle.load`` and ``torch.load`` do whatever the file says. The files that this project
reads (``refs(unc).p`` and the ``.pth`` of TransVG) hold lists, dictionaries, text and numbers, and arrays of
numbers; they need nine names. Anything else is refused by name. Arrays come back as lists, scalars as numbers, so
that only plain Python values leave this module, whatever wrote the file: Python 2 or 3, NumPy 1 or 2, and
``torch.save`` of before and after version 1.6.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from shards.sources.errors import SourceError, shown

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_NUMBER_TYPE = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248])")
_NDARRAY = "numpy.ndarray"
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
"""What a damaged pickle can make the unpickler raise; too deep a one and an encrypted archive are RuntimeErrors."""


class ForbiddenName(pickle.UnpicklingError):
    """The pickle asks for something that no data set needs."""


def read_pickle(path: Path) -> Any:
    """The plain values in a pickle, or in a file of ``torch.save`` of either layout; tensors are not plain values.

    Raises:
        SourceError: the file is missing, asks for a name that is not admitted (which is told), or is damaged.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check the folder and the name of the split")
    content = path.read_bytes()
    load = _load_zip if content.startswith(b"PK\x03\x04") else _load_plain_or_legacy
    return _guarded(path, lambda: load(io.BytesIO(content)))


def _guarded(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ForbiddenName as error:
        raise SourceError(
            f"{path} was not read: {error}, and data needs no such thing. "
            "Get the file from its publisher again; if it is yours, save it as lists, text and numbers"
        ) from error
    except _DAMAGED as error:
        raise SourceError(f"{path} is damaged, truncated or not a pickle ({error}); get it again") from error


def _load_plain_or_legacy(file: IO[bytes]) -> Any:
    """One pickle, or torch's four in a row: magic number, protocol, the system's byte order, the object."""
    first = _PlainUnpickler(file).load()
    if not isinstance(first, int) or first != _TORCH_MAGIC:
        return first
    for _ in range(2):
        _PlainUnpickler(file).load()
    return _PlainUnpickler(file).load()


def _load_zip(file: IO[bytes]) -> Any:
    """An archive, stored without compression, with the object in ``<name>/data.pkl``."""
    with zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]]
        if len(members) != 1:
            raise pickle.UnpicklingError("the archive must hold one data.pkl, as torch.save writes it")
        if members[0].compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError("data.pkl is compressed, torch.save does not do that")
        return _PlainUnpickler(io.BytesIO(archive.read(members[0]))).load()


class _PlainUnpickler(pickle.Unpickler):
    """Gives methods of its own for the names that are admitted; methods have no attributes a pickle could set."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self._admitted: Mapping[tuple[str, str], Any] = {
            ("builtins", "set"): set,
            ("builtins", "frozenset"): frozenset,
            ("builtins", "bytes"): self._no_bytes,
            ("collections", "OrderedDict"): self._dict,
            ("_codecs", "encode"): self._encode,
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): self._dtype,
            ("numpy.core.multiarray", "_reconstruct"): self._array,
            ("numpy.core.multiarray", "scalar"): self._scalar,
            ("numpy.core.numeric", "_frombuffer"): self._array_from_buffer,
        }

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        modern = module.replace("__builtin__", "builtins").replace("numpy._core.", "numpy.core.")
        if (modern, name) not in self._admitted:
            raise ForbiddenName(f"it asks for {module}.{name}")
        return self._admitted[modern, name]

    def persistent_load(self, persistent_id: Any) -> Any:
        """Tensors keep their numbers outside of the pickle."""
        raise ForbiddenName(f"it holds a tensor or another outside object ({shown(persistent_id)})")

    def _no_bytes(self) -> bytes:
        return b""

    def _dict(self, items: Any = ()) -> dict[Any, Any]:
        return dict(items)

    def _encode(self, text: str, codec: str) -> bytes:
        if codec not in ("latin1", "latin-1"):
            raise ForbiddenName(f"it asks for the codec {shown(codec)}")
        return text.encode("latin1")

    def _dtype(self, code: str, align: bool = False, copy: bool = False) -> _NumberType:
        return _NumberType(code)

    def _array(self, kind: str, shape: tuple[int, ...], code: bytes | str) -> _Array:
        return _Array()

    def _array_from_buffer(self, data: Any, dtype: _NumberType, shape: Any, order: str) -> Any:
        return dtype.numbers(bytes(data)).reshape(shape, order="F" if order == "F" else "C").tolist()

    def _scalar(self, dtype: _NumberType, data: bytes | str) -> Any:
        (number,) = dtype.numbers(data).tolist()
        return number


class _NumberType:
    """Stands for ``numpy.dtype`` of numbers; others (objects, records) could hide pointers and are refused."""

    __slots__ = ("_code",)

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or not _NUMBER_TYPE.fullmatch(code):
            raise ForbiddenName(f"it asks for arrays of type {shown(code)}")
        self._code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """(version, byte order, ...), as ``numpy.dtype`` writes it."""
        byte_order = state[1]
        if byte_order in ("<", ">") and self._code[0] not in "<>":
            self._code = byte_order + self._code.lstrip("=|")

    def numbers(self, data: bytes | str) -> Any:
        """The numbers in ``data``, a flat array; Python 2 wrote bytes as text."""
        return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype=self._code)


class _Array(list[Any]):
    """Stands for ``numpy.ndarray`` while it is read; a list of numbers, nested by its shape."""

    __slots__ = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """(version, shape, dtype, whether in Fortran's order, bytes), as ``numpy.ndarray`` writes it."""
        _, shape, dtype, is_fortran, data = state
        numbers = dtype.numbers(data).reshape(shape, order="F" if is_fortran else "C")
        self[:] = np.atleast_1d(numbers).tolist()
