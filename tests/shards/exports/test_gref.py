"""Export to gRefCOCO's files, read back by our own reader."""

from __future__ import annotations

import json
from pathlib import Path

from shards.exports.gref import GrefExport
from shards.schema import Query
from shards.sources.refer import read_refer
from shards.sources.validation import validate_samples
from tests.shards.toy_samples import make_sample


def test_queries_of_none_one_and_several_targets_come_back(tmp_path: Path) -> None:
    boxes = ((0, 0, 4, 4), (5, 0, 9, 4))
    none = Query(query_id="q3", text="third cup", boxes_xyxy=(), split="train", source="toy", instances=())
    both = Query(query_id="q4", text="both cups", boxes_xyxy=boxes, split="train", source="toy", instances=(0, 1))
    sample = make_sample(queries=(*make_sample().queries, none, both))
    export = GrefExport(tmp_path)
    export.add(make_sample("other", queries=(both,)))  # so that ids differ from indices
    export.add(sample)
    export.finish()
    assert export.num_queries == {"train": 5} and not export.left_out
    assert json.loads((tmp_path / "instances.json").read_text()).keys() >= {"info", "licenses"}  # gRefCOCO's converter
    other, back = validate_samples(read_refer(tmp_path, "unc", "toy"), tmp_path / "images").samples
    assert (other.queries[0].boxes_xyxy, other.queries[0].instances) == (boxes, (0, 1))
    assert [(q.text, q.boxes_xyxy) for q in back.queries] == [(q.text, q.boxes_xyxy) for q in sample.queries]
    assert [q.instances for q in back.queries] == [(0,), (4,), (), (0, 1)]  # "floor" was no instance
    assert [(i.box_xyxy, i.category, i.is_crowd) for i in back.instances] == [
        *((i.box_xyxy, i.category, i.is_crowd) for i in sample.instances),
        ((0, 5, 10, 8), "", False),
    ]
