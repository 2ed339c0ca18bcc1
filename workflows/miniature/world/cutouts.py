"""Draw cut-outs and backgrounds of the miniature world, for pasted scenes.

    python -m workflows.miniature.world.cutouts

File names state color and pattern. Combinations of the test splits alone are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from PIL import Image

from augmentation.composers.cutouts import format_cutout_name
from pipeline import write_atomic
from shards.images import encode_png
from workflows.cli.console import print_path, run
from workflows.miniature.world.dataset import list_combinations, list_held_out_combinations
from workflows.miniature.world.drawing import BACKGROUNDS, draw_background, draw_sprite

HORIZONS = (0.4, 0.5, 0.6, 0.7)
"""Shares of the height at which a wall and a floor meet."""


@dataclass(frozen=True, kw_only=True)
class MiniatureCutoutsConfig:
    """Folders and sizes of cut-outs and backgrounds."""

    cutouts: Path = Path("data/miniature/cutouts")
    """Folder of the cut-outs."""

    backgrounds: Path = Path("data/miniature/backgrounds")
    """Folder of the backgrounds."""

    extents_px: tuple[int, ...] = (28,)
    """Sizes of each object (geometric mean of width and height), one cut-out each."""

    background_px: tuple[int, int] = (112, 112)
    """Width and height of the backgrounds, each at least 32."""

    def __post_init__(self) -> None:
        if not self.extents_px or min(self.extents_px) < 8 or min(self.background_px) < 32:
            raise ValueError(
                f"extents_px must be 8 or more and background_px 32 or more, "
                f"got {self.extents_px} and {self.background_px}"
            )


def main(config: MiniatureCutoutsConfig) -> None:
    """Draw both folders; existing files are replaced by the same ones."""
    # A plain wall has no horizon, so one of them is enough.
    settings = [
        (kind, horizon)
        for kind, horizon in product(range(len(BACKGROUNDS)), HORIZONS)
        if BACKGROUNDS[kind][0] != BACKGROUNDS[kind][1] or horizon == HORIZONS[0]
    ]
    backgrounds = (
        (f"background_{number:03d}.png", draw_background(*config.background_px, kind, horizon))
        for number, (kind, horizon) in enumerate(settings)
    )
    for folder, images in ((config.cutouts, _iterate_cutouts(config)), (config.backgrounds, backgrounds)):
        for name, image in images:
            write_atomic(folder / name, encode_png(image))
        print_path(f"{folder.name} saved to", folder)


def _iterate_cutouts(config: MiniatureCutoutsConfig) -> Iterator[tuple[str, Image.Image]]:
    for category, color, pattern in list_combinations():
        if (category, color, pattern) in list_held_out_combinations():
            continue
        for number, extent in enumerate(config.extents_px):
            name = format_cutout_name(f"{number:03d}", {"color": color, "pattern": pattern})
            yield f"{category}/{name}", draw_sprite(category, color, pattern, extent)


if __name__ == "__main__":
    run(main, MiniatureCutoutsConfig, __doc__)
