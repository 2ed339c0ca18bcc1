"""COCO's instances files."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"category_id": None}, "category None is not among the categories"),
        ({"category_id": 99}, "category 99 is not among the categories"),
        ({"bbox": []}, r"a box is four numbers, got \[\]"),
        ({"bbox": None}, "a box is four numbers, got None"),
    ],
)
def test_an_annotation_without_box_or_category_is_left_out_and_listed(
    tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    path = write_refer(tmp_path) / "instances.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0].update(change)
    path.write_text(json.dumps(coco))
    (image,) = CocoInstances(path)
    assert [instance.box_xyxy for instance in image.instances] == [(5, 2, 10, 8)]
    (problem,) = image.problems
    assert problem.rule == "bad_instance" and re.search(f"annotation 11: {fault}", problem.detail)
    assert image.find_target(12, (5, 2, 10, 8), "row 0") == 0
    with pytest.raises(SourceError, match=f"row 0: the target cannot be used: .*annotation 11: {fault}"):
        image.find_target(11, (1, 2, 4, 6), "row 0")


def test_ids_as_text_are_those_as_numbers_and_none_occurs_twice(tmp_path: Path) -> None:
    path = write_refer(tmp_path) / "instances.json"
    coco = json.loads(path.read_text())
    (expected,) = CocoInstances(path)
    for annotation in coco["annotations"]:
        annotation.update(id=str(annotation["id"]), image_id=str(annotation["image_id"]))
    path.write_text(json.dumps(coco))
    assert CocoInstances(path).find_image(12, "row 0") == expected == CocoInstances(path).find_image("12", "row 0")
    coco["annotations"] *= 2
    path.write_text(json.dumps(coco))
    with pytest.raises(SourceError, match=r"annotations: the id '11' occurs twice.* if two exports were merged"):
        CocoInstances(path)


def test_the_size_may_be_that_of_the_file(tmp_path: Path) -> None:
    path = write_refer(tmp_path) / "instances.json"
    coco = json.loads(path.read_text())
    del coco["images"][0]["width"]
    path.write_text(json.dumps(coco))
    (image,) = CocoInstances(path)
    assert image.size is None
