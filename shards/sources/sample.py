"""What every reader of annotations yields: one image with its queries, before the image has been looked at."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shards.boxes import Box
from shards.schema import MAX_KEY_LENGTH, Instance, Query
from shards.sources.errors import SourceError, format_value


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One image or query that is left out, or one box that was clipped."""

    rule: str
    """``missing_image``, ``unreadable_image``, ``bad_box``, ``empty_query``, ``no_box``, ``clipped_box``, ..."""

    image: str
    num_queries: int
    query_id: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceSample:
    """One image and the queries of one split about it; boxes are xyxy as read, not yet checked against the image."""

    key: str
    split: str
    image_name: str
    """File below the folder of images."""

    instances: tuple[Instance, ...]
    queries: tuple[Query, ...]
    size: tuple[int, int] | None = field(default=None)
    """(width, height) in pixels where the annotations say so."""

    problems: tuple[Problem, ...] = field(default=(), compare=False, repr=False)
    """What the annotations hold of this image that is no query, such as phrases without a box."""

    def to_payload(self) -> dict[str, Any]:
        """JSON values, for a plan; without the problems."""
        return {
            "key": self.key,
            "split": self.split,
            "image_name": self.image_name,
            "instances": [instance.to_json() for instance in self.instances],
            "queries": [query.to_json() for query in self.queries],
            "size": self.size,
        }

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> SourceSample:
        """The inverse of ``to_payload``."""
        return SourceSample(
            key=payload["key"],
            split=payload["split"],
            image_name=payload["image_name"],
            instances=tuple(map(Instance.from_json, payload["instances"])),
            queries=tuple(map(Query.from_json, payload["queries"])),
            size=None if payload["size"] is None else (payload["size"][0], payload["size"][1]),
        )


_MAX_BASE_KEY_LENGTH = MAX_KEY_LENGTH - 8
"""Leaves room for a number behind keys that occur again."""


def make_key(*parts: object) -> str:
    """A sample's key from names of the source, with everything but letters, digits, _ and - replaced by _; the end of
    a long one by its hash."""
    key = "-".join(re.sub(r"[^A-Za-z0-9_-]+", "_", str(part)) for part in parts)
    return (
        key
        if len(key) <= _MAX_BASE_KEY_LENGTH
        else f"{key[: _MAX_BASE_KEY_LENGTH - 17]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    )


def make_image_key(dataset: str, image: str, split: str) -> str:
    """A sample's key from the path of its image, without the file's kind."""
    return make_key(dataset, re.sub(r"\.\w{1,5}\Z", "", image), split)


_WITH_ANNOTATION = re.compile(r"(COCO_(?:train|val)2014_\d{12})_\d+(\.jpg)\Z")


def strip_annotation_id(name: str) -> str:
    """The file that a name means: REFER's carry an annotation's number, ``COCO_train2014_000000000716_225429.jpg``,
    which no image of COCO has."""
    return _WITH_ANNOTATION.sub(r"\1\2", name)


def xywh_to_xyxy(values: Any, where: str) -> Box:
    """COCO's (x, y, width, height), 0-based, to xyxy with exclusive right and bottom: x2 = x + width.

    Raises:
        SourceError: the values are not four numbers; names ``where``.
    """
    x, y, width, height = parse_box(values, where)
    return (x, y, x + width, y + height)


def parse_box(values: Any, where: str) -> Box:
    """Four numbers as floats.

    Raises:
        SourceError: naming ``where`` and the values.
    """
    try:
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{where}: a box is four numbers, got {format_value(values)}") from error
    return (a, b, c, d)


def parse_size(width: Any, height: Any, where: str) -> tuple[int, int]:
    """(width, height) in pixels; MDETR's files write some of them as text.

    Raises:
        SourceError: naming ``where``.
    """
    try:
        return int(width), int(height)
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            f"{where}: width and height are whole numbers, got {format_value(width)} and {format_value(height)}"
        ) from error
