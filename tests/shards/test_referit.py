"""ReferItGame's own files."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from shards.sources.errors import SourceError
from shards.sources.mat5 import MAX_BYTES, read_matrix
from shards.sources.referit import read_referit


def _folder(path: Path, regions: dict[str, object], **masks: np.ndarray) -> Path:
    (path / "mask").mkdir()
    (path / "referit_query_val.json").write_text(json.dumps(regions))
    for region, mask in masks.items():
        savemat(str(path / "mask" / f"{region.removeprefix('r')}.mat"), {"segimg_t": mask})
    return path


def _mask(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """(6, 8), 0 from (x1, y1) up to, not including, (x2, y2)."""
    mask = np.full((6, 8), 255, np.uint8)
    mask[y1:y2, x1:x2] = 0
    return mask


def test_a_box_is_the_smallest_around_the_zeros_of_its_mask(tmp_path: Path) -> None:
    regions = {"112_2": ["sky"], "112_1": ["left tree", "the tree"], "9_1": ["sand"]}
    folder = _folder(tmp_path, regions, r112_1=_mask(2, 1, 5, 6), r112_2=_mask(0, 0, 8, 1), r9_1=_mask(7, 5, 8, 6))
    first, second = read_referit(folder, "referit")
    assert (first.image_name, first.split, first.size) == ("9.jpg", "val", (8, 6))
    assert first.queries[0].box_xyxy == (7, 5, 8, 6)
    assert [(q.query_id, q.text, q.box_xyxy) for q in second.queries] == [
        ("referit-112_2-0", "sky", (0, 0, 8, 1)),
        ("referit-112_1-0", "left tree", (2, 1, 5, 6)),
        ("referit-112_1-1", "the tree", (2, 1, 5, 6)),
    ]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"../../etc_1": ["x"]}, "a region is <image>_<number>"),
        ({"1_1": "x"}, "a region is <image>_<number>"),
        ({"1_2": ["x"]}, r"1_2\.mat does not exist"),
        ([], "holds a list"),
    ],
)
def test_a_broken_query_file_is_named(tmp_path: Path, regions: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_referit(_folder(tmp_path, regions, r1_1=_mask(0, 0, 1, 1)), "referit"))


@pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"MATLAB 5.0 MAT-file" + b"\0" * 200])
def test_a_broken_mask_is_named(tmp_path: Path, content: bytes) -> None:
    folder = _folder(tmp_path, {"1_1": ["x"]})
    (folder / "mask" / "1_1.mat").write_bytes(content)
    with pytest.raises(SourceError, match=r"1_1\.mat"):
        list(read_referit(folder, "referit"))


def test_a_truncated_mask_is_named_wherever_it_ends(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"1_1": ["x"]}, r1_1=_mask(0, 0, 2, 2))
    path = folder / "mask" / "1_1.mat"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 8, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"1_1\.mat"):
            list(read_referit(folder, "referit"))


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
    with pytest.raises(SourceError, match=r"m\.mat is no MATLAB 5 file"):
        read_matrix(tmp_path / "m.mat", "segimg_t")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    header = b" " * 124 + b"\x00\x01IM"
    bomb = zlib.compress(bytes(MAX_BYTES + 1))
    (tmp_path / "m.mat").write_bytes(header + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(SourceError, match="larger than a mask"):
        read_matrix(tmp_path / "m.mat", "segimg_t")


def test_a_mask_without_an_object_or_of_another_name_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"1_1": ["x"]}, r1_1=np.full((4, 4), 255, np.uint8))
    with pytest.raises(SourceError, match="has no 0"):
        list(read_referit(folder, "referit"))
    savemat(str(folder / "mask" / "1_1.mat"), {"other": np.zeros((2, 2))})
    with pytest.raises(SourceError, match="it has no segimg_t"):
        list(read_referit(folder, "referit"))


def test_a_folder_without_query_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="referit_query_<split>"):
        list(read_referit(tmp_path, "referit"))
