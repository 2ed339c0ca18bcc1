"""Split files of TransVG, VLTVG and ResVG: ``<folder>/<name>_<split>.pth``, a pickled list of rows.

A row is (image file, mask file, box, phrase, attributes), for flickr (image file, box, phrase). Boxes are xywh for
unc, unc+, gref and gref_umd, and xyxy for referit and flickr. Those of referit count from 0 and include the last pixel:
no box of 480 x 360 images ever reaches 480. Those of flickr count from 1. The files have no categories and no other
instances. For images of COCO these come from COCO's instances file, by the annotation id in the mask's name.
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
from shards.sources.sample import SourceSample, convert_xywh_to_xyxy, make_key, parse_box, strip_annotation_id

XYWH_NAMES = ("unc", "unc+", "gref", "gref_umd")
XYXY_NAMES = ("referit", "flickr")


def read_transvg(folder: Path, name: str, dataset: str, instances: Path | None = None) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, in the order of the files.

    Every ``<name>_<split>.pth`` except ``trainval`` is a split.

    Args:
        folder: folder with the split files.
        name: one of unc, unc+, gref, gref_umd, referit, flickr.
        dataset: name for keys and queries.
        instances: COCO's instances file of the images, for the first four names.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    if name not in XYWH_NAMES + XYXY_NAMES:
        raise SourceError(f"no TransVG dataset {name!r}; choose one of {', '.join(XYWH_NAMES + XYXY_NAMES)}")
    if instances and name in XYXY_NAMES:
        raise SourceError(f"{instances}: the images of {name} are not COCO's; omit the instances file")
    if folder.is_file():
        raise SourceError(f"{folder} is a file; give the folder of TransVG's split files")
    splits = {path.stem.removeprefix(f"{name}_"): path for path in sorted(folder.glob(f"{name}_*.pth"))}
    splits = {
        split: path
        for split, path in splits.items()
        # trainval repeats two others, features are no rows, and gref_umd is another dataset than gref.
        if split != "trainval" and not split.endswith("_fea") and not (name == "gref" and split.startswith("umd_"))
    }
    if not splits:
        raise SourceError(f"{folder} holds no {name}_<split>.pth; give the folder of TransVG's split files")
    coco = CocoInstances(instances) if instances else None
    for split, path in splits.items():
        yield from _read_split(path, split, name, dataset, coco)


def make_query_id(dataset: str, split: str, row: int) -> str:
    """Make the id of the query in a row; published features of priors belong to rows."""
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
            target = present[image].find_target(annotation, box, f"{path}, row {i}")
        grouped.setdefault(image, []).append(
            Query(
                query_id=make_query_id(dataset, split, i),
                text=phrase,
                boxes_xyxy=(box,),
                split=split,
                source=dataset,
                instances=None if target is None else (target,),
            )
        )
    for image, queries in grouped.items():
        yield SourceSample(
            key=make_key(dataset, Path(image).stem, split),
            split=split,
            image_name=image,
            instances=present[image].instances if image in present else (),
            problems=present[image].problems if image in present else (),
            queries=tuple(queries),
            size=present[image].size if image in present else None,
        )


def _parse_annotation_id(mask: Any, where: str) -> int:
    """Parse COCO's annotation id from the name of the mask file, such as ``225429.pth``."""
    stem = Path(mask).stem if isinstance(mask, str) else ""
    if not stem.isascii() or not stem.isdigit():
        raise SourceError(f"{where}: the mask file is named <annotation id>.pth, got {format_value(mask)}")
    return int(stem)


def _read_row(row: Any, where: str, name: str) -> tuple[str, Box, str]:
    """Return image, box and phrase of a row."""
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
    """Convert a box to 0-based xyxy with exclusive right and bottom."""
    if name in XYWH_NAMES:
        return convert_xywh_to_xyxy(values, where)
    x1, y1, x2, y2 = parse_box(values, where)
    return (x1, y1, x2 + 1, y2 + 1) if name == "referit" else (x1 - 1, y1 - 1, x2, y2)
