"""Draw cut-outs and backgrounds of the miniature world, for pasted scenes.

    python -m workflows.miniature.world.cutouts

File names state color and pattern. Combinations of the test splits alone are left out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from PIL import Image

from augmentation.composers.cutouts import format_cutout_name
from pipeline import write_atomic
from workflows.cli.console import print_path, run
from workflows.miniature.world.dataset import list_combinations, list_held_out_combinations
from workflows.miniature.world.drawing import BACKGROUNDS, draw_background, draw_sprite

HORIZONS = (0.4, 0.5, 0.6, 0.7)
"""Shares of the height at which a wall and a floor meet."""


@dataclass(frozen=True, kw_only=True)
class MiniatureCutoutsConfig:
    """Folders and sizes of cut-outs and backgrounds."""

    cutouts: Path = Path("data/miniature/cutouts")
    backgrounds: Path = Path("data/miniature/backgrounds")
    extents_px: tuple[int, ...] = (28,)
    """Sizes of each object (geometric mean of width and height), one cut-out each."""

    background_px: tuple[int, int] = (112, 112)

    def __post_init__(self) -> None:
        if not self.extents_px or min(self.extents_px) < 8 or min(self.background_px) < 32:
            raise ValueError(
                f"extents_px must be 8 or more and background_px 32 or more, "
                f"got {self.extents_px} and {self.background_px}"
            )


def main(config: MiniatureCutoutsConfig) -> None:
    """Draw both folders; existing files are replaced by the same ones."""
    for folder, images in (
        (config.cutouts, _iterate_cutouts(config)),
        (config.backgrounds, _iterate_backgrounds(config)),
    ):
        for name, image in images:
            _write(folder / name, image)
        print_path(f"the miniature world's {folder.name}", folder)


def _iterate_cutouts(config: MiniatureCutoutsConfig) -> Iterator[tuple[str, Image.Image]]:
    for category, color, pattern in list_combinations():
        if (category, color, pattern) in list_held_out_combinations():
            continue
        for number, extent in enumerate(config.extents_px):
            name = format_cutout_name(f"{number:03d}", {"color": color, "pattern": pattern})
            yield f"{category}/{name}", draw_sprite(category, color, pattern, extent)


def _iterate_backgrounds(config: MiniatureCutoutsConfig) -> Iterator[tuple[str, Image.Image]]:
    for number, (kind, horizon) in enumerate(_iterate_walls_and_floors()):
        yield f"background_{number:03d}.png", draw_background(*config.background_px, kind, horizon)


def _iterate_walls_and_floors() -> Iterator[tuple[int, float]]:
    """Yield (kind, horizon); a plain wall has one horizon."""
    for kind, horizon in product(range(len(BACKGROUNDS)), HORIZONS):
        above, below = BACKGROUNDS[kind]
        if above != below or horizon == HORIZONS[0]:
            yield kind, horizon


def _write(path: Path, image: Image.Image) -> None:
    """Write a PNG completely or not at all."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


if __name__ == "__main__":
    run(main, MiniatureCutoutsConfig, __doc__)
