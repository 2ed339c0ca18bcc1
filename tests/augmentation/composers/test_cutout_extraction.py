"""Cut-outs out of polygons and by GrabCut, by hand and on real annotations."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from augmentation.composers.cutout_extraction import (
    CutoutConfig,
    cut_polygons,
    cut_single,
    find_polygon_problem,
    rasterize_polygons,
)
from shards.images import decode_rgb_image
from shards.sources.coco_polygons import PolygonAnnotation, PolygonImage, read_polygon_images
from shards.sources.errors import SourceError

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "real" / "coco"


needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real outlines are not at hand")


SQUARE = (20.0, 20.0, 80.0, 20.0, 80.0, 80.0, 20.0, 80.0)


SMALL = CutoutConfig(min_size_px=20)


def _outline(*polygons: Any, is_crowd: bool = False) -> PolygonAnnotation:
    coordinates = tuple(array("d", polygon) for polygon in polygons) or None
    return PolygonAnnotation(annotation_id="1", category="cup", is_crowd=is_crowd, coordinates=coordinates)


def _image(*instances: PolygonAnnotation) -> PolygonImage:
    return PolygonImage(name="000000000007.jpg", size=(100, 100), instances=instances)


def _cut(outline: PolygonAnnotation, *others: PolygonAnnotation, config: CutoutConfig = SMALL) -> Any:
    photograph = Image.new("RGB", (100, 100), (10, 200, 30))
    ((_, cutout),) = cut_polygons(photograph, _image(outline, *others), [outline], config)
    return cutout


def test_what_others_lie_upon_is_left_out() -> None:
    table = _outline((10.0, 10.0, 90.0, 10.0, 90.0, 90.0, 10.0, 90.0))
    assert _cut(table, _outline((40.0, 40.0, 60.0, 40.0, 60.0, 60.0, 40.0, 60.0))) == "touches_another"
    assert isinstance(_cut(table), Image.Image)


def test_an_outline_becomes_the_pixels_inside_it() -> None:
    cutout = _cut(_outline(SQUARE))
    assert cutout.size == (60, 60)
    pixels = np.asarray(cutout)
    assert (pixels == (10, 200, 30, 255)).all()


def test_polygons_are_united() -> None:
    halves = (20.0, 20.0, 52.0, 20.0, 52.0, 80.0, 20.0, 80.0), (48.0, 20.0, 80.0, 20.0, 80.0, 80.0, 48.0, 80.0)
    assert (np.asarray(_cut(_outline(*halves)).getchannel("A")) == 255).all()


def test_an_edge_through_the_middle_of_a_pixel_makes_it_half_opaque_to_a_quarter() -> None:
    mask = rasterize_polygons([array("d", (0.5, 0, 4, 0, 4, 4, 0.5, 4))], (0, 0, 4, 4))
    assert mask[1].tolist() == pytest.approx([128, 255, 255, 255], abs=64)


BAD_OUTLINES: list[tuple[PolygonAnnotation, str]] = [
    (_outline(SQUARE, is_crowd=True), "crowd"),
    (_outline(), "corrupt_polygon"),
    (_outline(SQUARE[:-1]), "corrupt_polygon"),
    (_outline((20, 20, 80, 80)), "corrupt_polygon"),
    (_outline((20, 20, float("nan"), 20, 80, 80)), "corrupt_polygon"),
    (_outline((20, 20, 120, 20, 80, 80)), "outside_image"),
    (_outline((20, 20, 80, 80, 50, 50)), "zero_area"),
    (_outline((20, 20, 30, 20, 30, 30)), "too_small"),
    (_outline((0, 20, 80, 20, 80, 80)), "cut_off_by_border"),
    (_outline((20, 20, 40, 20, 40, 80, 20, 80), (60, 20, 80, 20, 80, 80, 60, 80)), "in_pieces"),
    (_outline((20, 20, 22, 20, 80, 80, 78, 80)), "thin"),
]


@pytest.mark.parametrize(("outline", "reason"), BAD_OUTLINES)
def test_outlines_that_show_no_whole_thing_say_why(outline: PolygonAnnotation, reason: str) -> None:
    assert _cut(outline) == reason


def test_a_thing_that_another_lies_along_may_be_hidden_by_it() -> None:
    beside = _outline((80, 20, 95, 20, 95, 80, 80, 80))
    assert _cut(_outline(SQUARE), beside) == "touches_another"
    apart = _outline((88, 20, 95, 20, 95, 80, 88, 80))
    assert isinstance(_cut(_outline(SQUARE), apart), Image.Image)


def test_a_large_cutout_is_made_smaller() -> None:
    assert _cut(_outline(SQUARE), config=CutoutConfig(min_size_px=20, max_side_px=30)).size == (30, 30)


def test_an_instances_file_gives_outlines_and_names_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    things = [SQUARE, {"counts": [1], "size": [1, 1]}, [["a"] * 6], None, [3]]
    annotations = [
        {"id": i, "image_id": 7, "category_id": 1, "segmentation": [list(one)] if one is SQUARE else one}
        for i, one in enumerate(things)
    ]
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "Cup"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(coco))
    (image,) = read_polygon_images(path)
    assert [find_polygon_problem(one, image.size, SMALL) for one in image.instances] == [None, *["corrupt_polygon"] * 4]
    assert image.instances[0].category == "cup"
    path.write_text('{"images": 3}')
    with pytest.raises(SourceError, match="not a COCO instances file"):
        list(read_polygon_images(path))
    with pytest.raises(SourceError, match="does not exist"):
        list(read_polygon_images(tmp_path / "none.json"))


@needs_real
def test_real_outlines_are_cut_or_counted() -> None:
    found: Counter[str] = Counter()
    for image, _ in zip(read_polygon_images(REAL / "instances.json"), range(25), strict=False):
        path = REAL / "images" / image.name
        photograph = decode_rgb_image(path.read_bytes(), path)
        for _, cutout in cut_polygons(photograph, image, image.instances, CutoutConfig()):
            found[cutout if isinstance(cutout, str) else "kept"] += 1
            if not isinstance(cutout, str):
                assert cutout.mode == "RGBA" and cutout.width * cutout.height >= 50**2
    assert found["kept"] >= 10 and found["too_small"] > found["kept"] and found["touches_another"]


def _drawn(*shapes: tuple[int, int, int, int]) -> Image.Image:
    """Red discs on a wall that is a little uneven."""
    noise = np.random.default_rng(0).integers(0, 12, (128, 128, 3))
    image = Image.fromarray((np.array((180, 190, 200)) + noise).astype(np.uint8))
    for shape in shapes:
        ImageDraw.Draw(image).ellipse(shape, fill=(200, 30, 30))
    return image


def test_grabcut_finds_the_one_thing_before_its_background() -> None:
    cutout = cut_single(_drawn((34, 34, 94, 94)), CutoutConfig())
    assert isinstance(cutout, Image.Image)
    assert cutout.size == pytest.approx((61, 61), abs=3)
    alpha = np.asarray(cutout.getchannel("A")) >= 128
    assert alpha.sum() == pytest.approx(np.pi * 30.5**2, rel=0.05)
    assert cutout.tobytes() == cut_single(_drawn((34, 34, 94, 94)), CutoutConfig()).tobytes()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (((20, 40, 55, 75), (75, 40, 110, 75)), "in_pieces"),
        (((3, 40, 63, 100),), "cut_off_by_border"),
        (((54, 54, 74, 74),), "too_small"),
    ],
)
def test_pictures_of_no_single_whole_thing_say_why(shapes: Any, reason: str) -> None:
    assert cut_single(_drawn(*shapes), CutoutConfig()) == reason


def test_a_plain_picture_shows_nothing() -> None:
    assert cut_single(Image.new("RGB", (64, 64), "white"), CutoutConfig()) == "no_object"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_fill": 1.5}, r"min_fill must lie in \[0, 1\]"),
        ({"min_size_px": 600}, "min_size_px <= max_side_px"),
        ({"border_share": 0.0}, r"border_share must lie in \(0, 0.5\)"),
        ({"grabcut_side_px": 8}, "grabcut_side_px must be at least 32"),
    ],
)
def test_limits_of_cutting_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CutoutConfig(**changes)
