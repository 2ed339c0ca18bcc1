"""What a sample is: one image with every query about it.

Boxes are ``xyxy`` in pixels of the stored image: float, 0-based, right and bottom exclusive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.boxes import iou

SCHEMA_VERSION = 2

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the stored image, 0-based, right and bottom exclusive."""


MAX_KEY_LENGTH = 88
"""A member's name in a tar has 100 bytes, and ``.priors.npy`` follows the key."""

_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_LENGTH}}}")


class SchemaError(ValueError):
    """A sample that breaks a rule of the schema; the message names the sample, the rule and the value."""


def validate_box(values: Any, width: int, height: int, where: str) -> Box:
    """``values`` as a box of positive area that lies inside a ``width`` x ``height`` image.

    Raises:
        SchemaError: naming ``where``, the rule and the value.
    """
    try:
        x1, y1, x2, y2 = map(float, values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"{where}: a box is four numbers x1, y1, x2, y2, got {values!r}") from error
    if 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
        return (x1, y1, x2, y2)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise SchemaError(f"{where}: box {values!r} is not finite")
    if x2 <= x1 or y2 <= y1:
        raise SchemaError(f"{where}: box ({x1}, {y1}, {x2}, {y2}) has no area; x2 > x1 and y2 > y1 must hold")
    raise SchemaError(f"{where}: box ({x1}, {y1}, {x2}, {y2}) reaches outside the {width} x {height} image")


def compute_enclosing_box(boxes: Sequence[Box]) -> Box:
    """The smallest box around one or more."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return (min(x1), min(y1), max(x2), max(y2))


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One object of the image."""

    box_xyxy: Box
    category: str
    """Lower-case name; empty where the data set does not say."""

    is_crowd: bool = False
    score: float | None = None
    """Detector's confidence for generated scenes; None for annotated ones."""

    requested_box_xyxy: Box | None = None
    """Where a composer was asked to put the object; None where nobody asked, or what was asked is no match."""

    @property
    def requested_iou(self) -> float | None:
        """How well the object lies where it was asked for: the IoU of both boxes."""
        return None if self.requested_box_xyxy is None else iou(self.box_xyxy, self.requested_box_xyxy)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "box_xyxy": list(self.box_xyxy),
            "category": self.category,
            "is_crowd": self.is_crowd,
            "score": self.score,
            "requested_box_xyxy": None if self.requested_box_xyxy is None else list(self.requested_box_xyxy),
            "requested_iou": None if self.requested_iou is None else round(self.requested_iou, 4),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Instance:
        """The inverse of ``to_json``; ``requested_iou`` is computed anew, and older records have neither."""
        requested = record.get("requested_box_xyxy")
        return Instance(
            box_xyxy=tuple(record["box_xyxy"]),
            category=record["category"],
            is_crowd=record["is_crowd"],
            score=record["score"],
            requested_box_xyxy=None if requested is None else tuple(requested),
        )


