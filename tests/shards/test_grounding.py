"""COCO's JSON with captions (MDETR, GLIP), ODVG's JSON lines, and instances joined by annotation id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.sources.errors import SourceError
from shards.sources.files import infer_splits
from shards.sources.grounding import read_grounding
from shards.sources.odvg import read_odvg
from shards.sources.refer import read_refer
from shards.sources.registry import ReaderOptions, read_annotations
from shards.sources.table import Fields
from shards.sources.transvg import read_transvg
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
    assert (dog.text, dog.box_xyxy, dog.boxes_xyxy) == ("brown dog", (4, 4, 15, 15), ())
    assert (other.text, other.query_id) == ("dog", "f-val-2-0")


def test_of_referring_expressions_the_caption_is_the_query(tmp_path: Path) -> None:
    path = _mdetr(tmp_path / "mine.json", "refcoco")
    (sample,) = read_grounding(path, "r", "train")
    assert sample.split == "train"
    assert [q.text for q in sample.queries] == [CAPTION, "the dog"]
    assert sample.queries[1].box_xyxy == (5, 5, 15, 15)  # 0-based, x + width
    assert len(sample.queries[0].boxes_xyxy) == 3


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"filename": 3}, "line 1: a line needs a filename"),
        ({"filename": "a.jpg", "grounding": []}, "line 1: regions stand in an object"),
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
def test_instances_of_other_photographs_are_noticed(tmp_path: Path, row: Any, message: str) -> None:
    write_refer(tmp_path)
    torch.save([row], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match=message):
        list(read_transvg(tmp_path, "unc", "unc", tmp_path / "instances.json"))


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


def test_instances_for_a_format_without_coco_annotations_are_refused(tmp_path: Path) -> None:
    asked = ReaderOptions(path=tmp_path, dataset="x", instances=tmp_path / "instances.json")
    with pytest.raises(SourceError, match="odvg does not name COCO's annotations"):
        read_annotations("odvg", asked)
    with pytest.raises(SourceError, match="the images of flickr are not COCO's"):
        list(read_transvg(tmp_path, "flickr", "f", tmp_path / "instances.json"))


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
    _mdetr(tmp_path / "a_train.json")
    _mdetr(tmp_path / "a_minival.json")
    with pytest.raises(SourceError, match=r"a_minival\.json: several files"):
        list(read_grounding(tmp_path, "f", "train"))


def test_trainval_features_and_other_data_sets_are_no_splits(tmp_path: Path) -> None:
    rows = [("photo.png", "11.pth", [1, 2, 3, 4], "left cup", [])]
    for name in ("gref_train", "gref_val", "gref_trainval", "gref_umd_test", "gref_val_fea"):
        torch.save(rows, tmp_path / f"{name}.pth")
    assert [s.split for s in read_transvg(tmp_path, "gref", "gref")] == ["train", "val"]
    assert [s.split for s in read_transvg(tmp_path, "gref_umd", "gref_umd")] == ["test"]
    with pytest.raises(SourceError, match="is a file; give the folder"):
        list(read_transvg(tmp_path / "gref_train.pth", "gref", "gref"))


def test_rows_of_a_table_are_joined_by_their_annotation(tmp_path: Path) -> None:
    write_refer(tmp_path)
    row = {"image": "photo.png", "query": "left cup", "box": [1, 2, 4, 6], "ann_id": 11}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    asked = ReaderOptions(
        path=tmp_path / "a.jsonl",
        dataset="t",
        instances=tmp_path / "instances.json",
        fields=Fields(annotation="ann_id"),
    )
    (sample,) = read_annotations("table", asked)
    assert (len(sample.instances), sample.queries[0].instance, sample.size) == (2, 0, (10, 8))
    (tmp_path / "a.jsonl").write_text(json.dumps({**row, "ann_id": 99}))
    with pytest.raises(SourceError, match="line 1: annotation 99 is not in"):
        list(read_annotations("table", asked))
