"""The split files of TransVG, VLTVG and ResVG: ``<folder>/<name>_<split>.pth``, a pickled list of rows.

A row is (image file, mask file, box, phrase, attributes), for flickr (image file, box, phrase). Boxes are xywh for
unc, unc+, gref and gref_umd, and xyxy for referit and flickr: referit's count from 0 and name the last pixel (no box of
480 x 360 images ever reaches 480), flickr's count from 1. Categories and other instances are not in these files; for
images of COCO they come from its instances file, since the mask file is named after the annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.schema import Query
from shards.sources.coco import CocoImage, CocoInstances
from shards.sources.errors import SourceError, format_value
from shards.sources.isolated import read_pickle
from shards.sources.sample import SourceSample, make_key, parse_box, strip_annotation_id, xywh_to_xyxy

XYWH_NAMES = ("unc", "unc+", "gref", "gref_umd")
XYXY_NAMES = ("referit", "flickr")


def read_transvg(folder: Path, name: str, dataset: str, instances: Path | None = None) -> Iterator[SourceSample]:
    """One sample for each image and split, in the order of the files; every ``<name>_<split>.pth`` is a split,
    ``trainval`` left out.

    Args:
        folder: holds the split files.
        name: one of unc, unc+, gref, gref_umd, referit, flickr.
        dataset: name that keys and queries carry.
        instances: COCO's instances file of the images, for the first four names.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    if name not in XYWH_NAMES + XYXY_NAMES:
        raise SourceError(f"no TransVG data set {name!r}; choose one of {', '.join(XYWH_NAMES + XYXY_NAMES)}")
    if instances and name in XYXY_NAMES:
        raise SourceError(f"{instances}: the images of {name} are not COCO's; leave the instances file out")
    if folder.is_file():
        raise SourceError(f"{folder} is a file; give the folder of TransVG's split files")
    splits = {path.stem.removeprefix(f"{name}_"): path for path in sorted(folder.glob(f"{name}_*.pth"))}
    splits = {split: path for split, path in splits.items() if not _is_left_out(split, name)}
    if not splits:
        raise SourceError(f"{folder} holds no {name}_<split>.pth; give the folder of TransVG's split files")
    coco = CocoInstances(instances) if instances else None
    for split, path in splits.items():
        yield from _read_split(path, split, name, dataset, coco)


def _is_left_out(split: str, name: str) -> bool:
    """trainval repeats two others, features are no rows, and gref_umd is another data set than gref."""
    return split == "trainval" or split.endswith("_fea") or (name == "gref" and split.startswith("umd_"))


def query_id(dataset: str, split: str, row: int) -> str:
    """The id of the query in a row; features of priors are published row by row, too."""
    return f"{dataset}-{split}-{row}"


def _read_split(path: Path, split: str, name: str, dataset: str, coco: CocoInstances | None) -> Iterator[SourceSample]:
    rows = read_pickle(path)
    if not isinstance(rows, (list, tuple)):
        raise SourceError(f"{path} holds a {type(rows).__name__}, not a list of rows")
    grouped: dict[str, list[Query]] = {}
    present: dict[str, CocoImage] = {}
    for i, row in enumerate(rows):
        image, box, phrase = _read_row(row, f"{path}, row {i}", name)
        target = None
        if coco:
            annotation = _parse_annotation_id(row[1], f"{path}, row {i}")
            present[image] = coco.find_image(annotation, f"{path}, row {i}")
            target = present[image].target(annotation, box, f"{path}, row {i}")
        grouped.setdefault(image, []).append(
            Query(
                query_id=query_id(dataset, split, i),
                text=phrase,
                box_xyxy=box,
                split=split,
                source=dataset,
                instance=target,
            )
        )
    for image, queries in grouped.items():
        yield SourceSample(
            key=make_key(dataset, Path(image).stem, split),
            split=split,
            image_name=image,
            instances=present[image].instances if image in present else (),
            queries=tuple(queries),
            size=present[image].size if image in present else None,
        )


def _parse_annotation_id(mask: Any, where: str) -> int:
    """``225429.pth`` is the mask of COCO's annotation 225429."""
    stem = Path(mask).stem if isinstance(mask, str) else ""
    if not stem.isascii() or not stem.isdigit():
        raise SourceError(f"{where}: the mask file is named <annotation id>.pth, got {format_value(mask)}")
    return int(stem)


def _read_row(row: Any, where: str, name: str) -> tuple[str, Box, str]:
    """(image, box, phrase)"""
    width = 3 if name == "flickr" else 5
    if not isinstance(row, (list, tuple)) or len(row) != width:
        raise SourceError(f"{where}: a row of {name} has {width} fields, got {format_value(row)}")
    image, box, phrase = (row[0], row[1], row[2]) if name == "flickr" else (row[0], row[2], row[3])
    if not isinstance(image, str) or not isinstance(phrase, str):
        raise SourceError(
            f"{where}: the image's name and the phrase must be text, got {format_value(image)} and "
            f"{format_value(phrase)}"
        )
    return strip_annotation_id(image), _convert_to_xyxy(box, name, where), phrase


def _convert_to_xyxy(values: Any, name: str, where: str) -> Box:
    """0-based, right and bottom exclusive."""
    if name in XYWH_NAMES:
        return xywh_to_xyxy(values, where)
    x1, y1, x2, y2 = parse_box(values, where)
    return (x1, y1, x2 + 1, y2 + 1) if name == "referit" else (x1 - 1, y1 - 1, x2, y2)
