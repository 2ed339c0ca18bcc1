"""Captions with phrases, as MDETR and Grounding DINO train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.sources.errors import SourceError
from shards.sources.grounding import read_grounding
from tests.shards.annotation_files import write_refer

CAPTION = "Two men walk a brown dog"


def _mdetr(path: Path, dataset_name: str = "flickr", **changes: Any) -> Path:
    """Two captions of one image; boxes xywh."""
    images = [
        {"id": 1, "file_name": "a.jpg", "height": "80", "width": "100", "caption": CAPTION},
        {"id": 2, "file_name": "a.jpg", "height": 80, "width": 100, "caption": "the dog"},
    ]
    annotations = [
        {"id": 1, "image_id": 1, "bbox": [1, 11, 19, 49], "tokens_positive": [[0, 7]], "original_id": 11},
        {"id": 2, "image_id": 1, "bbox": [41, 5, 59, 75], "tokens_positive": [[0, 3], [4, 7]], "original_id": 12},
        {"id": 3, "image_id": 1, "bbox": [5, 5, 10, 10], "tokens_positive": [[15, 24]], "original_id": 12},
        {"id": 4, "image_id": 2, "bbox": [5, 5, 10, 10], "tokens_positive": [[4, 7]], "original_id": 12, **changes},
    ]
    images = [{**image, "dataset_name": dataset_name} for image in images]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


def test_phrases_of_a_caption_are_queries_and_flickr_boxes_count_from_one(tmp_path: Path) -> None:
    (sample,) = read_grounding(_mdetr(tmp_path / "final_flickr_separateGT_val.json"), "f", "train")
    assert (sample.image_name, sample.size, sample.split) == ("a.jpg", (100, 80), "val")
    men, dog, other = sample.queries
    assert men.text == "Two men"  # its second box's two pieces are one phrase
    assert men.boxes_xyxy == ((0, 10, 20, 60), (40, 4, 100, 80))
    assert (dog.text, dog.box_xyxy, dog.boxes_xyxy) == ("brown dog", (4, 4, 15, 15), ((4, 4, 15, 15),))
    assert (other.text, other.query_id) == ("dog", "f-val-2-0")


def test_of_referring_expressions_the_caption_is_the_query(tmp_path: Path) -> None:
    path = _mdetr(tmp_path / "mine.json", "refcoco")
    (sample,) = read_grounding(path, "r", "train")
    assert sample.split == "train"
    assert [q.text for q in sample.queries] == [CAPTION, "the dog"]
    assert sample.queries[1].box_xyxy == (5, 5, 15, 15)  # 0-based, x + width
    assert len(sample.queries[0].boxes_xyxy) == 3


def test_an_empty_annotation_says_that_there_is_no_target(tmp_path: Path) -> None:
    empty = {"bbox": [0, 0, 0, 0], "empty": True, "original_id": -1, "tokens_positive": []}
    (sample,) = read_grounding(_mdetr(tmp_path / "mine.json", "grefcoco", **empty), "g", "train")
    assert [len(query.boxes_xyxy) for query in sample.queries] == [3, 0]
    assert sample.queries[1].instances == ()
    with pytest.raises(SourceError, match="annotation 4: empty means no target, but image 1 has further annotations"):
        list(read_grounding(_mdetr(tmp_path / "both.json", "grefcoco", **{**empty, "image_id": 1}), "g", "train"))


def test_a_caption_without_boxes_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    image = {"id": 1, "file_name": "a.jpg", "height": 80, "width": 100, "caption": "nothing"}
    path.write_text(json.dumps({"images": [image], "annotations": []}))
    (sample,) = read_grounding(path, "r", "train")
    assert [(p.rule, p.detail) for p in sample.problems] == [("no_box", "nothing")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens_positive": [[4, 99]]}, r"annotation 4: tokens_positive .*\(4, 99\) of 7"),
        ({"tokens_positive": "all"}, "annotation 4: tokens_positive"),
        ({"bbox": [1, 2]}, "annotation 4: a box is four numbers"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_grounding(_mdetr(tmp_path / "a.json", **changes), "f", "train"))


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"images": [{"id": 1}], "annotations": []}', "\udcff"])
def test_another_json_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError, match=r"a\.json"):
        list(read_grounding(tmp_path / "a.json", "f", "train"))
    with pytest.raises(SourceError, match=r"no \.json file and no folder of them"):
        list(read_grounding(tmp_path / "b.json", "f", "train"))


def test_mdetr_annotations_are_joined_by_their_original_id(tmp_path: Path) -> None:
    write_refer(tmp_path)
    image = {"id": 1, "file_name": "photo.png", "height": 8, "width": 10, "caption": "left cup"}
    annotation = {"id": 5, "image_id": 1, "bbox": [1, 2, 3, 4], "original_id": 11, "tokens_positive": [[5, 8]]}
    path = tmp_path / "finetune_refcoco_val.json"
    path.write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    (sample,) = read_grounding(path, "r", "train", tmp_path / "instances.json")
    assert (len(sample.instances), sample.queries[0].instance) == (2, 0)
    path.write_text(json.dumps({"images": [image], "annotations": [{**annotation, "original_id": 7}]}))
    with pytest.raises(SourceError, match="annotation 5: annotation 7 is not in"):
        list(read_grounding(path, "r", "train", tmp_path / "instances.json"))
