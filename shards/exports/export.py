"""Base of the exports: a folder with the images, and one or more files for each split."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from shards.schema import Query, Sample
from shards.writer import get_image_extension

NO_TARGET = "query has no target"
"""Reason why a format that needs a box leaves a query out."""


class Export(ABC):
    """Writer of a folder in one format: ``add`` every sample, then ``finish``.

    Args:
        folder: existing folder to write into.
    """

    image_folder = "images"
    """Folder of the images, below the folder of the export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.num_queries: Counter[str] = Counter()
        """Number of written queries of each split."""

        self.left_out: Counter[str] = Counter()
        """Number of queries or objects that the format cannot hold, by reason."""

    def list_with_target(self, sample: Sample) -> list[Query]:
        """Return the queries of a sample that have a target; count the others as left out."""
        queries = [query for query in sample.queries if query.boxes_xyxy]
        self.left_out[NO_TARGET] += len(sample.queries) - len(queries)
        return queries

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Add a sample with all of its queries."""

    def finish(self) -> None:  # noqa: B027  # most formats have nothing left to write
        """Write what is left and close all files."""

    def save_image(self, sample: Sample) -> str:
        """Write the image of a sample below ``image_folder``; return its name there."""
        name = f"{sample.key}.{get_image_extension(sample.image)}"
        folder = self.folder / self.image_folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sample.image)
        return name


def list_splits(sample: Sample) -> list[tuple[str, list[Query]]]:
    """Return the splits of a sample's queries with the queries of each."""
    splits = dict.fromkeys(query.split for query in sample.queries)
    return [(split, [query for query in sample.queries if query.split == split]) for split in splits]


def write_coco(
    path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: Mapping[str, int]
) -> None:
    """Write COCO's JSON. Its header is empty, but converters of others expect it."""
    content = {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


class JsonLines:
    """Files of JSON lines in a folder, each opened at its first line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, IO[str]] = {}
        self._stack = ExitStack()

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Add a line to the file ``name``."""
        if name not in self._files:
            self._files[name] = self._stack.enter_context((self._folder / name).open("w", encoding="utf-8"))
        self._files[name].write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close all files."""
        self._stack.close()
