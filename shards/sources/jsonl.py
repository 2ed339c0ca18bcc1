"""People's own annotations: JSON lines, one query a line.

    {"image": "kitchen.jpg", "query": "left cup", "box": [10, 20, 60, 90], "category": "cup"}

``box`` is xyxy in pixels, 0-based, right and bottom exclusive. Optional: ``category``; ``instances`` (boxes xyxy of all
objects of that category in the image, the target among them); ``split``; ``id``; ``size`` ([width, height]). Files with
other names for these fields are read with ``Fields``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.boxes import iou
from shards.schema import Box, Instance, Query
from shards.sources.errors import SourceError
from shards.sources.source import SourceSample, four_numbers, key_of

SAME_OBJECT_IOU = 0.5
"""A listed instance that overlaps the target's box so much is the target."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What the fields are called in the file."""

    image: str = "image"
    query: str = "query"
    box: str = "box"
    category: str = "category"
    instances: str = "instances"
    split: str = "split"
    id: str = "id"
    size: str = "size"


def read_jsonl(path: Path, dataset: str, split: str = "train", fields: Fields | None = None) -> Iterator[SourceSample]:
    """One sample for each image and split, in the order of their first lines.

    Args:
        path: the file.
        dataset: name that keys and queries carry.
        split: for lines that do not say.
        fields: the file's own names for the fields.

    Raises:
        SourceError: naming the file, the line and the rule.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    named = fields or Fields()
    grouped: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for number, record in _records(path):
        for name in (named.image, named.query, named.box):
            if name not in record:
                known = ", ".join(sorted(record))
                raise SourceError(f"{path}, line {number}: no field {name!r}; it has {known}. Name it with --fields")
        image = record[named.image]
        if not isinstance(image, str) or not isinstance(record[named.query], str):
            raise SourceError(f"{path}, line {number}: {named.image} and {named.query} must be text")
        grouped.setdefault((image, str(record.get(named.split) or split)), []).append((number, record))
    for (image, part), lines in grouped.items():
        yield _sample(image, part, lines, path, dataset, named)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8", errors="strict") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise SourceError(f"{path}, line {number}: a line is a JSON object, got {line.strip()[:60]!r}")
                yield number, record
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path} is not a file of JSON lines ({error})") from error


def _sample(
    image: str, split: str, lines: list[tuple[int, Mapping[str, Any]]], path: Path, dataset: str, named: Fields
) -> SourceSample:
    instances: list[Instance] = []
    queries = []
    for number, record in lines:
        where = f"{path}, line {number}"
        box = four_numbers(record[named.box], where)
        category = record.get(named.category)
        target = None
        if isinstance(category, str) and category.strip():
            target = _join(instances, record.get(named.instances) or [], box, category.strip().lower(), where)
        queries.append(
            Query(
                query_id=f"{dataset}-{record.get(named.id, number)}",
                text=record[named.query],
                box_xyxy=box,
                split=split,
                source=dataset,
                instance=target,
            )
        )
    size = lines[0][1].get(named.size)
    stem = str(Path(image).with_suffix(""))
    return SourceSample(
        key=key_of(dataset, stem, split),
        split=split,
        image_name=image,
        instances=tuple(instances),
        queries=tuple(queries),
        size=(int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None,
    )


def _join(instances: list[Instance], boxes: Any, target: Box, category: str, where: str) -> int:
    """Add boxes that are not there yet; the index of the target, which is the box it overlaps most, or a new one."""
    if not isinstance(boxes, list):
        raise SourceError(f"{where}: instances must be a list of boxes, got {str(boxes)[:60]!r}")
    for box in [four_numbers(values, where) for values in boxes]:
        if not any(i.category == category and iou(i.box_xyxy, box) > 0.99 for i in instances):
            instances.append(Instance(box_xyxy=box, category=category))
    found = [(iou(i.box_xyxy, target), n) for n, i in enumerate(instances) if i.category == category]
    best, index = max(found, default=(0.0, -1))
    if best >= SAME_OBJECT_IOU:
        return index
    instances.append(Instance(box_xyxy=target, category=category))
    return len(instances) - 1
