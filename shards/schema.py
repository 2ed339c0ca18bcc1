"""Schema of a sample: one image with all its instances and queries.

Boxes are ``xyxy`` in pixels of the stored image: float, 0-based, right and bottom exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shards.boxes import Box, compute_enclosing_box, iou, validate_box
from shards.errors import SchemaError

SCHEMA_VERSION = 5

MAX_KEY_LENGTH = 88
"""Maximum characters of a key: a member's name in a tar has 100 bytes, and ``.priors.npy`` follows the key."""

_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An annotated or detected object of the image."""

    box_xyxy: Box
    category: str
    """Lower-case name; empty if the dataset does not give one."""

    is_crowd: bool = False
    score: float | None = None
    """Detector's confidence in a generated scene; None for an annotated instance."""

    requested_box_xyxy: Box | None = None
    """Box that a composer was asked to fill with the object; None if there is none or the detection matches none."""

    @property
    def requested_iou(self) -> float | None:
        """IoU of the box and the requested box; None without a requested box."""
        return None if self.requested_box_xyxy is None else iou(self.box_xyxy, self.requested_box_xyxy)

    def to_json(self) -> dict[str, Any]:
        """Return the instance as JSON values, with its ``requested_iou``."""
        requested_iou = self.requested_iou
        return {**vars(self), "requested_iou": None if requested_iou is None else round(requested_iou, 4)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Instance:
        """Return the instance of ``to_json``; ``requested_iou`` is computed again."""
        requested = record["requested_box_xyxy"]
        boxes = {"box_xyxy": tuple(record["box_xyxy"]), "requested_box_xyxy": requested and tuple(requested)}
        return Instance(category=record["category"], is_crowd=record["is_crowd"], score=record["score"], **boxes)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A referring expression and the boxes of its targets: none, one or several."""

    query_id: str
    """Name, unique within the dataset."""

    text: str
    boxes_xyxy: tuple[Box, ...]
    """Box of each target; empty if nothing in the image answers to the query."""

    split: str
    """``train``, ``val``, ``testA``, ..."""

    source: str
    """Origin of the query: ``refcoco``, ``miniature``, ``prompted`` (a composer), ..."""

    instances: tuple[int, ...] | None = None
    """Index of each target in the sample's instances, in the order of ``boxes_xyxy``; None if unknown."""

    prior_id: str | None = None
    program: Mapping[str, Any] | None = None
    """Relation program of a generated query; it selects the targets and no other instance."""

    @property
    def box_xyxy(self) -> Box:
        """Box of the target; of several targets the smallest box around them.

        Raises:
            SchemaError: the query has no target.
        """
        if not self.boxes_xyxy:
            raise SchemaError(f"query {self.query_id!r} ({self.text!r}) has no target, so it has no box")
        return compute_enclosing_box(self.boxes_xyxy)

    @property
    def instance(self) -> int | None:
        """Index of the only target in the sample's instances; None if it is unknown or not the only one."""
        return self.instances[0] if self.instances is not None and len(self.instances) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return the query as JSON values."""
        return dict(vars(self))

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Query:
        """Return the query of ``to_json``."""
        instances = record["instances"]
        return Query(
            **{
                **record,
                "boxes_xyxy": tuple(map(tuple, record["boxes_xyxy"])),
                "instances": None if instances is None else tuple(instances),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image with its instances and queries; valid by construction."""

    key: str
    """Name, unique within the dataset: 1 to 88 letters, digits, ``_`` and ``-``, since it names members of a tar."""

    width: int
    height: int
    image_name: str
    """File name in the source, or the key of a generated scene."""

    image: bytes = field(repr=False)
    """Encoded image: JPEG or PNG, upright, RGB or grayscale."""

    instances: tuple[Instance, ...]
    has_all_instances: bool = True
    """Whether ``instances`` are all objects of their categories in the image; False: at least the targets. Photographs
    as scenes hold all salient ones."""

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
                validate_box(instance.requested_box_xyxy, self.width, self.height, f"{where}, requested box")
        for query in self.queries:
            self._validate_query(query, f"sample {self.key}, query {query.query_id!r}")
        if self.priors is not None and (self.priors.ndim != 2 or len(self.priors) != len(self.queries)):
            raise SchemaError(f"sample {self.key}: priors of shape {self.priors.shape} for {len(self.queries)} queries")

    def _validate_query(self, query: Query, where: str) -> None:
        for box in query.boxes_xyxy:
            validate_box(box, self.width, self.height, where)
        if not query.text.strip():
            raise SchemaError(f"{where}: the text is empty")
        if query.instances is None:
            return
        if len(query.instances) != len(query.boxes_xyxy):
            raise SchemaError(f"{where}: {len(query.instances)} instances for {len(query.boxes_xyxy)} boxes of targets")
        for instance in query.instances:
            if not 0 <= instance < len(self.instances):
                raise SchemaError(f"{where}: instance {instance} of {len(self.instances)} does not exist")

    def count_distractors(self, query: Query) -> int | None:
        """Count the other instances of the only target's category; None if they are unknown."""
        distractors = find_distractors(self, query)
        return None if distractors is None else len(distractors)

    def to_json(self) -> dict[str, Any]:
        """Return the sample as JSON values, without the image and the priors."""
        return {
            "schema_version": SCHEMA_VERSION,
            "key": self.key,
            "width": self.width,
            "height": self.height,
            "image_name": self.image_name,
            "instances": [instance.to_json() for instance in self.instances],
            "has_all_instances": self.has_all_instances,
            "queries": [query.to_json() for query in self.queries],
        }

    @staticmethod
    def from_json(record: Mapping[str, Any], image: bytes, priors: npt.NDArray[np.float16] | None = None) -> Sample:
        """Return the sample of ``to_json``.

        Raises:
            SchemaError: for another schema version, a missing field or a broken rule.
        """
        values = dict(record)
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"sample {record.get('key')!r} has schema version {version!r}, this code reads {SCHEMA_VERSION}; "
                "make the shards again with this version"
            )
        try:
            values["instances"] = tuple(map(Instance.from_json, record["instances"]))
            values["queries"] = tuple(map(Query.from_json, record["queries"]))
            return Sample(**values, image=image, priors=priors)
        except (KeyError, TypeError) as error:
            raise SchemaError(f"sample {record.get('key')!r}: malformed record ({error!r})") from error


class AnnotatedImage(Protocol):
    """Instances of an image, and whether they are complete."""

    @property
    def instances(self) -> tuple[Instance, ...]: ...

    @property
    def has_all_instances(self) -> bool: ...


def find_distractors(sample: AnnotatedImage, query: Query) -> list[int] | None:
    """Find the other instances of the only target's category; crowds do not count.

    Returns:
        Indices in the sample's instances; None if the query has not one target, or the target, its category or some of
        its instances are unknown.
    """
    if query.instance is None or not sample.has_all_instances:
        return None
    category = sample.instances[query.instance].category
    if not category:
        return None
    return [
        i
        for i, instance in enumerate(sample.instances)
        if i != query.instance and instance.category == category and not instance.is_crowd
    ]
