"""Backgrounds that may be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from augmentation.composers.backgrounds import crop_to_cover, is_gray
from augmentation.composers.held_out import HeldOut
from augmentation.composers.pasted import (
    PastedConfig,
    check_pasted,
)
from augmentation.errors import AugmentationError
from pipeline import Rejected
from tests.augmentation.composers.pasted_examples import VOCABULARY, compose, make_item


def test_close_ups_are_no_backgrounds(config: PastedConfig, tmp_path: Path) -> None:
    instances = _instances(tmp_path, {0: "dog", 1: "dog", 2: "dog"}, extent=120)  # of 200 x 150: 48 %
    with pytest.raises(AugmentationError, match=r"no background that may be used \(3 close_up, 1 not_in_instances\)"):
        check_pasted(replace(config, instances=instances, max_object_share=0.4), VOCABULARY, HeldOut())


def _instances(folder: Path, shown: dict[int, str], extent: int = 10) -> Path:
    """COCO's file: each image, under another prefix, with an object of ``extent`` pixels."""
    names = sorted(set(shown.values()))
    coco = {
        "images": [{"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 200, "height": 150} for i in shown],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": names.index(name), "bbox": [0, 0, extent, extent]}
            for i, name in shown.items()
        ],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(coco))
    return path


def test_grey_photographs_are_no_backgrounds(config: PastedConfig) -> None:
    assert is_gray(Image.new("L", (9, 9), 100).convert("RGB")) and not is_gray(Image.new("RGB", (9, 9), (90, 100, 99)))
    for path in config.backgrounds.iterdir():
        Image.new("L", (200, 150), 90).save(path)
    (rejected,) = compose(config, make_item())
    assert isinstance(rejected, Rejected) and rejected.reason == "no_background"


@pytest.mark.parametrize("size", [(40, 400), (400, 40), (33, 32)])
def test_a_background_of_any_shape_covers_the_picture(size: tuple[int, int]) -> None:
    assert crop_to_cover(Image.new("RGB", size, "red"), (160, 120), Random(0)).getcolors() == [(160 * 120, (255, 0, 0))]
