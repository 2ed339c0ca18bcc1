"""Untrusted pickles, MATLAB files, tables and files of torch."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import signal
import struct
import zlib
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from shards.sources import isolated
from shards.sources.errors import SourceError
from shards.sources.isolated import MAX_MATRIX_FILE_BYTES, read_matrix, read_parquet, read_pickle, read_tensors


class _Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch {marker}", "system"),
        (eval, "open('{marker}', 'w')", "eval"),
        (torch.load, "{marker}", "torch"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_would_run_code_is_refused_by_name(
    tmp_path: Path, function: Any, argument: str, name: str, nested: bool
) -> None:
    marker = tmp_path / "marker"
    evil: Any = _Evil(function, argument.format(marker=marker))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([{"sentences": [evil]}] if nested else evil))
    with pytest.raises(SourceError, match=name):
        read_pickle(tmp_path / "refs(unc).p")
    assert not marker.exists()


def test_pickles_of_python_2_and_numpy_scalars_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.p"
    path.write_bytes(b"(lp0\nS'caf\\xe9'\np1\na.")  # protocol 0, a byte string
    assert read_pickle(path) == ["café"]
    value = {"a": np.float64(1.5), "b": np.arange(3), "c": collections.OrderedDict(x=1)}
    path.write_bytes(pickle.dumps(value, protocol=2))
    read = read_pickle(path)
    assert read == {"a": 1.5, "b": [0, 1, 2], "c": {"x": 1}}


def test_an_array_that_could_hide_pointers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.p"
    path.write_bytes(pickle.dumps(np.array([None, {}], dtype=object), protocol=2))
    with pytest.raises(SourceError, match="arrays of type 'O8'"):
        read_pickle(path)


def _nest(depth: int) -> bytes:
    """Return a program of 2 ** depth parts: EMPTY_TUPLE, then DUP and TUPLE2 again and again."""
    return b")" + b"2\x86" * depth


def _collide(num_keys: int) -> bytes:
    """Return a program of a dictionary whose keys, multiples of 2 ** 61 - 1, all have the hash 0."""
    keys = ((n * (2**61 - 1)).to_bytes(10, "little") for n in range(num_keys))
    return b"}(" + b"".join(b"\x8a\x0a" + key + b"N" for key in keys) + b"u"


ENDLESS = r"was not read: it (takes too long|crashes its reader)|its parts hold each other over and over"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"]r\xff\xff\xff\x7f.", "it takes too much memory"),  # a memo of 2 ** 31 places
        (_nest(26) + b".", "its parts hold each other over and over"),
        (_nest(60) + b".", ENDLESS),
        (b"}" + _nest(60) + b"Ns.", "it takes too long"),  # the hash of a key
        (_collide(58_000) + b".", "it takes too long"),  # 750 KB
        (b"})" + b"\x85" * 3_000_000 + b"Ns.", ENDLESS),  # a key of 3,000,000 levels
        (b"]" * 1_000_000 + b"a" * 999_999 + b".", "its parts hold each other over and over"),
        (b"]q\x00" + b"h\x00a" * 40 + b".", ENDLESS),
        (b"(cos\nsystem\ni", "os.system"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"(S'ls'\nios\nsystem\n.", "os.system"),
        (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x82\x01.", "extension code 1"),
        (b"Pfile\n.", "a tensor or another outside object"),
        (b"NQ.", "a tensor or another outside object"),
        (b"\x97.", "out-of-band"),
        (b"]}X\x01\x00\x00\x00ANsb.", "damaged"),  # the state of a list
        (b"X\xff\xff\xff\x7fabc.", "it takes too much memory"),
        (b"\x8b\xff\xff\xff\x7fabc.", "it takes too much memory"),
        (b"L" + b"9" * 1_000_000 + b"L\n.", "damaged"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
        (b"\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "it takes too much memory"),
        (b"\x81.", "damaged"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_a_pickle_that_hangs_crashes_or_runs_code_is_named(tmp_path: Path, program: bytes, message: str) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(b"\x80\x05" + program)
    with pytest.raises(SourceError, match=message):
        read_pickle(path)


def test_a_pickle_cannot_change_how_the_next_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.p"
    # The second part of a state is a dictionary of attributes to set, here on the stand-in for numpy.dtype.
    path.write_bytes(b"\x80\x02(cnumpy\ndtype\nN}X\x06\x00\x00\x00decodeNs\x86bt.")
    with pytest.raises(SourceError, match=r"a\.p"):
        read_pickle(path)
    path.write_bytes(pickle.dumps(np.float64(1.5), protocol=2))
    assert read_pickle(path) == 1.5


def test_an_interrupted_request_leaves_no_answer_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "slow.p").write_bytes(b"\x80\x02" + _collide(40_000) + b".")
    (tmp_path / "a.p").write_bytes(pickle.dumps([1]))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            read_pickle(tmp_path / "slow.p")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert read_pickle(tmp_path / "a.p") == [1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text() | st.integers(), inner, max_size=5)
        ),
        max_leaves=20,
    ),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=300)
def test_plain_values_come_back_from_every_protocol(value: Any, protocol: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "values.p"
        path.write_bytes(pickle.dumps([value, value], protocol=protocol))
        assert read_pickle(path) == [value, value]


def test_text_of_numpy_and_parts_that_rows_share_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps([np.str_("left cup"), np.array(["a", "bc"])], protocol=2))
    assert read_pickle(path) == ["left cup", ["a", "bc"]]
    shared = [("r1", ["cup"])] * 8
    path.write_bytes(pickle.dumps([("a.png", shared)] * 1000, protocol=2))
    assert len(read_pickle(path)) == 1000


def _mask(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """(6, 8), 0 from (x1, y1) up to, not including, (x2, y2)."""
    mask = np.full((6, 8), 255, np.uint8)
    mask[y1:y2, x1:x2] = 0
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.bool_])
@pytest.mark.parametrize("compressed", [False, True])
def test_masks_of_every_number_type_are_read_as_scipy_wrote_them(
    tmp_path: Path, dtype: type[np.generic], compressed: bool
) -> None:
    written = _mask(2, 1, 5, 6).astype(dtype)
    savemat(str(tmp_path / "m.mat"), {"other": np.eye(3), "segimg_t": written, "text": "x"}, do_compression=compressed)
    np.testing.assert_array_equal(read_matrix(tmp_path / "m.mat", "segimg_t"), written)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=20), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_damaged_mask_is_read_or_named(changes: list[tuple[int, int]], compressed: bool) -> None:
    content = io.BytesIO()
    savemat(content, {"segimg_t": _mask(2, 1, 5, 6)}, do_compression=compressed)
    damaged = bytearray(content.getvalue())
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.mat"
        path.write_bytes(bytes(damaged))
        try:
            assert read_matrix(path, "segimg_t").ndim == 2
        except SourceError as error:
            assert "m.mat" in str(error)


@pytest.mark.parametrize("part", [struct.pack("<II", 14, 0), struct.pack("<II", 15, 8) + zlib.compress(b"")])
def test_a_part_that_lacks_its_own_parts_is_named(tmp_path: Path, part: bytes) -> None:
    (tmp_path / "m.mat").write_bytes(b" " * 124 + b"\x00\x01IM" + part)
    with pytest.raises(SourceError, match=r"m\.mat is damaged, truncated or not a MATLAB file"):
        read_matrix(tmp_path / "m.mat", "segimg_t")


def _write_matrix(path: Path, rows: int, columns: int, content: bytes) -> None:
    """Write an uint8 matrix as a compressed part that claims to have rows x columns numbers."""
    parts = struct.pack("<6I", 6, 8, 9, 0, 5, 8) + struct.pack("<2I", rows, columns)
    parts += struct.pack("<2I", 1, 8) + b"segimg_t" + struct.pack("<2I", 2, rows * columns) + content
    compressed = zlib.compress(struct.pack("<2I", 14, len(parts)) + parts)
    path.write_bytes(b" " * 124 + b"\x00\x01IM" + struct.pack("<2I", 15, len(compressed)) + compressed)


def test_a_mask_that_claims_or_takes_too_much_memory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.mat"
    _write_matrix(path, 2, 4, bytes(8))
    assert read_matrix(path, "segimg_t").tolist() == [[0] * 4] * 2
    _write_matrix(path, 60_000, 60_000, bytes(8))
    with pytest.raises(SourceError, match=r"m\.mat was not read: it takes too much memory"):
        read_matrix(path, "segimg_t")
    _write_matrix(path, 9_000, 9_000, bytes(9_000 * 9_000))
    with pytest.raises(SourceError, match="larger than a mask"):
        read_matrix(path, "segimg_t")
    with path.open("wb") as file:
        file.truncate(MAX_MATRIX_FILE_BYTES + 1)
    with pytest.raises(SourceError, match="more than the 67,108,864 of a mask"):
        read_matrix(path, "segimg_t")


@pytest.mark.parametrize("value", ["text", np.array([[1 + 2j]]), {"a": 1}, np.zeros((2, 2, 2)), [[1, "a"]]])
def test_a_variable_that_is_no_matrix_of_numbers_is_named(tmp_path: Path, value: Any) -> None:
    savemat(str(tmp_path / "m.mat"), {"segimg_t": value})
    with pytest.raises(SourceError, match="it has no segimg_t of numbers in rows and columns"):
        read_matrix(tmp_path / "m.mat", "segimg_t")


def test_a_loader_that_was_ended_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "plain.p"
    path.write_bytes(pickle.dumps([1, 2]))
    assert isolated.read_pickle(path) == [1, 2]
    loader = isolated._start_loader(os.getpid())
    loader.kill()
    loader.wait()
    assert isolated.read_pickle(path) == [1, 2]


@pytest.mark.parametrize("is_stored_as_dictionary", [False, True])
def test_a_small_parquet_file_of_gigabytes_is_named(tmp_path: Path, is_stored_as_dictionary: bool) -> None:
    path = tmp_path / "own.parquet"
    queries = pa.DictionaryArray.from_arrays(np.zeros(1_000, np.int32), ["cup " * 250_000])
    pq.write_table(pa.table({"query": queries}), path, compression="zstd", store_schema=is_stored_as_dictionary)
    assert path.stat().st_size < 20_000
    with pytest.raises(SourceError, match=r"own\.parquet was not read: it takes too much memory"):
        read_parquet(path, ["query"])
    assert read_parquet(path, ["box"])[0] == ["query"]


def test_decimals_and_dates_of_a_parquet_file_become_numbers_and_text(tmp_path: Path) -> None:
    rows = [{"box": [Decimal("1.5")], "id": date(2024, 1, 2)}, {"box": None, "id": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "own.parquet")
    _, read = read_parquet(tmp_path / "own.parquet", ["box", "id"])
    assert read == [{"box": [1.5], "id": "2024-01-02"}, {"box": None, "id": None}]


def test_a_compressed_file_of_torch_that_unfolds_to_gigabytes_is_named(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(200_000_000)}}, tmp_path / "large.pth")
    small_path = tmp_path / "small.pth"
    with ZipFile(tmp_path / "large.pth") as large, ZipFile(small_path, "w", ZIP_DEFLATED, compresslevel=1) as small:
        for name in large.namelist():
            small.writestr(name, large.read(name))
    (tmp_path / "large.pth").unlink()
    assert small_path.stat().st_size < 4_000_000
    with pytest.raises(SourceError, match=r"small\.pth"):
        read_tensors(small_path)


def test_a_view_that_claims_terabytes_is_named_and_tensors_that_share_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)
    with pytest.raises(SourceError, match=r"a\.pth"):
        read_tensors(path)
    numbers = torch.arange(6.0).reshape(2, 3)
    torch.save({"model": {"a": numbers, "b": numbers.T}, "args": argparse.Namespace(lr=1)}, path)
    read = read_tensors(path)
    assert torch.equal(read["a"], numbers)
    assert torch.equal(read["b"], numbers.T)
