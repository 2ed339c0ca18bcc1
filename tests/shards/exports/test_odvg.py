from __future__ import annotations

import json
from pathlib import Path

from shards.exports.coco import CocoExport
from shards.exports.export import NO_TARGET
from shards.exports.odvg import OdvgExport
from shards.schema import Query
from shards.sources.coco import CocoInstances
from shards.sources.odvg import read_odvg
from shards.sources.validation import validate_samples
from tests.shards.toy_samples import make_sample


def test_our_own_reader_gives_the_same_samples_back(tmp_path: Path) -> None:
    two = ((0, 0, 4, 4), (5, 0, 9, 4))
    extra = Query(query_id="q3", text="cups", boxes_xyxy=two, split="val", source="toy")
    none = Query(query_id="q4", text="car", boxes_xyxy=(), split="val", source="toy")
    sample = make_sample(queries=(*make_sample().queries, extra, none))
    export = OdvgExport(tmp_path)
    export.add(sample)
    export.finish()
    assert export.num_queries == {"train": 2, "val": 1}
    assert export.left_out[NO_TARGET] == 1
    read = read_odvg(tmp_path, "toy", "train")
    (train, val) = validate_samples(read, tmp_path / "images").samples
    assert [(q.text, q.box_xyxy, q.instance) for q in train.queries] == [
        (q.text, q.box_xyxy, q.instance) for q in sample.queries[:2]
    ]
    assert (val.queries[0].boxes_xyxy, val.queries[0].instances) == (two, (0, 1))
    for back in (train, val):
        assert [(i.box_xyxy, i.category) for i in back.instances] == [
            (i.box_xyxy, i.category) for i in sample.instances
        ]
    assert json.loads((tmp_path / "label_map.json").read_text()) == {"0": "cup", "1": "ball"}


def test_a_line_has_what_mm_grounding_dino_reads(tmp_path: Path) -> None:
    export = OdvgExport(tmp_path)
    export.add(make_sample())
    export.finish()
    first, second = (json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines())
    assert (first["filename"], first["height"], first["width"]) == ("toy-1.png", 8, 10)
    assert first["grounding"] == {
        "caption": "left cup",
        "regions": [{"bbox": [0, 0, 4, 4], "phrase": "left cup", "tokens_positive": [[0, 8]]}],
    }
    assert [one["label"] for one in first["detection"]["instances"]] == [0, 0, 1, 0]
    assert "detection" not in second


def test_each_of_several_targets_is_a_region_of_one_box(tmp_path: Path) -> None:
    boxes = ((0, 0, 4, 4), (5, 0, 9, 4))
    query = Query(query_id="q", text="cups", boxes_xyxy=boxes, split="train", source="toy")
    export = OdvgExport(tmp_path)
    export.add(make_sample(queries=(query,)))
    export.finish()
    regions = json.loads((tmp_path / "train.jsonl").read_text())["grounding"]["regions"]
    # Open-GroundingDINO makes a row of numbers and a label of each region, and takes no list of boxes.
    assert [region["bbox"] for region in regions] == [list(box) for box in boxes]
    assert {region["phrase"] for region in regions} == {"cups"}


def test_objects_come_back_from_coco(tmp_path: Path) -> None:
    sample = make_sample()
    export = CocoExport(tmp_path)
    export.add(sample)
    export.finish()
    assert export.left_out["query: COCO's detection format has none"] == 2
    content = json.loads((tmp_path / "instances_train.json").read_text())
    image = CocoInstances(tmp_path / "instances_train.json").find_image(content["annotations"][0]["id"], "test")
    assert [(i.box_xyxy, i.category, i.is_crowd) for i in image.instances] == [
        (i.box_xyxy, i.category, i.is_crowd) for i in sample.instances
    ]
