"""TransVG's split files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shards.sources.errors import SourceError
from shards.sources.refer import read_refer
from shards.sources.transvg import read_transvg
from tests.shards.annotation_files import REAL, write_refer

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not at hand")


@pytest.mark.parametrize(
    ("name", "row", "box"),
    [
        ("unc", ("a.jpg", "1.pth", [1, 2, 3, 4], "left cup", []), (1, 2, 4, 6)),
        ("gref_umd", ("a.jpg", "1.pth", np.array([1.0, 2, 3, 4]), "left cup", []), (1, 2, 4, 6)),
        ("referit", ("a.jpg", "1.pth", [1, 2, 3, 4], "left cup", []), (1, 2, 4, 5)),
        ("flickr", ("a.jpg", [1, 2, 3, 4], "left cup"), (0, 1, 3, 4)),
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
def test_transvg_boxes_follow_their_dataset(
    tmp_path: Path, name: str, row: Any, box: tuple[int, ...], legacy: bool
) -> None:
    torch.save([row], tmp_path / f"{name}_val.pth", _use_new_zipfile_serialization=not legacy)
    (sample,) = read_transvg(tmp_path, name, name)
    (query,) = sample.queries
    assert (query.text, query.box_xyxy, query.split, query.instance) == ("left cup", box, "val", None)


def test_transvg_rows_of_one_image_become_one_sample(tmp_path: Path) -> None:
    rows = [(f"{i % 2}.jpg", "m", [1, 2, 3, 4], f"phrase {i}", []) for i in range(5)]
    torch.save(rows, tmp_path / "unc_val.pth")
    samples = list(read_transvg(tmp_path, "unc", "x"))
    assert [[q.query_id for q in s.queries] for s in samples] == [
        ["x-val-0", "x-val-2", "x-val-4"],
        ["x-val-1", "x-val-3"],
    ]


def test_a_transvg_row_of_another_width_is_named(tmp_path: Path) -> None:
    torch.save([("a.jpg", [1, 2, 3, 4], "left cup")], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match=r"unc_val\.pth, row 0: a row of unc has 5 fields"):
        list(read_transvg(tmp_path, "unc", "x"))


@needs_real
def test_real_files_hold_as_many_queries_as_published() -> None:
    refcoco = list(read_refer(REAL / "refer/refcoco", "unc", "refcoco"))
    assert (len(refcoco), sum(len(s.queries) for s in refcoco)) == (1500, 10834)
    assert len({(s.key, q.instance) for s in refcoco for q in s.queries}) == 3811
    counts = {"unc": 10834, "unc+": 10758, "gref_umd": 4896, "referit": 5842, "flickr": 14433}
    for name, count in counts.items():
        assert sum(len(s.queries) for s in read_transvg(REAL / "transvg" / name, name, name)) == count


def test_a_number_too_long_to_be_shown_is_named_all_the_same(tmp_path: Path) -> None:
    torch.save([("a.jpg", "1.pth", [1 << 40_000, 2, 3, 4], "cup", [])], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match="row 0: a box is four numbers, got a list that is too long to show"):
        list(read_transvg(tmp_path, "unc", "unc"))


def test_transvg_rows_get_all_instances_of_their_image_by_annotation(tmp_path: Path) -> None:
    write_refer(tmp_path)  # image 3, annotations 11 and 12 (a crowd), both cups
    name = "photo.png"
    torch.save([(name, "11.pth", [1, 2, 3, 4], "left cup", [])], tmp_path / "unc_val.pth")
    (sample,) = read_transvg(tmp_path, "unc", "unc", tmp_path / "instances.json")
    assert [(i.category, i.is_crowd) for i in sample.instances] == [("cup", False), ("cup", True)]
    assert (sample.queries[0].instance, sample.size) == (0, (10, 8))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("photo.png", "99.pth", [1, 2, 3, 4], "cup", []), "row 0: annotation 99 is not in"),
        (("photo.png", "mask.pth", [1, 2, 3, 4], "cup", []), "row 0: the mask file is named <annotation id>"),
        (("photo.png", "12.pth", [1, 2, 3, 4], "cup", []), "row 0: the box .* is not that of its annotation"),
    ],
)
def test_instances_of_other_images_are_noticed(tmp_path: Path, row: Any, message: str) -> None:
    write_refer(tmp_path)
    torch.save([row], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match=message):
        list(read_transvg(tmp_path, "unc", "unc", tmp_path / "instances.json"))


def test_trainval_features_and_other_datasets_are_no_splits(tmp_path: Path) -> None:
    rows = [("photo.png", "11.pth", [1, 2, 3, 4], "left cup", [])]
    for name in ("gref_train", "gref_val", "gref_trainval", "gref_umd_test", "gref_val_fea"):
        torch.save(rows, tmp_path / f"{name}.pth")
    assert [s.split for s in read_transvg(tmp_path, "gref", "gref")] == ["train", "val"]
    assert [s.split for s in read_transvg(tmp_path, "gref_umd", "gref_umd")] == ["test"]
    with pytest.raises(SourceError, match="is a file; give the folder"):
        list(read_transvg(tmp_path / "gref_train.pth", "gref", "gref"))
