"""Cut-outs: images of single objects with transparent surroundings, one PNG each, in a folder for each category.

cutouts = CutoutFolder(Path("cutouts"))                      # cutouts/cup/color=red_pattern=striped_0001.png
cutouts.get_cutouts("cup")[0].attributes                     # {"color": "red", "pattern": "striped"}
read_cutout(cutouts.get_cutouts("cup")[0].path)              # RGBA, cropped to the object
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from augmentation.composers.held_out import HeldOut
from augmentation.errors import AugmentationError
from shards.images import ImageError, read_rgba_image

MAX_SIDE_PX = 8192
"""Maximum side of a cut-out; resizing a larger one takes gigabytes."""

OPAQUE_ALPHA = 128
"""Minimum opacity, of 255, of a pixel of the object."""

_NUMBER = re.compile(r"_?\d+\Z")


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """A cut-out's file."""

    path: Path
    category: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Known attributes, from the file name."""

    @property
    def source_name(self) -> str:
        """Return the name of the source image: the name without attributes and the annotation's id.

        ``color=red_000000123456__17.png`` comes from ``000000123456``; other names lose a number at their end.
        """
        parts = [part for part in self.path.stem.split("_") if _parse_attribute(part) is None]
        stem = "_".join(parts)
        if "__" in stem:
            return stem.rpartition("__")[0]
        return _NUMBER.sub("", stem) if len(parts) > 1 else stem


def format_cutout_name(number: str, attributes: Mapping[str, str] | None = None) -> str:
    """Format the file name of a cut-out: attributes by name, then its unique number."""
    words = [f"{attribute}={word}" for attribute, word in sorted((attributes or {}).items())]
    return "_".join([*words, number]) + ".png"


def _parse_attribute(part: str) -> tuple[str, str] | None:
    attribute, equals, word = part.partition("=")
    return (attribute, word) if equals and attribute and word else None


class CutoutFolder:
    """The cut-outs of a folder ``<category>/<name>.png``, in the order of their names.

    Args:
        folder: listed at once; ``read_cutout`` reads the images.
        held_out: cut-outs of these images are skipped, and listed in ``held_out``.

    Raises:
        AugmentationError: the folder does not exist.
    """

    def __init__(self, folder: Path, held_out: HeldOut | None = None) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise AugmentationError(f"there are no cut-outs: {folder} is no folder; {_REMEDY}")
        below = sorted(path for path in folder.iterdir() if path.is_dir())
        by_category = {path.name: _list_cutouts(path) for path in below}
        held_out = held_out or HeldOut()
        # Checked by name alone, since the bytes of the source images are no longer available.
        self.held_out = [
            cutout
            for cutouts in by_category.values()
            for cutout in cutouts
            if held_out.reason(cutout.source_name) or held_out.reason(cutout.path.name)
        ]
        excluded = {cutout.path for cutout in self.held_out}
        self._cutouts = {
            category: tuple(cutout for cutout in cutouts if cutout.path not in excluded)
            for category, cutouts in by_category.items()
        }

    @property
    def categories(self) -> list[str]:
        """Return the categories with cut-outs."""
        return [category for category, cutouts in self._cutouts.items() if cutouts]

    def get_cutouts(self, category: str) -> tuple[Cutout, ...]:
        """Return all cut-outs of a category, at least one.

        Raises:
            AugmentationError: it has none.
        """
        self.require([category])
        return self._cutouts[category]

    def require(self, categories: Iterable[str]) -> None:
        """Check that each category has cut-outs.

        Raises:
            AugmentationError: some categories have none; names them.
        """
        if missing := sorted(category for category in categories if not self._cutouts.get(category)):
            raise AugmentationError(
                f"{self.folder} has no cut-outs of {', '.join(missing)}; {_REMEDY}, "
                "or leave the category out of the vocabulary"
            )

    def __iter__(self) -> Iterator[Cutout]:
        return (cutout for cutouts in self._cutouts.values() for cutout in cutouts)

    def __len__(self) -> int:
        return sum(map(len, self._cutouts.values()))


_REMEDY = "make them with `python -m workflows.cut_out`, or put <category>/<name>.png with transparency there"


def _list_cutouts(folder: Path) -> tuple[Cutout, ...]:
    files = sorted(path for path in folder.glob("*.png") if path.is_file() and not path.name.startswith("."))
    attributes = (dict(filter(None, map(_parse_attribute, path.stem.split("_")))) for path in files)
    return tuple(
        Cutout(path=path, category=folder.name, attributes=known) for path, known in zip(files, attributes, strict=True)
    )


def read_cutout(path: Path) -> Image.Image:
    """Read a cut-out as RGBA, cropped to its pixels that are not fully transparent.

    Raises:
        ImageError: the file is no image, truncated, too large, without transparency, or empty.
    """
    image = read_rgba_image(path)
    if max(image.size) > MAX_SIDE_PX:
        raise ImageError("too_large_image", f"{path} is {image.width} x {image.height}; at most {MAX_SIDE_PX} a side")
    alpha = image.getchannel("A")
    if alpha.point(lambda value: 255 * (value >= OPAQUE_ALPHA)).getbbox() is None:
        raise ImageError("empty_cutout", f"{path} shows nothing: no pixel is at least half opaque")
    return image.crop(alpha.getbbox())
