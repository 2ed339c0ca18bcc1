"""Names of images."""

from __future__ import annotations

import pytest

from shards.image_names import normalize_image_name


@pytest.mark.parametrize(
    ("name", "normalized"),
    [
        ("train2014/COCO_train2014_000000000716.jpg", "COCO 716"),
        ("COCO_val2014_000000000716_225429.jpg", "COCO 716"),
        ("000000000716.jpg", "COCO 716"),
        ("images/kitchen.png", "kitchen"),
        ("716.jpg", "716"),
    ],
)
def test_an_image_of_coco_has_one_name_in_every_dataset(name: str, normalized: str) -> None:
    assert normalize_image_name(name) == normalized
