"""Annotations in the REFER layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.refer import read_refer
from tests.shards.annotation_files import write_gref, write_refer


def test_refer_boxes_become_xyxy_and_all_instances_are_kept(tmp_path: Path) -> None:
    (sample,) = read_refer(write_refer(tmp_path), "unc", "toy")
    assert sample.key == "toy-3-val"
    assert sample.image_name == "photo.png"
    assert [(i.box_xyxy, i.category, i.is_crowd) for i in sample.instances] == [
        ((1, 2, 4, 6), "cup", False),
        ((5, 2, 10, 8), "cup", True),
    ]
    assert [(q.query_id, q.text, q.box_xyxy, q.instance) for q in sample.queries] == [
        ("toy-7", "left cup", (1, 2, 4, 6), 0),
        ("toy-8", "small cup", (1, 2, 4, 6), 0),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ann_id": 99}, "ref 0: annotation 99"),
        ({"image_id": 4}, "image 4 is not in"),
        ({"sentences": [{}]}, "sentence 0 has no text"),
        ({"split": 3}, "split must be a string"),
    ],
)
def test_a_broken_ref_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_refer(write_refer(tmp_path, **change), "unc", "toy"))


def test_damaged_annotation_files_are_named(tmp_path: Path) -> None:
    folder = write_refer(tmp_path)
    (folder / "instances.json").write_text('{"images": [')
    with pytest.raises(SourceError, match=r"instances\.json is not a COCO instances file"):
        list(read_refer(folder, "unc", "toy"))
    whole = (folder / "refs(unc).p").read_bytes()
    (folder / "refs(unc).p").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="truncated"):
        list(read_refer(folder, "unc", "toy"))
    with pytest.raises(SourceError, match=r"refs\(google\)\.p does not exist"):
        list(read_refer(folder, "google", "toy"))


def test_a_ref_of_several_test_splits_belongs_to_each(tmp_path: Path) -> None:
    samples = list(read_refer(write_refer(tmp_path, split="testBC"), "unc", "toy"))
    assert [(s.split, s.key, [q.query_id for q in s.queries]) for s in samples] == [
        ("testB", "toy-3-testB", ["toy-7-testB", "toy-8-testB"]),
        ("testC", "toy-3-testC", ["toy-7-testC", "toy-8-testC"]),
    ]


def test_refer_takes_another_file_of_instances(tmp_path: Path) -> None:
    folder = write_refer(tmp_path)
    (folder / "instances.json").rename(tmp_path / "instances_train2014.json")
    with pytest.raises(SourceError, match=r"instances\.json does not exist"):
        list(read_refer(folder, "unc", "toy"))
    (sample,) = read_refer(folder, "unc", "toy", tmp_path / "instances_train2014.json")
    assert len(sample.instances) == 2


def test_a_query_of_grefcoco_has_none_one_or_several_targets(tmp_path: Path) -> None:
    refs = [{"ann_id": ids} for ids in ([-1], [], -1, [12], [12, 11])]
    (sample,) = read_refer(write_gref(tmp_path, *refs), "unc", "grefcoco")
    first, second = ((1, 2, 4, 6), (5, 2, 10, 8))
    assert [(q.boxes_xyxy, q.instances) for q in sample.queries] == [
        ((), ()), ((), ()), ((), ()), ((second,), (1,)), ((second, first), (1, 0)),
    ]  # fmt: skip
    assert len(sample.instances) == 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([11, 99], "ref 0: annotation 99 is not among those of its image"),
        ([11, 11], "ref 0: ann_id .* names a target twice; list each once"),
        ([11, -1], "ref 0: ann_id .* names targets and also -1, for none"),
        ([[11]], "ref 0: annotation .* is not among"),
        ({"a": 1}, "ref 0: image_id and ann_id must be numbers or names"),
    ],
)
def test_wrong_targets_of_grefcoco_are_named(tmp_path: Path, ids: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_refer(write_gref(tmp_path, {"ann_id": ids}), "unc", "grefcoco"))


@pytest.mark.parametrize("content", ["[{", "[" * 100_000, '{"a": 1}'])
def test_a_damaged_file_of_grefcoco_is_named(tmp_path: Path, content: str) -> None:
    folder = write_gref(tmp_path)
    (folder / "grefs(unc).json").write_text(content)
    with pytest.raises(SourceError, match=r"grefs\(unc\)\.json"):
        list(read_refer(folder, "unc", "grefcoco"))
