"""ReferItGame as its authors publish it: ``referit_query_<split>.json`` beside a folder ``mask`` of MATLAB files.

The JSON maps ``<image>_<region>`` to the queries of that region. ``mask/<image>_<region>.mat`` holds ``segimg_t``,
(height, width), with 0 on the object. The box is the smallest one around the object. Images are ``<image>.jpg``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shards.boxes import Box
from shards.schema import Query
from shards.sources.errors import SourceError
from shards.sources.isolated import read_matrix
from shards.sources.sample import SourceSample, make_key

MASK = "segimg_t"
_REGION = re.compile(r"(\d{1,12})_(\d{1,12})")


def read_referit(folder: Path, dataset: str) -> Iterator[SourceSample]:
    """Yield a sample for each image and split; every ``referit_query_<split>.json`` except ``trainval`` is a split.

    Args:
        folder: folder with the query files and ``mask``.
        dataset: name for keys and queries.

    Raises:
        SourceError: naming the file, the region and the rule.
    """
    paths = sorted(folder.glob("referit_query_*.json"))
    paths = [path for path in paths if path.stem != "referit_query_trainval"]
    if not paths:
        raise SourceError(f"{folder} holds no referit_query_<split>.json; give the folder of ReferItGame's annotations")
    for path in paths:
        yield from _read_split(path, path.stem.removeprefix("referit_query_"), folder / "mask", dataset)


def _read_split(path: Path, split: str, masks: Path, dataset: str) -> Iterator[SourceSample]:
    grouped: dict[str, list[tuple[str, list[str]]]] = {}
    for region, queries in _read_regions(path).items():
        match = _REGION.fullmatch(region)
        if match is None or not isinstance(queries, list) or not all(isinstance(text, str) for text in queries):
            raise SourceError(f"{path}, {region!r}: a region is <image>_<number> with a list of texts")
        grouped.setdefault(match[1], []).append((region, queries))
    for image, regions in sorted(grouped.items(), key=lambda item: int(item[0])):
        sizes_and_boxes = {region: _read_size_and_box(masks / f"{region}.mat") for region, _ in regions}
        yield SourceSample(
            key=make_key(dataset, image, split),
            split=split,
            image_name=f"{image}.jpg",
            instances=(),
            queries=tuple(
                Query(
                    query_id=f"{dataset}-{region}-{i}",
                    text=text,
                    boxes_xyxy=(sizes_and_boxes[region][1],),
                    split=split,
                    source=dataset,
                )
                for region, queries in regions
                for i, text in enumerate(queries)
            ),
            size=sizes_and_boxes[regions[0][0]][0],
        )


def _read_regions(path: Path) -> dict[str, Any]:
    try:
        regions = json.loads(path.read_bytes())
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not JSON ({error})") from error
    if not isinstance(regions, dict):
        raise SourceError(f"{path} holds a {type(regions).__name__}, not an object of regions")
    return regions


def _read_size_and_box(path: Path) -> tuple[tuple[int, int], Box]:
    """Read (width, height) of the image, and the box around the zeros of the mask."""
    mask = read_matrix(path, MASK)
    rows, columns = (np.flatnonzero((mask == 0).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise SourceError(f"{path}: {MASK} has no 0, so there is no object; remove the region from the query file")
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return (mask.shape[1], mask.shape[0]), box
