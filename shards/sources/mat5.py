"""One matrix of numbers out of a MATLAB 5 file, with every length checked before it is believed.

SciPy's reader is made for files of one's own: a damaged one can end the process. This one knows what masks need, real
matrices with two dimensions, compressed or not, and refuses the rest by name.

Source: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.sources.errors import SourceError

MAX_BYTES = 1 << 28
"""Of a file, and of what a compressed part may become: 256 MiB, a mask of 16,000 x 16,000."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800


class _MalformedError(ValueError):
    """The bytes are not what the format says."""


def read_matrix(path: Path, name: str) -> npt.NDArray[Any]:
    """The (rows, columns) matrix of that name.

    Raises:
        SourceError: the file is missing, too large, damaged, or has no such matrix; names the file and the rule.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_BYTES:,} of a mask")
    try:
        return _find_matrix(name, path.read_bytes())
    except (ValueError, StopIteration, struct.error, zlib.error) as error:
        raise SourceError(f"{path} is no MATLAB 5 file that can be read ({error})") from error


def _find_matrix(name: str, content: bytes) -> npt.NDArray[Any]:
    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER_BYTES - 2 : _HEADER_BYTES])
    if order is None:
        raise _MalformedError("no header of version 5")
    for kind, data in _iterate_elements(content[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            (kind, data), *_ = _iterate_elements(_decompress(data), order)
        if kind == _MATRIX:
            matrix = _parse_matrix(data, order)
            if matrix is not None and matrix[0] == name:
                return matrix[1]
    raise _MalformedError(f"it has no {name} of numbers in rows and columns")


def _decompress(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, MAX_BYTES)
    if not stream.eof:
        raise _MalformedError("a compressed part is cut off, or larger than a mask")
    return content


def _iterate_elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, data) of each element; short ones keep their data in the tag."""
    offset = 0
    while offset < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, offset)
        if kind >> 16:
            kind, length, start, step = kind & 0xFFFF, kind >> 16, offset + 4, 8
            if length > 4:
                raise _MalformedError(f"a short element of {length} bytes at byte {offset}")
        else:
            start, step = offset + 8, 8 + length + (-length % 8 if kind != _COMPRESSED else 0)
        if start + length > len(content):
            raise _MalformedError(f"an element of {length:,} bytes at byte {offset} reaches beyond the end")
        yield kind, content[start : start + length]
        offset += step


def _parse_matrix(data: bytes, order: str) -> tuple[str, npt.NDArray[Any]] | None:
    """Name and values of a real matrix of numbers; None for any other kind."""
    parts = _iterate_elements(data, order)
    (_, flags), (_, dimensions), (_, name) = next(parts), next(parts), next(parts)
    (packed,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
    if packed & 0xFF not in _NUMERIC_CLASSES or packed & _COMPLEX or len(shape) != 2 or min(shape) < 0:
        return None
    kind, values = next(parts)
    if kind not in _NUMBERS:
        raise _MalformedError(f"numbers of the unknown type {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(values) != shape[0] * shape[1] * dtype.itemsize:
        raise _MalformedError(f"{len(values):,} bytes for {shape[0]} x {shape[1]} numbers of {dtype.itemsize}")
    return name.decode("ascii", "replace"), np.frombuffer(values, dtype).reshape(shape, order="F")
