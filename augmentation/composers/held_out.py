"""Images that no scene may be made of: those of every validation and test split, known by name and by content.

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

from shards.image_names import normalize_image_name


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Names and contents of images; small enough to be pickled to workers."""

    ids: frozenset[str] = frozenset()
    """``normalize_image_name`` of each: of COCO's the number, whatever stands before it."""

    hashes: frozenset[str] = frozenset()
    """SHA-256 of the bytes of each that is at hand, in hexadecimal digits."""

    sizes: frozenset[int] = frozenset()
    """In bytes, of those: a file of another size need not be read."""

    @staticmethod
    def from_images(photographs: Iterable[tuple[str, bytes]] = (), names: Iterable[str] = ()) -> HeldOut:
        """From images at hand, as (name, bytes), and from names alone."""
        ids, hashes, sizes = {normalize_image_name(name) for name in names}, set[str](), set[int]()
        for name, content in photographs:
            ids.add(normalize_image_name(name))
            hashes.add(hashlib.sha256(content).hexdigest())
            sizes.add(len(content))
        return HeldOut(ids=frozenset(ids), hashes=frozenset(hashes), sizes=frozenset(sizes))

    def __or__(self, other: HeldOut) -> HeldOut:
        """The images of both."""
        return HeldOut(ids=self.ids | other.ids, hashes=self.hashes | other.hashes, sizes=self.sizes | other.sizes)

    def reason(self, name: str, content: bytes | None = None) -> Literal["held_out_name", "held_out_content"] | None:
        """Why a image may not be used; None if it may.

        Args:
            name: of the file, or what it is called in an annotation.
            content: the file's bytes, where they are at hand.
        """
        if normalize_image_name(name) in self.ids:
            return "held_out_name"
        if content is None or len(content) not in self.sizes:
            return None
        return "held_out_content" if hashlib.sha256(content).hexdigest() in self.hashes else None

    def find_file_reason(self, path: Path) -> Literal["held_out_name", "held_out_content"] | None:
        """The same for a file, which is read only if its size is that of one of them."""
        has_known_size = path.stat().st_size in self.sizes
        return self.reason(path.name, path.read_bytes() if has_known_size else None)

    @property
    def fingerprint(self) -> str:
        """Changes with the images."""
        return hashlib.sha256(repr((sorted(self.ids), sorted(self.hashes))).encode()).hexdigest()
