"""The choice of a reader by its format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.registry import ReaderOptions, read_annotations
from shards.sources.transvg import read_transvg


def _lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_names_that_occur_again_are_told_apart(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a b.jpg", "query": "cup", "box": [0, 0, 4, 4], "id": 7},
        {"image": "a_b.jpg", "query": "cup", "box": [0, 0, 4, 4], "id": 7},
        {"image": "a_b.png", "query": "cup", "box": [0, 0, 4, 4], "id": "7-2"},
    )
    samples = list(read_annotations("table", ReaderOptions(path=path, dataset="own")))
    assert [s.key for s in samples] == ["own-a_b-train", "own-a_b-train-2", "own-a_b-train-3"]
    assert [s.queries[0].query_id for s in samples] == ["own-7", "own-7-2", "own-7-2-2"]


def test_instances_for_a_format_without_coco_annotations_are_refused(tmp_path: Path) -> None:
    asked = ReaderOptions(path=tmp_path, dataset="x", instances=tmp_path / "instances.json")
    with pytest.raises(SourceError, match="odvg does not name COCO's annotations"):
        read_annotations("odvg", asked)
    with pytest.raises(SourceError, match="the images of flickr are not COCO's"):
        list(read_transvg(tmp_path, "flickr", "f", tmp_path / "instances.json"))
