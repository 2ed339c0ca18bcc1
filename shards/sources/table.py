"""Your own tables, and datasets of the Hugging Face Hub: JSON lines, CSV or Parquet, one query a row.

    {"image": "kitchen.jpg", "query": "left cup", "box": [10, 20, 60, 90], "category": "cup"}

``box`` is four numbers in pixels, by default 0-based xyxy with exclusive right and bottom. ``query`` may be a list of
several queries for the same box. Optional fields are ``category``, ``split``, ``id``, ``size`` ([width, height]),
``annotation`` (COCO's id of the target) and ``instances`` (boxes of all objects of that category in the image, with the
target). In CSV, write lists as JSON ("[10, 20, 60, 90]"). ``Fields`` gives other names for these fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from shards.boxes import Box, iou
from shards.schema import Instance, Query
from shards.sources.coco import CocoInstances
from shards.sources.errors import SourceError, format_value
from shards.sources.files import infer_splits, read_csv, read_json_lines
from shards.sources.isolated import read_parquet
from shards.sources.sample import SourceSample, make_image_key, parse_box, parse_size, strip_annotation_id

SAME_OBJECT_IOU = 0.5
"""Minimum IoU of the target's box and a listed instance that is the target."""

MAX_ROWS_PER_IMAGE = 2_000
"""Maximum rows of one image; more are a mistake, and comparing all their boxes would take too long."""

_Row = tuple[str, str, dict[str, Any]]
_OPTIONAL_NAMES = ("category", "instances", "split", "id", "size", "annotation")
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Names of the fields in the table."""

    image: str = "image"
    """Path of the image below the folder of images."""

    query: str = "query"
    """Query, or a list of queries."""

    box: str = "box"
    """List of four numbers, or the names of four fields with commas between them: ``x1,y1,x2,y2``."""

    box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    """Meaning of the four numbers: two corners; a corner, width and height; or the center, width and height."""

    one_based: bool = False
    """Boxes count pixels from 1 and, as xyxy, include the last one, as in MATLAB and Pascal VOC; off by default."""

    category: str = "category"
    """Category of the target."""

    instances: str = "instances"
    """Boxes of all objects of the category in the image, the target included."""

    split: str = "split"
    """Split of the query."""

    id: str = "id"
    """Name of the row."""

    size: str = "size"
    """Width and height of the image."""

    annotation: str = "annotation"
    """COCO's annotation id of the target, by which all instances of the image are joined."""


def read_table(
    path: Path, dataset: str, split: str = "train", fields: Fields | None = None, instances: Path | None = None
) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, in the order of their first rows.

    Args:
        path: .jsonl, .csv or .parquet file, or a folder of .parquet files, read in the order of their names.
        dataset: name for keys and queries.
        split: split of rows that name none.
        fields: names of the fields in the table.
        instances: COCO's instances file, joined by the annotation id that each row must then have.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    named = fields or Fields()
    coco = CocoInstances(instances) if instances else None
    grouped: dict[tuple[str, str], list[_Row]] = {}
    present: set[str] = set()
    for where, number, record in _read_rows(path, named, split):
        row = _parse_row(record, named, where)
        present |= record.keys()
        grouped.setdefault((row["image"], str(row["split"] or split)), []).append((where, number, row))
    _check_named(named, present, path)
    for (image, part), rows in grouped.items():
        if len(rows) > MAX_ROWS_PER_IMAGE:
            raise SourceError(
                f"{rows[0][0]}: {len(rows):,} rows say {format_value(image)}; is {named.image} the right field?"
            )
        yield _build_sample(image, part, rows, dataset, coco)


def _check_named(named: Fields, present: set[str], path: Path) -> None:
    """Check that every field with a name other than the default is present."""
    for field in fields(Fields):
        name = getattr(named, field.name)
        if field.name in _OPTIONAL_NAMES and name != field.default and present and name not in present:
            raise SourceError(f"{path} has no field {name!r} for {field.name}; it has {', '.join(sorted(present))}")


