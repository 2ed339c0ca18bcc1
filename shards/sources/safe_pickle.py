"""Read the pickles of public data sets without running them.

A pickle is a program for a small machine with a stack: Python's own machine calls whatever the program names, and one
of a few bytes can keep it busy for ever or fill the memory. The files that this project reads (``refs(unc).p`` and
the ``.pth`` of TransVG) hold lists, dictionaries, text and numbers, and arrays of numbers. So this module has a machine
of its own that knows how to build these and nothing else; what a program asks for beyond that is refused by name.
Arrays come back as lists, scalars as numbers, so that only plain Python values leave this module, whatever wrote the
file: Python 2 or 3, NumPy 1 or 2, and ``torch.save`` of before and after version 1.6. Time and memory are bounded by
the length of the file.

Source: the documentation of Python's ``pickletools``, protocols 0 to 5.
"""

from __future__ import annotations

import codecs
import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shards.sources.errors import SourceError, format_value

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_NUMBER_TYPE = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248]|U[1-9]\d{0,5})")
_MAX_SHARING = 16
"""A file's values, written out in full where several share a part, may be so many times its bytes, or a million."""


class ForbiddenError(ValueError):
    """The pickle asks for something that no data set needs."""


class DamagedError(ValueError):
    """The bytes are no pickle, or not a whole one."""


def read_pickle(path: Path) -> Any:
    """The plain values in a pickle, or in a file of ``torch.save`` of either layout; tensors are not plain values.

    Raises:
        SourceError: the file is missing, asks for a name that is not admitted (which is told), or is damaged.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check the folder and the name of the split")
    content = path.read_bytes()
    try:
        return _read_zip(content) if content.startswith(b"PK\x03\x04") else _read_plain_or_legacy(content)
    except ForbiddenError as error:
        raise SourceError(
            f"{path} was not read: {error}, and data needs no such object. "
            "Get the file from its publisher again; if it is yours, save it as lists, text and numbers"
        ) from error
    except (DamagedError, zipfile.BadZipFile, EOFError, RuntimeError, OSError, struct.error, ValueError) as error:
        raise SourceError(f"{path} is damaged, truncated or not a pickle ({error}); get it again") from error


def _read_plain_or_legacy(content: bytes) -> Any:
    """One pickle, or torch's four in a row: magic number, protocol, the system's byte order, the object."""
    first, end = _Machine(content).run(0)
    if not isinstance(first, int) or first != _TORCH_MAGIC:
        return first
    for _ in range(2):
        _, end = _Machine(content).run(end)
    return _Machine(content).run(end)[0]


def _read_zip(content: bytes) -> Any:
    """An archive, stored without compression, with the object in ``<name>/data.pkl``."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]]
        if len(members) != 1:
            raise DamagedError("the archive must hold one data.pkl, as torch.save writes it")
        if members[0].compress_type != zipfile.ZIP_STORED:
            raise DamagedError("data.pkl is compressed, torch.save does not do that")
        return _Machine(archive.read(members[0])).run(0)[0]


class _NumberType:
    """Stands for ``numpy.dtype`` of numbers and text; others (objects, records) could hide pointers and are refused."""

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not _NUMBER_TYPE.fullmatch(code):
            raise ForbiddenError(f"it asks for arrays of type {format_value(code)}")
        self._code = code

    def build(self, state: Any) -> None:
        """(version, byte order, ...), as ``numpy.dtype`` writes it."""
        if state[1] in ("<", ">") and self._code[0] not in "<>":
            self._code = state[1] + self._code.lstrip("=|")

    def numbers(self, data: Any, shape: Any = (-1,), in_columns: bool = False) -> Any:
        """The numbers in ``data``, as lists nested by their shape; Python 2 wrote bytes as text."""
        raw = data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))
        flat = np.frombuffer(raw, dtype=self._code) if raw else np.empty(0)
        return flat.reshape(shape, order="F" if in_columns else "C").tolist() if len(flat) else []


class _Array(list[Any]):
    """Stands for ``numpy.ndarray``: a list of numbers, filled once its state is read."""

    def build(self, state: Any) -> None:
        """(version, shape, dtype, whether in Fortran's order, bytes), as ``numpy.ndarray`` writes it."""
        _, shape, dtype, in_columns, data = state
        if not isinstance(dtype, _NumberType):
            raise DamagedError("an array without a type of numbers")
        numbers = dtype.numbers(data, shape, bool(in_columns))
        self[:] = numbers if isinstance(numbers, list) else [numbers]


_NDARRAY = object()


def _encode_text(text: str, codec: str) -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise ForbiddenError(f"it asks for the codec {format_value(codec)}")
    return text.encode("latin1")


def _read_scalar(dtype: _NumberType, data: Any) -> Any:
    (number,) = dtype.numbers(data)
    return number


