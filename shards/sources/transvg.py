"""The split files of TransVG, VLTVG and ResVG: ``<folder>/<name>_<split>.pth``, a pickled list of rows.

A row is (image file, mask file, box, phrase, attributes), for flickr (image file, box, phrase). Boxes are xywh for
unc, unc+, gref and gref_umd, and xyxy for referit and flickr: referit's count from 0 and name the last pixel (no box of
480 x 360 pictures ever reaches 480), flickr's count from 1. Categories and other instances are not in these files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.schema import Box, Query
from shards.sources.errors import SourceError
from shards.sources.source import SourceSample, four_numbers, key_of, xywh_to_xyxy
from shards.sources.unpickle import read_pickle

XYWH_NAMES = ("unc", "unc+", "gref", "gref_umd")
XYXY_NAMES = ("referit", "flickr")


def read_transvg(folder: Path, name: str, dataset: str) -> Iterator[SourceSample]:
    """One sample for each image and split, in the order of the files; every ``<name>_<split>.pth`` is a split.

    Args:
        folder: holds the split files.
        name: one of unc, unc+, gref, gref_umd, referit, flickr.
        dataset: name that keys and queries carry.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    if name not in XYWH_NAMES + XYXY_NAMES:
        raise SourceError(f"no TransVG data set {name!r}; choose one of {', '.join(XYWH_NAMES + XYXY_NAMES)}")
    paths = sorted(path for path in folder.glob(f"{name}_*.pth") if not path.stem.endswith("_fea"))
    if not paths:
        raise SourceError(f"{folder} holds no {name}_<split>.pth; give the folder of TransVG's split files")
    for path in paths:
        yield from _read_split(path, path.stem.removeprefix(f"{name}_"), name, dataset)


def _read_split(path: Path, split: str, name: str, dataset: str) -> Iterator[SourceSample]:
    rows = read_pickle(path)
    if not isinstance(rows, (list, tuple)):
        raise SourceError(f"{path} holds a {type(rows).__name__}, not a list of rows")
    grouped: dict[str, list[Query]] = {}
    for i, row in enumerate(rows):
        image, query = _read_row(row, i, path, split, name, dataset)
        grouped.setdefault(image, []).append(query)
    for image, queries in grouped.items():
        yield SourceSample(
            key=key_of(dataset, Path(image).stem, split),
            split=split,
            image_name=image,
            instances=(),
            queries=tuple(queries),
        )


def _read_row(row: Any, i: int, path: Path, split: str, name: str, dataset: str) -> tuple[str, Query]:
    where = f"{path}, row {i}"
    width = 3 if name == "flickr" else 5
    if not isinstance(row, (list, tuple)) or len(row) != width:
        raise SourceError(f"{where}: a row of {name} has {width} fields, got {str(row)[:80]}")
    image, box, phrase = (row[0], row[1], row[2]) if name == "flickr" else (row[0], row[2], row[3])
    if not isinstance(image, str) or not isinstance(phrase, str):
        raise SourceError(f"{where}: the image's name and the phrase must be text, got {image!r} and {phrase!r}")
    xyxy = _to_xyxy(box, name, where)
    query = Query(query_id=f"{dataset}-{split}-{i}", text=phrase, box_xyxy=xyxy, split=split, source=dataset)
    return image, query


def _to_xyxy(values: Any, name: str, where: str) -> Box:
    """0-based, right and bottom exclusive."""
    if name in XYWH_NAMES:
        return xywh_to_xyxy(values, where)
    x1, y1, x2, y2 = four_numbers(values, where)
    return (x1, y1, x2 + 1, y2 + 1) if name == "referit" else (x1 - 1, y1 - 1, x2, y2)