def _read_rows(path: Path, named: Fields, split: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (file and row, for errors; number; fields) of each row."""
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if path.is_dir():
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise SourceError(f"{path} holds no .parquet file; give the folder of them, or a .jsonl or .csv file")
        has_splits = named.split in read_parquet(parts[0], ())[0]
        splits = {} if has_splits else infer_splits(parts, split)
        for number, part in enumerate(parts):
            for where, row, record in _read_parquet(part, named):
                split_field = {named.split: splits[part]} if splits else {}
                yield where, f"{number}-{row}", {**record, **split_field}
    elif path.suffix.lower() == ".parquet":
        yield from _read_parquet(path, named)
    elif path.suffix.lower() in (".csv", ".tsv"):
        yield from read_csv(path)
    elif path.suffix.lower() in (".jsonl", ".json"):
        yield from read_json_lines(path)
    else:
        raise SourceError(f"{path} is no supported table; the name must end in {', '.join(SUFFIXES)}")


def _read_parquet(path: Path, named: Fields) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Read only the named columns, since others can hold whole images."""
    needed = {name for field in fields(Fields) for name in str(getattr(named, field.name)).split(",")}
    for number, record in enumerate(read_parquet(path, sorted(needed))[1]):
        yield f"{path}, row {number}", str(number), record


def _parse_row(record: Mapping[str, Any], named: Fields, where: str) -> dict[str, Any]:
    """Return the values under the default names: box and instances as xyxy, queries as a list."""
    corners = named.box.split(",")
    for name in (named.image, named.query, *corners):
        if name not in record:
            known = ", ".join(sorted(map(str, record)))
            raise SourceError(f"{where}: no field {name!r}; it has {known}. Name it with --fields")
    image, query = record[named.image], record[named.query]
    queries = ["" if text is None else text for text in (query if isinstance(query, list) else [query])]
    if isinstance(image, dict):
        raise SourceError(
            f"{where}: {named.image} holds the image itself; write the images to files and name the files in a column"
        )
    if not isinstance(image, str) or not image or not all(isinstance(text, str) for text in queries):
        raise SourceError(f"{where}: {named.image} and {named.query} must be text, got {format_value([image, query])}")
    box = [record[name] for name in corners] if len(corners) > 1 else record[named.box]
    boxes = record.get(named.instances)
    if boxes is not None and not isinstance(boxes, list):
        raise SourceError(f"{where}: instances must be a list of boxes, got {format_value(boxes)}")
    optional = {field.name: record.get(getattr(named, field.name)) for field in _OPTIONAL}
    return {
        **optional,
        "image": strip_annotation_id(str(PurePosixPath(image))),  # "./a.jpg" is "a.jpg"
        "queries": queries,
        "box": _convert_to_xyxy(box, named, where),
        "instances": [_convert_to_xyxy(values, named, where) for values in boxes or ()],
    }


_OPTIONAL = tuple(f for f in fields(Fields) if f.name in ("category", "split", "id", "size", "annotation"))


def _convert_to_xyxy(values: Any, named: Fields, where: str) -> Box:
    """Convert a box to 0-based xyxy with exclusive right and bottom."""
    x1, y1, x2, y2 = parse_box(values, where)
    first = 1 if named.one_based else 0
    if named.box_format == "cxcywh":
        x1, y1 = x1 - x2 / 2, y1 - y2 / 2
    if named.box_format != "xyxy":
        x2, y2 = x1 - first + x2, y1 - first + y2
    return (x1 - first, y1 - first, x2, y2)


def _build_sample(image: str, split: str, rows: list[_Row], dataset: str, coco: CocoInstances | None) -> SourceSample:
    where, _, first = rows[0]
    coco_image = coco.find_image(first["annotation"], where) if coco else None
    instances = list(coco_image.instances) if coco_image else []
    queries = []
    for where, number, row in rows:
        target = (
            coco_image.find_target(row["annotation"], row["box"], where) if coco_image else _find_target(row, instances)
        )
        name = f"{dataset}-{number if row['id'] is None else row['id']}"
        for i, text in enumerate(row["queries"]):
            queries.append(
                Query(
                    query_id=name if len(row["queries"]) == 1 else f"{name}-{i}",
                    text=text,
                    boxes_xyxy=(row["box"],),
                    split=split,
                    source=dataset,
                    instances=None if target is None else (target,),
                )
            )
    return SourceSample(
        key=make_image_key(dataset, image, split),
        split=split,
        image_name=image,
        instances=tuple(instances),
        problems=coco_image.problems if coco_image else (),
        has_all_instances=coco_image is not None or all(row["instances"] for _, _, row in rows),
        queries=tuple(queries),
        size=coco_image.size if coco_image else _parse_size(first["size"], where),
    )


def _find_target(row: Mapping[str, Any], instances: list[Instance]) -> int | None:
    """Find the target among the instances of the image's rows, and add it if absent; None without a category."""
    category = row["category"]
    if not isinstance(category, str) or not category.strip():
        return None
    return _join_instances(instances, row["instances"], row["box"], category.strip().lower())


def _parse_size(size: Any, where: str) -> tuple[int, int] | None:
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2:
        raise SourceError(f"{where}: size is [width, height], got {format_value(size)}")
    return parse_size(size[0], size[1], where)


def _join_instances(instances: list[Instance], boxes: list[Box], target: Box, category: str) -> int:
    """Add new boxes to the instances; return the index of the one that overlaps the target most, or of a new one."""
    for box in boxes:
        if not any(i.category == category and iou(i.box_xyxy, box) > 0.99 for i in instances):
            instances.append(Instance(box_xyxy=box, category=category))
    overlaps = [(iou(i.box_xyxy, target), n) for n, i in enumerate(instances) if i.category == category]
    best, index = max(overlaps, default=(0.0, -1))
    if best >= SAME_OBJECT_IOU:
        return index
    instances.append(Instance(box_xyxy=target, category=category))
    return len(instances) - 1