_ADMITTED: dict[tuple[str, str], Any] = {
    ("builtins", "bytes"): lambda: b"",
    ("collections", "OrderedDict"): lambda items=(): {_check_key(key): value for key, value in items},
    ("_codecs", "encode"): _encode_text,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): lambda code, align=False, copy=False: _NumberType(code),
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("numpy.core.multiarray", "scalar"): _read_scalar,
    ("numpy.core.numeric", "_frombuffer"): lambda data, dtype, shape, order: dtype.numbers(data, shape, order == "F"),
}


def _resolve_name(module: Any, name: Any) -> Any:
    """What a name in the pickle stands for; names of Python 2 and NumPy 2 are brought to one form."""
    modern = str(module).replace("__builtin__", "builtins").replace("numpy._core.", "numpy.core.")
    if (modern, name) not in _ADMITTED:
        raise ForbiddenError(f"it asks for {str(module)[:60]}.{str(name)[:60]}")
    return _ADMITTED[modern, name]


_KEY_TYPES = {str, bytes, int, float, bool, type(None)}


def _check_key(value: Any) -> Any:
    """A key of a dictionary; tuples of tuples could take for ever to be hashed."""
    if type(value) not in _KEY_TYPES:
        raise ForbiddenError(f"it holds a dictionary with the key {format_value(value)}")
    return value


class _Machine:
    """Runs the program in ``data``: each instruction is a method, found by its byte."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._is_shared = False

    def run(self, start: int) -> tuple[Any, int]:
        """(the object, where its program ends)."""
        self._at = start
        try:
            self._run_to_stop()
            value = self._stack.pop()
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            raise DamagedError(f"at byte {self._at:,} of {len(self._data):,}, {type(error).__name__}") from error
        if self._is_shared:
            self._check_sharing(value)
        return value, self._at + 1

    def _run_to_stop(self) -> None:
        """The instructions that nine tenths of a data set consist of are written out here: twice as fast."""
        data, memo, instructions, end = self._data, self._memo, _INSTRUCTIONS, len(self._data)
        at, stack = self._at, self._stack
        try:
            while (code := data[at]) != _STOP:
                at += 1
                if code == _LONG_BINPUT and at + 4 <= end:
                    memo[_unpack_uint(data, at)[0]] = stack[-1]
                    at += 4
                elif code == _BINUNICODE and at + 4 <= end:
                    start = at + 4
                    at = start + _unpack_uint(data, at)[0]
                    stack.append(str(data[start:at], "utf-8", "surrogatepass"))
                elif code == _BINGET and type(value := memo[data[at]]) is str:
                    stack.append(value)
                    at += 1
                elif code == _BININT and at + 4 <= end:
                    stack.append(_unpack_int(data, at)[0])
                    at += 4
                elif code == _EMPTY_LIST:
                    stack.append([])
                elif code == _MARK:
                    self._below.append(stack)
                    self._stack = stack = []
                else:
                    self._at = at
                    instructions[code](self)
                    at, stack = self._at, self._stack
        finally:
            self._at = at

    def _check_sharing(self, value: Any) -> None:
        """A part that is used again and again is small here, but endless to those who walk through it."""
        left, todo = max(_MAX_SHARING * len(self._data), 1_000_000), [value]
        while todo:
            part = todo.pop()
            if isinstance(part, (list, tuple, dict)):
                left -= len(part)
                if left < 0:
                    raise ForbiddenError("its parts hold each other over and over")
                todo.extend(part.values() if isinstance(part, dict) else part)

    def _take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if count < 0 or len(part) < count:
            raise DamagedError(f"it ends within the value at byte {self._at:,}")
        self._at += count
        return part

    def _skip(self, count: int) -> None:
        self._take(count)

    def _read_number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "little", signed=signed)

    def _read_line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise DamagedError(f"a line without an end at byte {self._at:,}")
        line, self._at = self._data[self._at : end], end + 1
        return line

    def _take_since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        self._stack.pop()

    def _pop_mark(self) -> None:
        self._take_since_mark()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _append(self) -> None:
        item = self._stack.pop()
        self._get_list().append(item)

    def _extend(self) -> None:
        items = self._take_since_mark()
        self._get_list().extend(items)

    def _get_list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise DamagedError(f"it appends to a {type(self._stack[-1]).__name__}")
        top: list[Any] = self._stack[-1]
        return top

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise DamagedError(f"it puts {len(items)} keys and values into a {type(target).__name__}")
        keys = items[::2]
        if not _KEY_TYPES.issuperset(map(type, keys)):
            keys = [_check_key(key) for key in keys]
        target.update(zip(keys, items[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _build_dict(self) -> None:
        items = self._take_since_mark()
        self._stack.append({})
        self._set_items(items)

    def _build_tuple(self, count: int) -> None:
        stack = self._stack
        if len(stack) < count:
            raise DamagedError("a tuple of more than there is")
        stack[-count:] = [tuple(stack[-count:])]

    def _get(self, index: int) -> None:
        value = self._memo[index]
        self._is_shared |= isinstance(value, (list, tuple, dict))
        self._stack.append(value)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _duplicate(self) -> None:
        self._is_shared = True
        self._stack.append(self._stack[-1])

    def _push_global(self) -> None:
        module, name = self._read_line().decode("latin1"), self._read_line().decode("latin1")
        self._stack.append(_resolve_name(module, name))

    def _push_global_from_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_resolve_name(module, name))

    def _refuse_instance(self) -> None:
        self._push_global()
        raise ForbiddenError("it makes an object")

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not callable(function) or not isinstance(arguments, tuple):
            raise DamagedError(f"it calls {format_value(function)}")
        self._stack.append(function(*arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        if not isinstance(self._stack[-1], (_Array, _NumberType)):
            raise ForbiddenError(f"it sets the state of a {type(self._stack[-1]).__name__}")
        self._stack[-1].build(state)

    def _push_quoted_text(self) -> None:
        """Python 2's, a line in quotes."""
        line = self._read_line()
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise DamagedError(f"text without quotes before byte {self._at:,}")
        self._stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin1"))

    def _push_int_line(self) -> None:
        line = self._read_line()
        self._stack.append({b"00": False, b"01": True}.get(line) if line in (b"00", b"01") else int(line))

    def _refuse_outside(self) -> None:
        raise ForbiddenError("it holds a tensor or another outside object")


