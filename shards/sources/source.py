"""What every reader of annotations yields: one image with its queries, before the photograph has been looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shards.schema import Box, Instance, Query
from shards.sources.errors import SourceError


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

    def to_payload(self) -> dict[str, Any]:
        """JSON values, for a plan."""
        return asdict(self)

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> SourceSample:
        """The inverse of ``to_payload``."""
        return SourceSample(
            key=payload["key"],
            split=payload["split"],
            image_name=payload["image_name"],
            instances=tuple(Instance(**_with_box(record)) for record in payload["instances"]),
            queries=tuple(Query(**_with_box(record)) for record in payload["queries"]),
            size=None if payload["size"] is None else (payload["size"][0], payload["size"][1]),
        )


def _with_box(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, "box_xyxy": tuple(record["box_xyxy"])}


def key_of(*parts: object) -> str:
    """A sample's key from names of the source, with everything but letters, digits, _ and - replaced by _."""
    return "-".join(re.sub(r"[^A-Za-z0-9_-]+", "_", str(part)) for part in parts)


def xywh_to_xyxy(values: Any, where: str) -> Box:
    """COCO's (x, y, width, height), 0-based, to xyxy with exclusive right and bottom: x2 = x + width.

    Raises:
        SourceError: the values are not four numbers; names ``where``.
    """
    x, y, width, height = four_numbers(values, where)
    return (x, y, x + width, y + height)


def four_numbers(values: Any, where: str) -> Box:
    """Four numbers as floats.

    Raises:
        SourceError: naming ``where`` and the values.
    """
    try:
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{where}: a box is four numbers, got {str(values)[:80]!r}") from error
    return (a, b, c, d)
