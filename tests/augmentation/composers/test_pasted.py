"""Pasted scenes: exact boxes, usable inputs and counted rejections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augmentation.composers.composed import ComposedScene
from augmentation.composers.cutouts import CutoutFolder
from augmentation.composers.held_out import HeldOut
from augmentation.composers.pasted import (
    PastedConfig,
    check_pasted,
    choose_cutouts,
    compute_pasted_fingerprint,
)
from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import SceneSpec
from augmentation.planning.vocabulary import VocabularyConfig
from pipeline import Item, Rejected
from tests.augmentation.composers.pasted_examples import COLORS, VOCABULARY, compose, make_item


def _one(config: PastedConfig, item: Item) -> ComposedScene:
    (composed,) = compose(config, item)
    assert isinstance(composed, ComposedScene), composed
    return composed


def test_a_scene_says_what_was_put_where(config: PastedConfig) -> None:
    composed = _one(config, make_item(clutter=("ball",), arrangement="row"))
    assert (composed.key, composed.seed, composed.composer) == ("scene-1", 1, "pasted")
    assert composed.image.shape == (120, 160, 3)
    assert sorted(one.category for one in composed.requested) == ["ball", "cup", "cup", "cup"]
    assert {one.attributes.get("color") for one in composed.requested if one.category == "cup"} == set(COLORS)


@pytest.mark.parametrize("arrangement", ["scatter", "row", "column", "grid", "cluster", "depth"])
def test_boxes_are_those_of_the_pixels_that_are_to_be_seen(config: PastedConfig, arrangement: str) -> None:
    """Each cup has its own color, so its box can be measured in the image."""
    for seed in range(4):
        composed = _one(config, make_item(seed, arrangement=arrangement))
        for one in composed.requested:
            seen = (composed.image == COLORS[one.attributes["color"]]).all(2)
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            assert one.box_xyxy == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.parametrize("kind", ["on", "in"])
def test_a_cup_on_a_ball_covers_it_and_one_in_a_ball_is_covered(config: PastedConfig, kind: str) -> None:
    for seed in range(6):
        composed = _one(config, make_item(seed, arrangement="contact", clutter=("ball",), contacts=(kind,)))
        assert composed.contacts is not None
        (contact,) = composed.contacts
        cup, ball = (composed.requested[i] for i in (contact.object_index, contact.anchor_index))
        assert (contact.kind, cup.category, ball.category) == (kind, "cup", "ball")
        (_, top, _, foot), upper_edge = cup.box_xyxy, ball.box_xyxy[1]
        assert top < upper_edge and (foot > upper_edge if kind == "on" else foot == upper_edge)
        is_lowest = composed.image[int(foot) - 1, int(sum(cup.box_xyxy[::2]) / 2)]
        assert is_lowest.tolist() == list(COLORS[cup.attributes["color"]])  # it covers the ball's upper edge


def test_other_arrangements_have_no_contacts(config: PastedConfig) -> None:
    assert _one(config, make_item(clutter=("ball",))).contacts == ()


def test_the_same_item_gives_the_same_bytes_whatever_comes_before(config: PastedConfig) -> None:
    items = [make_item(seed, arrangement=arrangement) for seed, arrangement in enumerate(("scatter", "depth", "grid"))]
    together, alone = compose(config, *items), [compose(config, item)[0] for item in reversed(items)][::-1]
    for one, two in zip(together, alone, strict=True):
        assert isinstance(one, ComposedScene) and isinstance(two, ComposedScene)
        assert one.requested == two.requested and one.image.tobytes() == two.image.tobytes()
    other = _one(config, make_item(99, arrangement="scatter"))
    assert other.image.tobytes() != together[0].image.tobytes()  # type: ignore[union-attr]


def test_identical_things_are_one_cutout_of_one_size(config: PastedConfig) -> None:
    for arrangement in ("scatter", "row", "grid"):
        composed = _one(
            replace(config, min_visible_share=1.0), make_item(count=4, identical=True, arrangement=arrangement)
        )
        assert len({one.attributes["color"] for one in composed.requested}) == 1
        widths = [one.box_xyxy[2] - one.box_xyxy[0] for one in composed.requested]
        assert max(widths) - min(widths) <= 1  # boxes are rounded to pixels


def test_cutouts_differ_as_far_as_there_are(config: PastedConfig) -> None:
    spec = SceneSpec(key="a", category="cup", count=5, attributes={}, prompt="")
    colors = [one.attributes["color"] for one in choose_cutouts(CutoutFolder(config.cutouts), spec, Random(0))]
    assert set(colors[:3]) == set(COLORS) and len(set(colors[3:])) == 2


def test_backgrounds_that_hold_the_category_are_not_drawn(config: PastedConfig, tmp_path: Path) -> None:
    """Images 0 and 1 show a cup, 2 a ball, 3 is not in the file, so only 2 is fit for cups alone."""
    instances = _instances(tmp_path, {0: "cup", 1: "cup", 2: "ball"})
    with_file = replace(config, instances=instances)
    for composed in compose(with_file, *map(make_item, range(6))):
        assert isinstance(composed, ComposedScene)
        assert composed.image[0, 0].tolist() == pytest.approx([120, 160, 202], abs=2)
    (rejected,) = compose(with_file, make_item(clutter=("ball",)))
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.detail) == ("no_background", "all hold one of ball, cup")
    assert check_pasted(with_file, VOCABULARY, HeldOut()).excluded == {"not_in_instances": 1}


def test_categories_that_no_background_is_annotated_with_are_named(config: PastedConfig, tmp_path: Path) -> None:
    with_file = replace(config, instances=_instances(tmp_path, {0: "mug", 1: "mug", 2: "ball"}))
    categories = tuple(sorted(VOCABULARY.categories))
    assert check_pasted(config, VOCABULARY, HeldOut()).unannotated == categories
    assert set(check_pasted(with_file, VOCABULARY, HeldOut()).unannotated) == set(categories) - {"ball"}


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


def test_a_category_without_a_free_background_is_refused_before_the_run(config: PastedConfig, tmp_path: Path) -> None:
    instances = _instances(tmp_path, dict.fromkeys(range(4), "cup"))
    with pytest.raises(AugmentationError, match=r"every background in .* holds a cup"):
        check_pasted(replace(config, instances=instances), VOCABULARY, HeldOut())


def test_inputs_are_counted_before_the_run(config: PastedConfig) -> None:
    inputs = check_pasted(config, VOCABULARY, HeldOut())
    assert (inputs.cutouts, inputs.backgrounds, inputs.excluded) == ({"ball": 1, "cup": 3}, 4, {})


def test_missing_cutouts_and_backgrounds_are_refused_before_the_run(config: PastedConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    kites = VocabularyConfig(categories={"kite": "kites"})
    with pytest.raises(AugmentationError, match="no cut-outs of kite"):
        check_pasted(config, kites, HeldOut())
    with pytest.raises(AugmentationError, match="no backgrounds"):
        check_pasted(replace(config, backgrounds=tmp_path / "none"), VOCABULARY, HeldOut())
    with pytest.raises(AugmentationError, match=r"may be used \(no image at all\)"):
        check_pasted(replace(config, backgrounds=tmp_path / "empty"), VOCABULARY, HeldOut())


def test_held_out_photographs_are_no_backgrounds_by_name_or_by_content(config: PastedConfig) -> None:
    content = (config.backgrounds / "000000000001.jpg").read_bytes()
    held_out = HeldOut.from_images(
        [("renamed.jpg", content)], names=["COCO_val2014_000000000000.jpg", "elsewhere/2_x.jpg"]
    )
    inputs = check_pasted(config, VOCABULARY, held_out)
    assert (inputs.backgrounds, inputs.excluded) == (2, {"held_out_name": 1, "held_out_content": 1})
    for composed in compose(config, *map(make_item, range(8)), held_out=held_out):
        assert isinstance(composed, ComposedScene)
    everything = HeldOut.from_images(names=[f"{number:012d}" for number in range(4)])
    with pytest.raises(AugmentationError, match=r"may be used \(4 held_out_name\); give images of no validation"):
        check_pasted(config, VOCABULARY, everything)


def test_a_broken_cutout_or_background_is_named_in_a_counted_rejection(config: PastedConfig) -> None:
    ball = config.cutouts / "ball" / "0001.png"
    ball.write_bytes(ball.read_bytes()[:40])
    rejected, composed = compose(config, make_item(1, category="ball", count=2), make_item(2))
    assert isinstance(rejected, Rejected) and isinstance(composed, ComposedScene)
    assert rejected.reason == "unreadable_cutout" and str(ball) in rejected.detail
    for path in config.backgrounds.iterdir():
        path.write_bytes(b"no image")
    (rejected,) = compose(config, make_item(1))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "unreadable_background" and str(config.backgrounds) in rejected.detail


def test_a_scene_that_does_not_fit_is_counted(config: PastedConfig) -> None:
    Image.new("RGBA", (800, 40), (200, 30, 30, 255)).save(config.cutouts / "ball" / "0001.png")
    (rejected,) = compose(config, make_item(category="ball", count=8, arrangement="row"))
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.detail) == ("does_not_fit", "8 ball and 0 more as row on (160, 120)")


def test_a_cutout_is_not_blown_up_beyond_the_limit(config: PastedConfig) -> None:
    for path in (config.cutouts / "cup").iterdir():
        Image.open(path).resize((20, 20)).save(path)
    composed = _one(config, make_item(count=2, arrangement="row"))
    assert max(one.box_xyxy[2] - one.box_xyxy[0] for one in composed.requested) <= 30


def test_the_fingerprint_changes_with_the_files_and_not_with_where_they_lie(
    config: PastedConfig, tmp_path: Path
) -> None:
    before = compute_pasted_fingerprint(config, HeldOut())
    (tmp_path / "cutouts").rename(tmp_path / "moved")
    moved = replace(config, cutouts=tmp_path / "moved")
    assert compute_pasted_fingerprint(moved, HeldOut()) == before
    (tmp_path / "moved" / "ball" / "0001.png").unlink()
    assert compute_pasted_fingerprint(moved, HeldOut()) != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes_px": ()}, "sizes_px must name sizes"),
        ({"sizes_px": ((16, 200),)}, "at least 32 x 32"),
        ({"min_visible_share": 0.0}, r"min_visible_share must lie in \(0, 1\]"),
        ({"max_enlargement": 0.0}, "max_enlargement must be positive"),
        ({"max_object_share": 0.0}, "max_object_share"),
        ({"max_tries": 0}, "tries must be at least 1"),
    ],
)
def test_limits_of_pasting_are_checked(config: PastedConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)
