"""Gallery as a folder of static files: one page, one script, thumbnails, and data in pieces.

The page works from a file and over HTTP and loads nothing from other servers. Filters read columns; tiles read pieces
of ``PER_FILE`` entries, which the page loads when they become visible. So 100,000 entries stay fast.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from shards.boxes import Box
from shards.images import decode_rgb_image

SITE = Path(__file__).parent / "static"
THUMBNAIL_PX = 384
PER_FILE, PER_INDEX = 50, 5000
CHOICES = ("kind", "split", "category", "relation", "reason")
RANGES = ("count", "score", "clip", "iou", "confidence")

Role = Literal["object", "truth", "predicted", "other"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Box on an image."""

    box_xyxy: Box
    """Box in pixels of the image."""

    role: Role
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Query, or another text, below the image."""

    text: str
    note: str = ""
    marks: tuple[int, ...] = ()
    """Indices of the marks of the targets."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Tile of the gallery."""

    key: str
    facts: str
    """Text above the lines."""

    image: bytes = field(repr=False)
    """Encoded image of any format that Pillow reads."""

    marks: tuple[Mark, ...] = ()
    lines: tuple[Line, ...] = ()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values for the filters, by name in ``CHOICES``."""

    numbers: Mapping[str, float | None] = field(default_factory=dict)
    """Values for ranges and sorting, by name in ``RANGES``."""


def write_gallery(entries: Iterable[Entry], output: Path, title: str) -> int:
    """Write the gallery, replace the old one at the end, and return the number of entries."""
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "data").mkdir(parents=True)
    (partial / "thumbnails").mkdir()
    words: dict[str, dict[str, int]] = {name: {} for name in CHOICES}
    columns = _Columns(words=words)
    total = 0
    remaining = iter(entries)
    for number, batch in enumerate(iter(lambda: list(islice(remaining, PER_FILE)), [])):
        for entry in batch:
            columns.add(entry)
        items = [_build_item(entry, partial / "thumbnails") for entry in batch]
        _write_text(partial / "data" / f"items-{number}.js", f"gallery.fill({number}, {_encode_json(items)})")
        total += len(batch)
    for number, start in enumerate(range(0, total, PER_INDEX)):
        part = columns.get_range(start, start + PER_INDEX)
        _write_text(partial / "data" / f"index-{number}.js", f"gallery.index({number}, {_encode_json(part)})")
    head = {
        "title": title,
        "total": total,
        "perFile": PER_FILE,
        "perIndex": PER_INDEX,
        "words": {name: list(known) for name, known in words.items()},
        "ranges": columns.compute_ranges(),
    }
    _write_text(partial / "data" / "meta.js", f"gallery.meta({_encode_json(head)})")
    for path in SITE.iterdir():
        shutil.copy(path, partial / path.name)
    _replace_folder(partial, output)
    return total


@dataclass(kw_only=True)
class _Columns:
    """Values that filters and sorting read, of all entries."""

    words: dict[str, dict[str, int]]
    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        for name in CHOICES:
            known = self.words[name]
            numbers = [known.setdefault(word, len(known)) for word in entry.choices.get(name, ())]
            self.values.setdefault(name, []).append(numbers)
        for name in RANGES:
            value = entry.numbers.get(name)
            self.values.setdefault(name, []).append(None if value is None else round(value, 4))
        text = " \n".join([entry.key, *(f"{line.text} {line.note}" for line in entry.lines)]).lower()
        self.values.setdefault("text", []).append(text)

    def get_range(self, start: int, stop: int) -> dict[str, list[Any]]:
        return {name: values[start:stop] for name, values in self.values.items()}

    def compute_ranges(self) -> dict[str, list[float]]:
        """Return minimum and maximum of each number that any entry has."""
        values_by_name = {name: [v for v in self.values.get(name, ()) if v is not None] for name in RANGES}
        return {name: [min(values), max(values)] for name, values in values_by_name.items() if values}


def _build_item(entry: Entry, folder: Path) -> dict[str, Any]:
    name, size, scale = _write_thumbnail(entry.image, folder)
    return {
        "key": entry.key,
        "facts": entry.facts,
        "image": f"thumbnails/{name}",
        "size": size,
        "marks": [
            [*(round(x * factor, 4) for x, factor in zip(one.box_xyxy, scale, strict=True)), one.role, one.label]
            for one in entry.marks
        ],
        "lines": [[line.text, line.note, line.marks] for line in entry.lines],
    }


def _write_thumbnail(content: bytes, folder: Path) -> tuple[str, tuple[int, int], Box]:
    """Write a thumbnail under the hash of its image.

    Returns:
        File name, (width, height) of the thumbnail, and factors from pixels of the image to shares of it.
    """
    name = f"{hashlib.sha256(content).hexdigest()[:20]}.webp"
    image = decode_rgb_image(content)
    width, height = image.size
    zoom = min(1.0, THUMBNAIL_PX / max(image.size))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    if not (folder / name).exists():
        image.resize(size, Image.Resampling.LANCZOS).save(folder / name, "WEBP", quality=82)
    return name, size, (1 / width, 1 / height, 1 / width, 1 / height)


def _encode_json(value: Any) -> str:
    """Encode a value as ASCII JSON, which is valid JavaScript as well."""
    return json.dumps(value, separators=(",", ":"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="ascii")


def _replace_folder(partial: Path, output: Path) -> None:
    if output.exists():
        old = output.with_name(f".{output.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        output.rename(old)
        partial.rename(output)
        shutil.rmtree(old)
    else:
        partial.rename(output)