@dataclass(frozen=True, kw_only=True)
class Query:
    """One referring expression and the box it means."""

    query_id: str
    """Unique within the data set."""

    text: str
    box_xyxy: Box
    split: str
    """``train``, ``val``, ``testA``, ..."""

    source: str
    """Where the query comes from: ``refcoco``, ``miniature``, ``prompted`` (a composer), ..."""

    boxes_xyxy: tuple[Box, ...] = ()
    """Where the phrase means several objects ("two men"), the box of each; ``box_xyxy`` is then the smallest around
    all of them. Empty where it means one."""

    instance: int | None = None
    """Index of the target in the sample's instances; None where it is not known."""

    prior_id: str | None = None
    program: Mapping[str, Any] | None = None
    """For pseudo-queries: the relation program that selects the target, and only it."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "query_id": self.query_id,
            "text": self.text,
            "box_xyxy": list(self.box_xyxy),
            "boxes_xyxy": [list(box) for box in self.boxes_xyxy],
            "split": self.split,
            "source": self.source,
            "instance": self.instance,
            "prior_id": self.prior_id,
            "program": None if self.program is None else dict(self.program),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Query:
        """The inverse of ``to_json``."""
        return Query(
            query_id=record["query_id"],
            text=record["text"],
            box_xyxy=tuple(record["box_xyxy"]),
            boxes_xyxy=tuple(tuple(box) for box in record["boxes_xyxy"]),
            split=record["split"],
            source=record["source"],
            instance=record["instance"],
            prior_id=record["prior_id"],
            program=record["program"],
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image with its instances and queries; valid by construction."""

    key: str
    """Unique in the data set; letters, digits, ``_`` and ``-`` only, 88 at most, since it names members of a tar."""

    width: int
    height: int
    image_name: str
    """File name in the source, or the scene's key for a generated image."""

    image: bytes = field(repr=False)
    """Encoded image, JPEG or PNG, upright, RGB or grayscale."""

    instances: tuple[Instance, ...]
    queries: tuple[Query, ...]
    priors: npt.NDArray[np.float16] | None = field(default=None, repr=False, compare=False)
    """(queries, dim) features, in the order of ``queries``; None until packed."""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise SchemaError(f"sample key {self.key!r} must be 1 to {MAX_KEY_LENGTH} of a-z, A-Z, 0-9, _ and -")
        if self.width <= 0 or self.height <= 0:
            raise SchemaError(f"sample {self.key}: image size {self.width} x {self.height} must be positive")
        for i, instance in enumerate(self.instances):
            where = f"sample {self.key}, instance {i}"
            validate_box(instance.box_xyxy, self.width, self.height, where)
            if instance.requested_box_xyxy is not None:
                validate_box(instance.requested_box_xyxy, self.width, self.height, f"{where} as asked for")
        for query in self.queries:
            where = f"sample {self.key}, query {query.query_id!r}"
            validate_box(query.box_xyxy, self.width, self.height, where)
            for box in query.boxes_xyxy:
                validate_box(box, self.width, self.height, where)
            if query.boxes_xyxy and query.box_xyxy != compute_enclosing_box(query.boxes_xyxy):
                raise SchemaError(f"{where}: box {query.box_xyxy} is not the smallest around {query.boxes_xyxy}")
            if not query.text.strip():
                raise SchemaError(f"{where}: the text is empty")
            if query.instance is not None and not 0 <= query.instance < len(self.instances):
                raise SchemaError(f"{where}: instance {query.instance} of {len(self.instances)} does not exist")
        if self.priors is not None and (self.priors.ndim != 2 or len(self.priors) != len(self.queries)):
            raise SchemaError(f"sample {self.key}: priors of shape {self.priors.shape} for {len(self.queries)} queries")

    def num_distractors(self, query: Query) -> int | None:
        """Other instances of the target's category (crowds left out); None where the category is not known."""
        if query.instance is None or not self.instances[query.instance].category:
            return None
        category = self.instances[query.instance].category
        return sum(
            i != query.instance and instance.category == category and not instance.is_crowd
            for i, instance in enumerate(self.instances)
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the image and the priors, as JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "key": self.key,
            "width": self.width,
            "height": self.height,
            "image_name": self.image_name,
            "instances": [instance.to_json() for instance in self.instances],
            "queries": [query.to_json() for query in self.queries],
        }

    @staticmethod
    def from_json(record: Mapping[str, Any], image: bytes, priors: npt.NDArray[np.float16] | None = None) -> Sample:
        """The inverse of ``to_json``.

        Raises:
            SchemaError: for another schema version, a missing field or a broken rule.
        """
        version = record.get("schema_version")
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"sample {record.get('key')!r}: schema version {version!r}, this code reads {SCHEMA_VERSION}; "
                "make the shards again with this version"
            )
        try:
            return Sample(
                key=record["key"],
                width=record["width"],
                height=record["height"],
                image_name=record["image_name"],
                image=image,
                instances=tuple(map(Instance.from_json, record["instances"])),
                queries=tuple(map(Query.from_json, record["queries"])),
                priors=priors,
            )
        except (KeyError, TypeError) as error:
            raise SchemaError(f"sample {record.get('key')!r}: malformed record ({error!r})") from error
