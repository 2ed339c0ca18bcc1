"""Folders of cut-outs: names, attributes, held-out images and unusable files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from augmentation.composers.cutouts import CutoutFolder, format_cutout_name, read_cutout
from augmentation.composers.held_out import HeldOut
from augmentation.errors import AugmentationError
from shards.images import ImageError


def _save(path: Path, mode: str = "RGBA", size: tuple[int, int] = (8, 8), color: Any = (200, 0, 0, 255)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def test_a_name_carries_attributes_by_kind_and_the_photograph(tmp_path: Path) -> None:
    name = format_cutout_name("000000123456__ab-17", {"pattern": "striped", "color": "red"})
    assert name == "color=red_pattern=striped_000000123456__ab-17.png"
    _save(tmp_path / "cup" / name)
    (cutout,) = CutoutFolder(tmp_path).get_cutouts("cup")
    assert cutout.attributes == {"color": "red", "pattern": "striped"}
    assert cutout.source_name == "000000123456"


def test_a_folder_is_listed_in_the_order_of_names_and_only_its_pngs(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", ".a.png", "c.jpg"):
        _save(tmp_path / "cup" / name, mode="RGB", color="red")
    (tmp_path / "dog").mkdir()
    (tmp_path / "notes.txt").write_text("")
    folder = CutoutFolder(tmp_path)
    assert [cutout.path.name for cutout in folder.get_cutouts("cup")] == ["a.png", "b.png"]
    assert (folder.categories, len(folder)) == (["cup"], 2)


def test_a_missing_folder_and_a_category_without_cutouts_are_named(tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"nowhere is no folder; make them with .*cut_out"):
        CutoutFolder(tmp_path / "nowhere")
    _save(tmp_path / "cup" / "a.png")
    with pytest.raises(AugmentationError, match=f"{tmp_path} has no cut-outs of dog, kite; make them"):
        CutoutFolder(tmp_path).require(["cup", "kite", "dog"])
    with pytest.raises(AugmentationError, match=r"no cut-outs of \.\./cup"):
        CutoutFolder(tmp_path).get_cutouts("../cup")


def test_cutouts_of_held_out_photographs_are_passed_over(tmp_path: Path) -> None:
    for name in ("000000000007_1.png", "color=red_COCO_train2014_000000000007_2.png", "000000000008_1.png"):
        _save(tmp_path / "cup" / name)
    _save(tmp_path / "cup" / "IMG_12_5.png")
    held_out = HeldOut.from_images(names=["COCO_val2014_000000000007.jpg", "IMG_12.jpg"])
    folder = CutoutFolder(tmp_path, held_out)
    assert [cutout.path.name for cutout in folder.get_cutouts("cup")] == ["000000000008_1.png"]
    assert len(folder.held_out) == 3


def test_a_cutout_is_cropped_to_what_is_not_transparent(tmp_path: Path) -> None:
    image = Image.new("RGBA", (50, 40))
    image.paste((1, 2, 3, 255), (10, 5, 30, 15))
    image.save(tmp_path / "a.png")
    cutout = read_cutout(tmp_path / "a.png")
    assert (cutout.size, cutout.mode, cutout.getpixel((0, 0))) == ((20, 10), "RGBA", (1, 2, 3, 255))


def test_cutouts_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    whole = _save(tmp_path / "whole.png", size=(300, 300)).read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[:200])
    (tmp_path / "text.png").write_text("no image")
    _save(tmp_path / "opaque.png", mode="RGB", color="red")
    _save(tmp_path / "clear.png", color=(255, 0, 0, 100))
    _save(tmp_path / "long.png", size=(9000, 8))
    rules = {
        "truncated": "truncated_image",
        "text": "unreadable_image",
        "opaque": "no_transparency",
        "clear": "empty_cutout",
        "long": "too_large_image",
    }
    for name, rule in rules.items():
        with pytest.raises(ImageError, match=f"{name}.png") as error:
            read_cutout(tmp_path / f"{name}.png")
        assert error.value.rule == rule
