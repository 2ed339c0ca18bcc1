"""Sample as a reader of annotations yields it, without the image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shards.boxes import Box
from shards.schema import MAX_KEY_LENGTH, Instance, Query
from shards.sources.errors import SourceError, format_value


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Image or query that is left out, or box that is clipped."""

    rule: str
    """Name of the broken rule: ``missing_image``, ``bad_box``, ``empty_query``, ``no_box``, ``clipped_box``, ..."""

    image: str
    num_queries: int
    query_id: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceSample:
    """Image with its queries of one split; boxes are xyxy and not yet checked against the image."""

    key: str
    split: str
    image_name: str
    """Path below the folder of images."""

    instances: tuple[Instance, ...]
    queries: tuple[Query, ...]
    has_all_instances: bool = True
    """Whether ``instances`` are all objects of their categories in the image; False: at least the targets."""

    size: tuple[int, int] | None = field(default=None)
    """(width, height) in pixels; None if the annotations do not give it."""

    problems: tuple[Problem, ...] = field(default=(), compare=False, repr=False)
    """Problems in the annotations of this image, such as phrases without a box."""

    def to_payload(self) -> dict[str, Any]:
        """Return JSON values for a plan, without the problems."""
        values = {name: value for name, value in vars(self).items() if name != "problems"}
        instances, queries = map(Instance.to_json, self.instances), map(Query.to_json, self.queries)
        return {**values, "instances": list(instances), "queries": list(queries)}

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> SourceSample:
        """Return the sample of ``to_payload``."""
        instances = tuple(map(Instance.from_json, payload["instances"]))
        queries = tuple(map(Query.from_json, payload["queries"]))
        size = payload["size"] and tuple(payload["size"])
        return SourceSample(**{**payload, "instances": instances, "queries": queries, "size": size})


_MAX_BASE_KEY_LENGTH = MAX_KEY_LENGTH - 8
"""Maximum characters of a key before a number is appended to repeated keys."""


def make_key(*parts: object) -> str:
    """Make a sample's key of names of the source.

    Characters other than letters, digits, _ and - become _. A hash replaces the end of a long key.
    """
    key = "-".join(re.sub(r"[^A-Za-z0-9_-]+", "_", str(part)) for part in parts)
    return (
        key
        if len(key) <= _MAX_BASE_KEY_LENGTH
        else f"{key[: _MAX_BASE_KEY_LENGTH - 17]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    )


def make_image_key(dataset: str, image: str, split: str) -> str:
    """Make a sample's key of the path of its image, without the suffix."""
    return make_key(dataset, re.sub(r"\.\w{1,5}\Z", "", image), split)


_WITH_ANNOTATION = re.compile(r"(COCO_(?:train|val)2014_\d{12})_\d+(\.jpg)\Z")


def strip_annotation_id(name: str) -> str:
    """Remove the annotation id that REFER adds to COCO's names: ``COCO_train2014_000000000716_225429.jpg``."""
    return _WITH_ANNOTATION.sub(r"\1\2", name)


def convert_xywh_to_xyxy(values: Any, where: str) -> Box:
    """Convert COCO's (x, y, width, height), 0-based, to xyxy with exclusive right and bottom: x2 = x + width.

    Raises:
        SourceError: the values are not four numbers; names ``where``.
    """
    x, y, width, height = parse_box(values, where)
    return (x, y, x + width, y + height)


def parse_box(values: Any, where: str) -> Box:
    """Parse four numbers as floats.

    Raises:
        SourceError: the values are not four numbers; names ``where``.
    """
    try:
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{where}: a box is four numbers, got {format_value(values)}") from error
    return (a, b, c, d)


def parse_size(width: Any, height: Any, where: str) -> tuple[int, int]:
    """Parse (width, height) in pixels; MDETR's files write some of them as text.

    Raises:
        SourceError: they are no whole numbers; names ``where``.
    """
    try:
        return int(width), int(height)
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            f"{where}: width and height are whole numbers, got {format_value(width)} and {format_value(height)}"
        ) from error


def hold_out_images(samples: Sequence[SourceSample], share: float) -> list[SourceSample]:
    """Move the training samples of about this share of the images to the split ``val``; a hash of the name decides."""
    held_out = {
        name
        for name in {sample.image_name for sample in samples}
        if int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) < share * 2**64
    }
    return [
        replace(
            sample,
            key=re.sub(r"train\Z", "val", sample.key),
            split="val",
            queries=tuple(replace(query, split="val") for query in sample.queries),
        )
        if sample.split == "train" and sample.image_name in held_out
        else sample
        for sample in samples
    ]
