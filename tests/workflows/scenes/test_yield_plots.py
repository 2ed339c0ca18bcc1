from __future__ import annotations

from pathlib import Path

from PIL import Image
from upath import UPath

from workflows.scenes.yield_plots import plot_yield


def _is_drawn(path: Path) -> bool:
    """Whether it is an image with more on it than the white of an empty page."""
    with Image.open(path) as image:
        return image.width > 300 and len(image.convert("RGB").getcolors(1 << 20) or []) > 20


def test_the_yield_of_scenes_becomes_three_plots(tmp_path: Path) -> None:
    composer = {
        "attempted": 9, "accepted": 4, "rejected": {"few": 5}, "failed": {}, "near_duplicate": 1, "quota_full": 0,
        "kept_scenes": 3, "work_seconds": {"compose": 2.0, "detect": 1.0},
    }  # fmt: skip
    families = {"side": {"2": {"reached": 1, "total": 2}, "3": {"reached": 0, "total": 2}}, "line": {"4": None}}
    record = {
        "composers": {"prompted": composer, "pasted": composer},
        "quotas": {"by_relation_type_and_count": families},
    }
    plot_yield(record, UPath(tmp_path))
    assert all(_is_drawn(tmp_path / f"{name}.png") for name in ("yield", "coverage", "time"))
