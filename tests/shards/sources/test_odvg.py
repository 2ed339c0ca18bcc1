"""Grounding DINO's JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.odvg import read_odvg

CAPTION = "Two men walk a brown dog"


def _lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"height": 80, "width": 100, **line}) + "\n" for line in lines))
    return path


def test_odvg_regions_expressions_and_instances_are_read(tmp_path: Path) -> None:
    boxes = [[1, 2, 30, 40], [50, 2, 90, 40]]
    path = _lines(
        tmp_path / "flickr_val.jsonl",
        {
            "filename": "a.jpg",
            "grounding": {
                "caption": "a man with two dogs",
                "regions": [{"bbox": boxes[0], "phrase": "a man"}, {"bbox": boxes, "phrase": ["two dogs", "dogs"]}],
            },
        },
        {"filename": "a.jpg", "referring": [{"bbox": boxes[1], "phrase": ["right dog"]}]},
        {"filename": "a.jpg", "detection": {"instances": [{"bbox": b, "category": "Dog", "label": 0} for b in boxes]}},
    )
    (sample,) = read_odvg(path, "o", "train")
    assert [(i.category, i.box_xyxy) for i in sample.instances] == [("dog", tuple(box)) for box in boxes]
    assert [(q.query_id, q.text, q.instance) for q in sample.queries] == [
        ("o-val-1-0", "a man", 0),
        ("o-val-1-1", "two dogs", None),
        ("o-val-1-2", "dogs", None),
        ("o-val-2-0", "right dog", 1),
    ]
    assert sample.queries[1].box_xyxy == (1, 2, 90, 40)
    assert len(sample.queries[1].boxes_xyxy) == 2


def test_regions_with_one_phrase_at_one_place_of_a_caption_are_targets_of_one_query(tmp_path: Path) -> None:
    first, second, third = [1, 2, 30, 40], [50, 2, 90, 40], [60, 50, 90, 70]
    man, dogs = {"phrase": "a man"}, {"phrase": "two dogs"}
    lines = [
        {"regions": [{**man, "bbox": first}, {**dogs, "bbox": second}, {**dogs, "bbox": third}]},  # Open-GroundingDINO
        {
            "regions": [
                {**man, "bbox": first, "tokens_positive": [[0, 5]]},
                {**man, "bbox": second, "tokens_positive": [[11, 16]]},
            ]
        },
    ]
    path = _lines(
        tmp_path / "a.jsonl",
        *({"filename": "a.jpg", "grounding": line} for line in lines),
        {"filename": "a.jpg", "referring": [{"bbox": box, "phrase": "dog"} for box in (second, third)]},
    )
    (sample,) = read_odvg(path, "o", "train")
    assert [(query.query_id, query.text, [list(box) for box in query.boxes_xyxy]) for query in sample.queries] == [
        ("o-train-1-0", "a man", [first]),
        ("o-train-1-1", "two dogs", [second, third]),
        ("o-train-2-0", "a man", [first]),
        ("o-train-2-1", "a man", [second]),
        ("o-train-3-0", "dog", [second]),
        ("o-train-3-1", "dog", [third]),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"filename": 3}, "line 1: a line needs a filename"),
        ({"filename": "a.jpg", "grounding": []}, "line 1: regions must be in an object"),
        ({"filename": "a.jpg", "referring": [3]}, "line 1: referring is a list of objects"),
        ({"filename": "a.jpg", "referring": [{"phrase": "x", "bbox": []}]}, "line 1: a region has a phrase and a bbox"),
        ({"filename": "a.jpg", "referring": [{"phrase": None, "bbox": [1, 2, 3, 4]}]}, "line 1: a region has"),
        ({"filename": "a.jpg", "width": None, "referring": []}, "line 1: width and height"),
        ({"filename": "a.jpg", "detection": {"instances": [{"bbox": [1, 2, 3, 4]}]}}, "the name of its category"),
    ],
)
def test_a_broken_odvg_line_is_named(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_odvg(_lines(tmp_path / "a.jsonl", line), "o", "train"))
