"""Inputs of pasted scenes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from augmentation.composers.pasted import PastedConfig
from tests.augmentation.composers.pasted_examples import COLORS, PLAIN


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
