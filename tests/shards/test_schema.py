"""The schema of samples."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shards.errors import SchemaError
from shards.schema import Instance, Sample
from tests.shards.toy_samples import make_sample


def test_distractors_are_other_instances_of_the_category_without_crowds() -> None:
    sample = make_sample()
    assert [sample.count_distractors(query) for query in sample.queries] == [1, None]


def test_a_sample_survives_json() -> None:
    sample = make_sample()
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
        ({"priors": np.zeros((3, 4), np.float16)}, r"shape \(3, 4\) for 2 queries"),
    ],
)
def test_a_sample_that_breaks_a_rule_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        make_sample(**changes)


@pytest.mark.parametrize("box", [(4, 0, 4, 4), (0, float("nan"), 4, 4), (0, 0, 4), "abcd"])
def test_a_box_without_area_or_sense_is_refused(box: Any) -> None:
    query = replace(make_sample().queries[0], box_xyxy=box)
    with pytest.raises(SchemaError, match="query 'q1'"):
        make_sample(queries=(query,))


@pytest.mark.parametrize("version", [3, 99])
def test_another_schema_version_is_refused(version: int) -> None:
    with pytest.raises(SchemaError, match=f"schema version {version}, this code reads 4; make the shards again"):
        Sample.from_json({**make_sample().to_json(), "schema_version": version}, b"")
