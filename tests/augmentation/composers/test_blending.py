"""Visible parts and blending of pasted objects, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmentation.composers.blending import BlendConfig, blend_objects, find_visible_parts, fit_cutout
from augmentation.composers.pasted import (
    PastedConfig,
)

PLAIN = BlendConfig(feather_px=0, lighting=0, cast=0, shadow=0, max_contrast=1)


COLORS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 200, 60)}


@pytest.fixture
def config(tmp_path: Path) -> PastedConfig:
    """Three cups of known colors, a ball, and four backgrounds, all of one color."""
    for folder in ("cutouts/cup", "cutouts/ball", "backgrounds"):
        (tmp_path / folder).mkdir(parents=True)
    for color, rgb in COLORS.items():
        Image.new("RGBA", (60, 60), (*rgb, 255)).save(tmp_path / f"cutouts/cup/color={color}_0001.png")
    Image.new("RGBA", (60, 40), (250, 250, 40, 255)).save(tmp_path / "cutouts/ball/0001.png")
    for number in range(4):
        Image.new("RGB", (200, 150), (120, 160, 200 + number)).save(tmp_path / f"backgrounds/{number:012d}.jpg")
    return PastedConfig(
        cutouts=tmp_path / "cutouts", backgrounds=tmp_path / "backgrounds", sizes_px=((160, 120),), blend=PLAIN
    )


def test_what_a_later_thing_covers_is_not_in_the_box() -> None:
    """A 20 x 20 square from (10, 10) whose right half a square from (20, 5) covers: the left half is to be seen."""
    square = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    boxes = ((10, 10, 30, 30), (20, 5, 40, 35), (0, 0, 2, 2))
    things = [fit_cutout(square, box, (50, 40), PLAIN) for box in boxes]
    below, above, apart = find_visible_parts(things, (50, 40))
    assert (below.box_xyxy, below.share) == ((10, 10, 20, 30), 0.5)
    assert (above.box_xyxy, above.share) == ((20, 5, 40, 35), 1.0)
    assert (apart.box_xyxy, apart.share) == ((0, 0, 2, 2), 1.0)


def test_what_is_less_than_half_opaque_neither_counts_nor_covers() -> None:
    ghost = Image.new("RGBA", (20, 20), (255, 0, 0, 127))
    solid = Image.new("RGBA", (20, 20), (255, 0, 0, 128))
    things = [fit_cutout(one, (10, 10, 30, 30), (50, 40), PLAIN) for one in (solid, ghost)]
    below, above = find_visible_parts(things, (50, 40))
    assert (below.share, above.box_xyxy, above.share) == (1.0, None, 0.0)


def test_a_thing_is_hidden_wholly_by_one_in_its_place() -> None:
    square = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    below, _ = find_visible_parts([fit_cutout(square, (10, 10, 30, 30), (50, 40), PLAIN)] * 2, (50, 40))
    assert (below.box_xyxy, below.share) == (None, 0.0)


def test_edges_become_soft_inwards_and_never_wider() -> None:
    square = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    alpha = fit_cutout(square, (10, 10, 30, 30), (50, 40), BlendConfig(feather_px=1.0)).alpha
    assert alpha[0, 10] < 128 < alpha[2, 10] and alpha[10, 10] == 255
    assert (np.diff(alpha[10, :6].astype(int)) >= 0).all()


def test_light_and_hue_move_towards_the_surroundings_within_limits() -> None:
    dark = Image.new("RGB", (60, 60), (30, 30, 60))
    grey = fit_cutout(Image.new("RGBA", (20, 20), (200, 200, 200, 255)), (20, 20, 40, 40), (60, 60), PLAIN)
    untouched = blend_objects(dark, [grey], on_ground=True, config=PLAIN)[30, 30]
    assert untouched.tolist() == [200, 200, 200]
    config = replace(PLAIN, lighting=1.0, max_shift=28.0, cast=1.0, max_cast=8.0)
    lit = blend_objects(dark, [grey], on_ground=True, config=config)[30, 30].astype(int)
    assert lit.tolist() == pytest.approx([172 - 3, 172 - 3, 172 + 8], abs=1)  # blue is 26 above the rest, 8 is the most


def test_a_thing_on_a_ground_darkens_what_is_under_it() -> None:
    grass = Image.new("RGB", (60, 60), (100, 150, 100))
    thing = fit_cutout(Image.new("RGBA", (20, 20), (200, 0, 0, 255)), (20, 20, 40, 40), (60, 60), PLAIN)
    config = replace(PLAIN, shadow=0.5)
    on_ground, on_wall = (blend_objects(grass, [thing], on_ground=it_is, config=config) for it_is in (True, False))
    assert on_ground[40, 30, 1] < 140 and on_ground[5, 5].tolist() == [100, 150, 100]
    assert on_wall[40, 30].tolist() == [100, 150, 100]
