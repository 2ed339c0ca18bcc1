"""The schema of samples."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shards.errors import SchemaError
from shards.schema import Instance, Query, Sample
from tests.shards.toy_samples import make_sample


def test_distractors_are_other_instances_of_the_category_without_crowds() -> None:
    sample = make_sample()
    assert [sample.count_distractors(query) for query in sample.queries] == [1, None]


NONE = Query(query_id="q0", text="third cup", boxes_xyxy=(), split="train", source="toy", instances=())
BOTH = replace(NONE, text="both cups", boxes_xyxy=((0, 0, 4, 4), (5, 0, 9, 4)), instances=(0, 1))


def test_one_target_has_a_box_and_several_have_the_smallest_box_around_them() -> None:
    query = make_sample().queries[0]
    assert (query.box_xyxy, query.instance) == ((0, 0, 4, 4), 0)
    assert (BOTH.box_xyxy, BOTH.instance) == ((0, 0, 9, 4), None)
    assert make_sample(queries=(BOTH,)).count_distractors(BOTH) is None


def test_the_box_of_a_query_without_a_target_is_refused_by_its_name() -> None:
    assert NONE.instance is None
    with pytest.raises(SchemaError, match=r"query 'q0' \('third cup'\) has no target, so it has no box"):
        _ = NONE.box_xyxy


def test_a_sample_survives_json_with_none_one_and_several_targets() -> None:
    sample = make_sample(queries=(*make_sample().queries, NONE, BOTH))
    assert Sample.from_json(json.loads(json.dumps(sample.to_json())), sample.image) == sample


def test_the_requested_box_and_its_iou_are_kept() -> None:
    requested = replace(make_sample().instances[0], requested_box_xyxy=(2, 0, 6, 4))  # half of it, so a third of both
    sample = make_sample(instances=(requested, *make_sample().instances[1:]))
    record = json.loads(json.dumps(sample.to_json()))
    assert record["instances"][0]["requested_iou"] == 0.3333
    assert [one["requested_iou"] for one in record["instances"][1:]] == [None] * 3
    assert Sample.from_json(record, sample.image) == sample


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "a/b"}, "must be 1 to 88 of"),
        ({"width": 0}, "must be positive"),
        ({"instances": (Instance(box_xyxy=(0, 0, 11, 4), category="cup"),)}, "instance 0: box .* outside the 10 x 8"),
        (
            {"instances": (Instance(box_xyxy=(0, 0, 4, 4), category="cup", requested_box_xyxy=(0, 0, 4, 9)),)},
            "instance 0, requested box: box .* outside the 10 x 8",
        ),
        ({"instances": ()}, "instance 0 of 0 does not exist"),
        ({"queries": (replace(NONE, instances=(0,)),)}, "query 'q0': 1 instances for 0 boxes of targets"),
        ({"priors": np.zeros((3, 4), np.float16)}, r"shape \(3, 4\) for 2 queries"),
    ],
)
def test_a_sample_that_breaks_a_rule_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        make_sample(**changes)


@pytest.mark.parametrize("box", [(4, 0, 4, 4), (0, float("nan"), 4, 4), (0, 0, 4), "abcd"])
def test_a_box_without_area_or_sense_is_refused(box: Any) -> None:
    query = replace(make_sample().queries[0], boxes_xyxy=(box,))
    with pytest.raises(SchemaError, match="query 'q1'"):
        make_sample(queries=(query,))


@pytest.mark.parametrize("version", [4, 99])
def test_another_schema_version_is_refused(version: int) -> None:
    with pytest.raises(SchemaError, match=f"schema version {version}, this code reads 5; make the shards again"):
        Sample.from_json({**make_sample().to_json(), "schema_version": version}, b"")
