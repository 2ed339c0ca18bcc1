from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from workflows.miniature.world.dataset import (
    WorldConfig,
    list_held_out_combinations,
    sample_scene,
    write_dataset,
)

SMALL = {"num_train": 30, "num_val": 5, "num_test": 20}


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, **SMALL))
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(dataset: Path, tmp_path: Path) -> None:
    write_dataset(WorldConfig(output=tmp_path / "again", **SMALL))
    write_dataset(WorldConfig(output=tmp_path / "other", seed=8, **SMALL))
    assert _hashes(tmp_path / "again") == _hashes(dataset)
    assert _hashes(tmp_path / "other") != _hashes(dataset)


def test_things_of_a_scene_do_not_overlap_and_lie_inside() -> None:
    for i in range(200):
        scene = sample_scene("testB", Random(i))
        boxes = [obj.box_xyxy for obj in scene.objects]
        for j, (x1, y1, x2, y2) in enumerate(boxes):
            assert 0 <= x1 < x2 <= scene.width
            assert 0 <= y1 < y2 <= scene.height
            for a1, b1, a2, b2 in boxes[j + 1 :]:
                assert x2 <= a1 or a2 <= x1 or y2 <= b1 or b2 <= y1


def test_unseen_combinations_never_occur_in_train_and_do_in_test_a() -> None:
    held_out = list_held_out_combinations()
    assert len(held_out) == 12 * 4  # 15 % of 30, rounded, for each category
    train = {obj.combination for i in range(400) for obj in sample_scene("train", Random(i)).objects}
    test_a = [sample_scene("testA", Random(i)).objects[0].combination for i in range(200)]
    assert not train & held_out
    assert 0.35 < sum(c in held_out for c in test_a) / 200 < 0.65


def test_train_is_long_tailed_and_the_test_splits_are_full_of_distractors() -> None:
    def distractors(split: str) -> list[int]:
        scenes = [sample_scene(split, Random(i)) for i in range(300)]
        return [sum(t.category == s.objects[0].category for t in s.objects) - 1 for s in scenes]

    assert sum(r == 0 for r in distractors("train")) > 180
    assert min(distractors("testA")) >= 1
    assert min(distractors("testB")) >= 1
    assert max(distractors("testB")) >= 4


def test_the_data_set_is_in_the_refer_layout(dataset: Path) -> None:
    refs = pickle.loads((dataset / "miniature" / "refs(miniature).p").read_bytes())
    coco = json.loads((dataset / "miniature" / "instances.json").read_text())
    annotations = {a["id"]: a for a in coco["annotations"]}
    assert Counter(ref["split"] for ref in refs).keys() == {"train", "val", "testA", "testB"}
    sentence_ids = [i for ref in refs for i in ref["sent_ids"]]
    assert sorted(sentence_ids) == list(range(1, len(sentence_ids) + 1))
    for ref in refs:
        assert annotations[ref["ann_id"]]["image_id"] == ref["image_id"]
        assert (dataset / "images" / ref["file_name"]).is_file()
        assert [s["sent_id"] for s in ref["sentences"]] == ref["sent_ids"]


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="no split 'dev'"):
        sample_scene("dev", Random(0))


def test_a_scaled_world_has_the_same_objects_in_larger_images() -> None:
    scene = sample_scene("train", Random(0))
    scaled = scene.scale(6)
    assert scaled.draw().size == (6 * scene.width, 6 * scene.height)
    for one, large in zip(scene.objects, scaled.objects, strict=True):
        assert large.combination == one.combination
        assert large.box_xyxy == pytest.approx([6 * edge for edge in one.box_xyxy], abs=4)
        assert large.box_xyxy[2] <= scaled.width and large.box_xyxy[3] <= scaled.height
