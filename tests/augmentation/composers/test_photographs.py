"""Salient objects of photographs, and the photographs that may become scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from augmentation.composers.held_out import HeldOut
from augmentation.composers.photographs import (
    LoadPhotographStage,
    PhotographsConfig,
    describe_photograph,
    find_photographs,
)
from augmentation.errors import AugmentationError
from pipeline import Item, Rejected
from shards.schema import Instance, Sample

NOWHERE = Path("nowhere")


def _instance(category: str, *box: float, is_crowd: bool = False) -> Instance:
    return Instance(category=category, box_xyxy=(box[0], box[1], box[2], box[3]), is_crowd=is_crowd)


LEFT, RIGHT = _instance("dog", 0, 0, 30, 30), _instance("dog", 60, 0, 90, 30)  # each 9 % of 100 x 100
CONFIG = PhotographsConfig(min_area=0.04, max_overlap=0.7, max_objects=3)


def test_specks_are_neither_targets_nor_distractors() -> None:
    described = describe_photograph([_instance("dog", 40, 0, 50, 10), LEFT, RIGHT], (100, 100), CONFIG)
    assert described.categories == ("dog",) and described.instances == (LEFT, RIGHT)
    assert [obj.box_xyxy for obj in described.scene.objects] == [LEFT.box_xyxy, RIGHT.box_xyxy]


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        ([], "no_instance"),
        ([_instance("dog", 0, 0, 10, 10)], "too_small"),
        ([LEFT, RIGHT, _instance("dog", 0, 50, 100, 60, is_crowd=True)], "crowd"),
        ([LEFT, _instance("dog", 0, 0, 30, 20)], "overlapping_boxes"),
        ([_instance("dog", 25 * i, 0, 25 * i + 20, 20) for i in range(4)], "too_many_instances"),
        ([_instance("zebra", 0, 0, 30, 30), _instance("zebra", 60, 0, 90, 30)], "unknown_category"),
    ],
)
def test_categories_that_are_no_targets_have_a_reason(instances: list[Instance], reason: str) -> None:
    described = describe_photograph(instances, (100, 100), CONFIG, known={"dog"})
    assert described.categories == () and described.find_main_reason() == reason


def _write(
    folder: Path, names: tuple[str, ...], annotations: list[dict[str, Any]], **changes: Any
) -> PhotographsConfig:
    """Write gray images and COCO's instances of them."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (100, 100), (number, number, number)).save(folder / name, "JPEG")
    images = [{"id": i, "file_name": name, "width": 100, "height": 100} for i, name in enumerate(names)]
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dog"}], **changes}
    (folder / "instances.json").write_text(json.dumps(coco))
    return PhotographsConfig(images=folder, instances=folder / "instances.json")


def _annotate(image: int, *box: float, category: int = 1, number: int = 0) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0}


def _load(config: PhotographsConfig) -> list[Sample | Rejected]:
    stage = LoadPhotographStage(config.images, NOWHERE, HeldOut())
    stage.setup()
    rows = find_photographs(config, NOWHERE, HeldOut()).rows
    return [stage.process_item(Item(key=row.key, seed=0, payload=row.payload)) for row in rows]


def test_a_photograph_keeps_its_bytes_and_all_its_instances(tmp_path: Path) -> None:
    (sample,) = _load(_write(tmp_path, ("a.jpg",), [_annotate(0, 1, 2, 30, 40)]))
    assert isinstance(sample, Sample) and sample.image == (tmp_path / "a.jpg").read_bytes()
    assert sample.instances == (_instance("dog", 1, 2, 31, 42),) and sample.queries == ()


def test_a_box_outside_the_image_rejects_the_photograph(tmp_path: Path) -> None:
    (rejected,) = _load(_write(tmp_path, ("a.jpg",), [_annotate(0, 50, 0, 90, 20)]))
    assert isinstance(rejected, Rejected) and rejected.reason == "bad_instance"
    assert "reaches outside the 100 x 100 image" in rejected.detail


def test_images_that_cannot_be_used_are_counted_by_reason(tmp_path: Path) -> None:
    config = _write(tmp_path, ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), [_annotate(3, 1, 1, 9, 9, category=7)])
    (tmp_path / "b.jpg").unlink()
    held_out = HeldOut.from_images([("holiday.png", (tmp_path / "c.jpg").read_bytes())])
    pool = find_photographs(config, NOWHERE, held_out)
    assert [row.payload["image_name"] for row in pool.rows] == ["a.jpg"]
    assert pool.excluded == {"missing_image": 1, "held_out_content": 1, "bad_instance": 1}


def test_a_test_photograph_among_the_scenes_is_refused_by_its_number(tmp_path: Path) -> None:
    config = _write(tmp_path, ("000000000716.jpg",), [])
    held_out = HeldOut.from_images(names=["COCO_train2014_000000000716.jpg"])
    with pytest.raises(AugmentationError, match=r"holds no photograph that may be used \(1 held_out_name\)"):
        find_photographs(config, NOWHERE, held_out)


def test_one_name_of_two_images_is_refused(tmp_path: Path) -> None:
    config = _write(tmp_path, ("a.jpg", "a.jpg"), [])
    with pytest.raises(AugmentationError, match=r"a\.jpg has the same name as an image before it; give each image one"):
        find_photographs(config, NOWHERE, HeldOut())


def test_instances_without_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"need the folder of their images; add --photographs\.images FOLDER"):
        PhotographsConfig(instances=Path("instances.json"))


def test_odvgs_detections_are_instances(tmp_path: Path) -> None:
    _write(tmp_path, ("a.jpg",), [])
    line = {"filename": "a.jpg", "width": 100, "height": 100}
    detection = {"instances": [{"bbox": [1, 2, 31, 42], "label": 0, "category": "Dog"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps({**line, "detection": detection}))
    (sample,) = _load(PhotographsConfig(images=tmp_path, instances=tmp_path / "a.jsonl"))
    assert isinstance(sample, Sample) and sample.instances == (_instance("dog", 1, 2, 31, 42),)
