"""The benchmark with pixels, in its smallest size."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from upath import UPath

from benchmarks.pixels import VARIANTS, make_recipe, measure, prepare
from shards.reader import SampleReader


def test_variants_share_the_images_and_are_tested_on_people_s_queries(tmp_path: Path) -> None:
    photographs, real = tmp_path / "photographs", tmp_path / "real"
    (photographs / "images").mkdir(parents=True)
    real.mkdir()
    for path in (photographs / "images/a.jpg", real / "b.jpg"):
        Image.new("RGB", (320, 160), "gray").save(path)
    boxes = [[0, 0, 100, 100], [200, 0, 100, 100]]
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 320, "height": 160}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (photographs / "instances.json").write_text(json.dumps(coco))
    row = {"source": "x", "image": "b.jpg", "size": [320, 160], "query": "left dog", "bbox_xyxy": [0, 0, 80, 80]}
    other = [[0, 0, 80, 80], [160, 0, 321, 160]]
    (real / "photos.jsonl").write_text(json.dumps({**row, "category": "dog", "same_category_boxes_xyxy": other}))
    work = UPath(tmp_path / "work")
    prepare(work, photographs, real)
    for name in VARIANTS:
        (sample,) = SampleReader(work / name)
        assert sample.image == SampleReader(work / "images").read(0).image and (sample.width, sample.height) == (
            256,
            128,
        )
    record = measure(work, make_recipe(work, None, None), seconds=0)
    assert record["queries"] == 1 and record["steps"] == dict.fromkeys(VARIANTS, 2)
    assert record["accuracy"]["largest box"]["mean"] == 0 and set(VARIANTS) < set(record["accuracy"])
