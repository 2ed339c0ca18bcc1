from __future__ import annotations

import json
from pathlib import Path

import pytest

from augmentation.queries.generator import generate_queries
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations.scene import Scene, SceneObject
from generation.parsing.coco_categories import COCO_CATEGORIES
from workflows.presets import coco

INSTANCES = Path(__file__).resolve().parents[3].parent / "shared" / "real" / "coco" / "instances.json"


def test_categories_of_coco_are_those_of_the_data_set() -> None:
    if not INSTANCES.exists():
        pytest.skip("no real annotations of COCO beside the checkout")
    assert [one["name"] for one in json.loads(INSTANCES.read_text())["categories"]] == list(COCO_CATEGORIES)


def test_each_category_in_a_row_is_told_apart_by_place() -> None:
    plurals = coco.vocabulary().categories
    readback, realizer = RoundTripParser(), PhraseRealizer(style="refcoco", plurals=plurals)
    for category in plurals:
        boxes = [(40.0 + 150 * i, 200.0, 140.0 + 150 * i, 300.0) for i in range(4)]
        row = Scene(width=640, height=480, objects=tuple(SceneObject(box_xyxy=box, category=category) for box in boxes))
        proved = generate_queries(row, category, realizer, 8, 1, accepts=readback.is_consistent)
        assert {query.target for query in proved} == {0, 1, 2, 3}, category
        assert any("left" in query.text.split() for query in proved), category
