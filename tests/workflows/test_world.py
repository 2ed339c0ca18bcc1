from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest

from workflows.miniature.models.attribute_classifier import count_objects
from workflows.miniature.world.dataset import (
    WorldConfig,
    WorldObject,
    WorldScene,
    list_held_out_combinations,
    sample_captioned_image,
    sample_scene,
    write_dataset,
)
from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS, compute_object_size, draw_sprite
from workflows.miniature.world.expressions import generate_expressions

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


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("extent_px", [14, 31])
def test_an_object_touches_all_four_sides_of_its_box(category: str, extent_px: int) -> None:
    alpha = np.asarray(draw_sprite(category, "red", "plain", extent_px))[:, :, 3]
    width, height = compute_object_size(category, extent_px)
    assert alpha.shape == (height, width)
    for side in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert side.max() > 0


def test_every_combination_looks_different() -> None:
    images = {draw_sprite(*c, 30).tobytes() for c in product(CATEGORIES, COLORS, PATTERNS)}
    assert len(images) == 12 * 10 * 3


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


def test_train_is_long_tailed_and_the_test_splits_are_full_of_rivals() -> None:
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


def _scene(*objects: tuple[str, str, str, int, int]) -> WorldScene:
    made = tuple(
        WorldObject(category=category, color=color, pattern=pattern, extent_px=16, x=x, y=y)
        for category, color, pattern, x, y in objects
    )
    return WorldScene(width=96, height=96, background_kind=0, horizon=0.5, objects=made)


def test_three_equal_balls_in_a_row_are_told_apart_by_place_only() -> None:
    row = _scene(*[("ball", "red", "plain", x, 40) for x in (4, 40, 76)])
    assert generate_expressions(row, 1, ("attribute",), Random(0)) == []
    middle = generate_expressions(row, 1, ("position",), Random(0))
    assert {"middle ball", "second ball from the left", "2nd ball from right"} <= set(middle)
    assert not any("far" in text or "most" in text for text in middle)
    assert "ball on the far left" in generate_expressions(row, 0, ("position",), Random(0))


def test_an_attribute_is_said_only_where_it_sets_the_target_apart() -> None:
    scene = _scene(("cup", "red", "striped", 4, 4), ("cup", "blue", "striped", 40, 4), ("ball", "red", "plain", 4, 60))
    texts = set(generate_expressions(scene, 0, ("attribute",), Random(0)))
    assert {"red cup", "the striped red one"} <= texts
    assert not texts & {"striped cup", "cup", "the red one"}


def test_a_border_line_position_is_not_said() -> None:
    close = _scene(("ball", "red", "plain", 40, 4), ("ball", "red", "plain", 44, 60))
    assert not any("left" in text for text in generate_expressions(close, 0, ("position",), Random(0)))


def test_captioned_pictures_hold_as_many_objects_as_a_count_without_models_finds() -> None:
    scenes = [sample_captioned_image(Random(i))[0] for i in range(150)]
    assert sum(count_objects(scene.draw()) == len(scene.objects) for scene in scenes) >= 148


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="no split 'dev'"):
        sample_scene("dev", Random(0))