_STOP, _LONG_BINPUT, _BINUNICODE, _BINGET, _BININT, _EMPTY_LIST, _MARK = b".rXhJ]("
_unpack_uint, _unpack_int = struct.Struct("<I").unpack_from, struct.Struct("<i").unpack_from


def _make_refusal(code: int) -> Callable[[_Machine], None]:
    def refuse(machine: _Machine) -> None:
        raise ForbiddenError(f"it has the instruction 0x{code:02x}, which makes objects or is none")

    return refuse


def _push_utf8(machine: _Machine, size_bytes: int) -> None:
    machine._push(machine._take(machine._read_number(size_bytes)).decode("utf-8", "surrogatepass"))


def _build_instructions() -> list[Callable[[_Machine], None]]:
    """The method of each of the 256 bytes."""
    m = _Machine
    known: dict[int | str, Callable[[_Machine], None]] = {
        0x80: lambda s: s._skip(1),
        0x95: lambda s: s._skip(8),
        "N": lambda s: s._push(None),
        0x88: lambda s: s._push(True),
        0x89: lambda s: s._push(False),
        "I": m._push_int_line,
        "L": lambda s: s._push(int(s._read_line().rstrip(b"L"))),
        "J": lambda s: s._push(s._read_number(4, signed=True)),
        "K": lambda s: s._push(s._read_number(1)),
        "M": lambda s: s._push(s._read_number(2)),
        0x8A: lambda s: s._push(s._read_number(s._read_number(1), signed=True)),
        0x8B: lambda s: s._push(s._read_number(s._read_number(4), signed=True)),
        "F": lambda s: s._push(float(s._read_line())),
        "G": lambda s: s._push(struct.unpack(">d", s._take(8))[0]),
        "S": m._push_quoted_text,
        "T": lambda s: s._push(s._take(s._read_number(4)).decode("latin1")),
        "U": lambda s: s._push(s._take(s._read_number(1)).decode("latin1")),
        "V": lambda s: s._push(s._read_line().decode("raw_unicode_escape")),
        "X": lambda s: _push_utf8(s, 4),
        0x8C: lambda s: _push_utf8(s, 1),
        0x8D: lambda s: _push_utf8(s, 8),
        "B": lambda s: s._push(s._take(s._read_number(4))),
        "C": lambda s: s._push(s._take(s._read_number(1))),
        0x8E: lambda s: s._push(s._take(s._read_number(8))),
        "]": lambda s: s._push([]),
        "l": lambda s: s._push(s._take_since_mark()),
        "a": m._append,
        "e": m._extend,
        ")": lambda s: s._push(()),
        "t": lambda s: s._push(tuple(s._take_since_mark())),
        0x85: lambda s: s._build_tuple(1),
        0x86: lambda s: s._build_tuple(2),
        0x87: lambda s: s._build_tuple(3),
        "}": lambda s: s._push({}),
        "d": m._build_dict,
        "s": m._set_item,
        "u": lambda s: s._set_items(s._take_since_mark()),
        "0": m._pop,
        "2": m._duplicate,
        "(": m._mark,
        "1": m._pop_mark,
        "g": lambda s: s._get(int(s._read_line())),
        "h": lambda s: s._get(s._read_number(1)),
        "j": lambda s: s._get(s._read_number(4)),
        "p": lambda s: s._put(int(s._read_line())),
        "q": lambda s: s._put(s._read_number(1)),
        "r": lambda s: s._put(s._read_number(4)),
        0x94: lambda s: s._put(len(s._memo)),
        "c": m._push_global,
        0x93: m._push_global_from_stack,
        "i": m._refuse_instance,
        "R": m._reduce,
        "b": m._build,
        "P": m._refuse_outside,
        "Q": m._refuse_outside,
    }
    by_byte = {ord(code) if isinstance(code, str) else code: method for code, method in known.items()}
    return [by_byte.get(code) or _make_refusal(code) for code in range(256)]


_INSTRUCTIONS = _build_instructions()
