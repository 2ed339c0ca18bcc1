"""COCO's instances files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.sources.coco import CocoInstances
from shards.sources.errors import SourceError
from tests.shards.annotation_files import write_refer


def test_boxes_become_xyxy_and_annotations_are_found_by_id(tmp_path: Path) -> None:
    coco = CocoInstances(write_refer(tmp_path) / "instances.json")
    (image,) = coco
    assert (image.name, image.size) == ("photo.png", (10, 8))
    assert [i.box_xyxy for i in image.instances] == [(1, 2, 4, 6), (5, 2, 10, 8)]
    assert coco.find_image(12, "row 0") == image
    assert image.find_target(12, (5, 2, 10, 8), "row 0") == 1


def test_a_query_with_a_box_of_another_object_is_named(tmp_path: Path) -> None:
    image = CocoInstances(write_refer(tmp_path) / "instances.json").get_image(3, "row 0")
    with pytest.raises(SourceError, match=r"row 0: the box .* is not that of its annotation"):
        image.find_target(12, (1, 2, 4, 6), "row 0")
    with pytest.raises(SourceError, match="row 0: annotation 13 is not among those of its image"):
        image.find_target(13, (1, 2, 4, 6), "row 0")


def test_an_annotation_without_a_known_category_is_named(tmp_path: Path) -> None:
    path = write_refer(tmp_path) / "instances.json"
    coco = json.loads(path.read_text())
    coco["categories"] = []
    path.write_text(json.dumps(coco))
    with pytest.raises(SourceError, match="annotation 11: category 1 is not among the categories"):
        list(CocoInstances(path))
