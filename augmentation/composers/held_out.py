"""Held-out images, which no scene may use: those of validation and test splits, by name and by content.

held_out = HeldOut.from_images([("COCO_train2014_000000123456.jpg", content)])
held_out.reason("000000123456.jpg")            # "held_out_name"
held_out.reason("holiday.jpg", content)        # "held_out_content"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from pipeline import Location
from shards.image_names import normalize_image_name
from shards.images import ImageError, decode_rgb_image


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Names and hashes of held-out images."""

    ids: frozenset[str] = frozenset()
    """Names by ``normalize_image_name``; for COCO, the number alone."""

    hashes: frozenset[str] = frozenset()
    """SHA-256 of the available images' bytes, in hexadecimal digits."""

    sizes: frozenset[int] = frozenset()
    """Sizes of the available images in bytes; files of other sizes need not be read."""

    @staticmethod
    def from_images(images: Iterable[tuple[str, bytes]] = (), names: Iterable[str] = ()) -> HeldOut:
        """Make the set of images given as (name, bytes), and of names alone."""
        ids, hashes, sizes = {normalize_image_name(name) for name in names}, set[str](), set[int]()
        for name, content in images:
            ids.add(normalize_image_name(name))
            hashes.add(hashlib.sha256(content).hexdigest())
            sizes.add(len(content))
        return HeldOut(ids=frozenset(ids), hashes=frozenset(hashes), sizes=frozenset(sizes))

    def __or__(self, other: HeldOut) -> HeldOut:
        """Return the images of both sets."""
        return HeldOut(ids=self.ids | other.ids, hashes=self.hashes | other.hashes, sizes=self.sizes | other.sizes)

    def reason(self, name: str, content: bytes | None = None) -> Literal["held_out_name", "held_out_content"] | None:
        """Return why an image is held out; None if it is not.

        Args:
            name: file name, or name in an annotation.
            content: bytes of the file, if available.
        """
        if normalize_image_name(name) in self.ids:
            return "held_out_name"
        if content is None or len(content) not in self.sizes:
            return None
        return "held_out_content" if hashlib.sha256(content).hexdigest() in self.hashes else None

    def find_file_reason(self, path: Path) -> Literal["held_out_name", "held_out_content"] | None:
        """Return why a file is held out, or None; it is read only if its size is that of a held-out image."""
        has_known_size = path.stat().st_size in self.sizes
        return self.reason(path.name, path.read_bytes() if has_known_size else None)

    def read_image(self, path: Location) -> Image.Image:
        """Read an image that is not held out, upright, as RGB.

        Raises:
            ImageError: the file cannot be read, or is a held-out image under another name (``held_out_content``).
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ImageError("unreadable_image", f"{path} cannot be read ({error.strerror})") from error
        if reason := self.reason(path.name, content):
            raise ImageError(reason, f"{path} is an image of a validation or test split; take it out of the folder")
        return decode_rgb_image(content, path)

    @property
    def fingerprint(self) -> str:
        """Return a hash that changes with the images."""
        return hashlib.sha256(repr((sorted(self.ids), sorted(self.hashes))).encode()).hexdigest()
