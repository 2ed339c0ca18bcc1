"""Cut-outs: images of single objects with transparent surroundings, one PNG each, in a folder for each category.

cutouts = CutoutFolder(Path("cutouts"))                      # cutouts/cup/color=red_pattern=striped_0001.png
cutouts.of("cup")[0].attributes                              # {"color": "red", "pattern": "striped"}
read_cutout(cutouts.of("cup")[0].path)                       # RGBA, cropped to the object
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
"""Of a cut-out; resizing a larger one takes gigabytes."""

OPAQUE_ALPHA = 128
"""Opacity, of 255, from which on a pixel belongs to the object."""

_NUMBER = re.compile(r"_?\d+\Z")


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One file."""

    path: Path
    category: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What its maker knows of it, by kind."""

    @property
    def source_name(self) -> str:
        """What the image it comes from is called: the name without attributes and the annotation's id.

        ``color=red_000000123456__17.png`` comes from ``000000123456``; other names lose a number at their end.
        """
        parts = [part for part in self.path.stem.split("_") if _parse_attribute(part) is None]
        stem = "_".join(parts)
        if "__" in stem:
            return stem.rpartition("__")[0]
        return _NUMBER.sub("", stem) if len(parts) > 1 else stem


def format_cutout_name(number: str, attributes: Mapping[str, str] | None = None) -> str:
    """The file of a cut-out: attributes by kind, then what makes it unique."""
    words = [f"{attribute}={word}" for attribute, word in sorted((attributes or {}).items())]
    return "_".join([*words, number]) + ".png"


def _parse_attribute(part: str) -> tuple[str, str] | None:
    attribute, equals, word = part.partition("=")
    return (attribute, word) if equals and attribute and word else None


class CutoutFolder:
    """The cut-outs of a folder ``<category>/<name>.png``, in the order of their names.

    Args:
        folder: is listed at once; the images are read by ``read_cutout``.
        held_out: cut-outs of these images are passed over, and kept in ``held_out``.

    Raises:
        AugmentationError: the folder does not exist.
    """

    def __init__(self, folder: Path, held_out: HeldOut | None = None) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise AugmentationError(f"there are no cut-outs: {folder} is no folder; {_REMEDY}")
        below = sorted(path for path in folder.iterdir() if path.is_dir())
        by_category = {path.name: _list_cutouts(path) for path in below}
        self.held_out = [
            cutout
            for cutouts in by_category.values()
            for cutout in cutouts
            if _is_held_out(cutout, held_out or HeldOut())
        ]
        excluded = {cutout.path for cutout in self.held_out}
        self._cutouts = {
            category: tuple(cutout for cutout in cutouts if cutout.path not in excluded)
            for category, cutouts in by_category.items()
        }

    @property
    def categories(self) -> list[str]:
        """Those that have cut-outs."""
        return [category for category, cutouts in self._cutouts.items() if cutouts]

    def get_cutouts(self, category: str) -> tuple[Cutout, ...]:
        """All of a category, at least one.

        Raises:
            AugmentationError: it has none.
        """
        self.require([category])
        return self._cutouts[category]

    def require(self, categories: Iterable[str]) -> None:
        """Insist on cut-outs of each category.

        Raises:
            AugmentationError: some have none; names them.
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
    return tuple(Cutout(path=path, category=folder.name, attributes=_parse_attributes(path.stem)) for path in files)


def _is_held_out(cutout: Cutout, held_out: HeldOut) -> bool:
    """Whether its image is, by name; the bytes of a image are not at hand any more."""
    return any(held_out.reason(name) for name in (cutout.source_name, cutout.path.name))


def _parse_attributes(stem: str) -> dict[str, str]:
    return dict(pair for part in stem.split("_") if (pair := _parse_attribute(part)))


def read_cutout(path: Path) -> Image.Image:
    """A cut-out as RGBA, cropped to what is not fully transparent.

    Raises:
        ImageError: the file is no image, truncated, too large, has no transparency, or nothing to be seen.
    """
    image = read_rgba_image(path)
    if max(image.size) > MAX_SIDE_PX:
        raise ImageError("too_large_image", f"{path} is {image.width} x {image.height}; at most {MAX_SIDE_PX} a side")
    alpha = image.getchannel("A")
    if alpha.point(lambda value: 255 * (value >= OPAQUE_ALPHA)).getbbox() is None:
        raise ImageError("empty_cutout", f"{path} shows nothing: no pixel is at least half opaque")
    return image.crop(alpha.getbbox())
