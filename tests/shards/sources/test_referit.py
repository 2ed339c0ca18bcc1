"""ReferItGame's own files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from shards.sources.errors import SourceError
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
