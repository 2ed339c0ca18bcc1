"""Files of an annotation folder, their splits, and JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.files import infer_splits, read_json_lines
from shards.sources.grounding import read_grounding


def _lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"height": 80, "width": 100, **line}) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("finetune_refcoco_testA.json", "testA"),
        ("final_flickr_separateGT_val_vg.json", "val"),
        ("instances_val2017.json", "val"),
        ("validation-00000-of-00001.json", "validation"),
        ("mine.json", "other"),
        ("train_val.json", "other"),
    ],
)
def test_the_split_stands_in_the_name_of_a_file(name: str, split: str) -> None:
    assert infer_splits([Path(name)], "other") == {Path(name): split}


def test_several_files_must_say_which_split_they_are(tmp_path: Path) -> None:
    for name in ("a_train.json", "a_minival.json"):
        (tmp_path / name).write_text('{"images": [], "annotations": []}')
    with pytest.raises(SourceError, match=r"a_minival\.json: several files"):
        list(read_grounding(tmp_path, "f", "train"))


def test_lines_keep_their_numbers_beside_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')  # with a byte order mark
    assert list(read_json_lines(path)) == [(f"{path}, line 1", "1", {"a": 1}), (f"{path}, line 4", "4", {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [(b"[1]", "line 2: a line is a JSON object, got"), (b"{", "line 2: a line is one JSON object, in UTF-8")],
)
def test_a_line_without_an_object_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" + line)
    with pytest.raises(SourceError, match=message):
        list(read_json_lines(tmp_path / "a.jsonl"))


def test_a_damaged_array_and_an_entry_without_an_object_are_named(tmp_path: Path) -> None:
    for content, message in (
        ("[{}", r"a\.json: not one JSON array"),
        ("[{}, 3]", "entry 2: an entry is a JSON object"),
    ):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(SourceError, match=message):
            list(read_json_lines(tmp_path / "a.json"))
