"""Polygons of the objects in COCO's ``instances*.json``, image by image."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.sources.coco import load_instances
from shards.sources.errors import SourceError
from shards.sources.sample import parse_size


@dataclass(frozen=True, kw_only=True)
class PolygonAnnotation:
    """Annotated object."""

    annotation_id: str
    category: str
    """Lower-case name; empty if the file has no such category."""

    is_crowd: bool
    coordinates: tuple[array[float], ...] | None = field(repr=False)
    """Polygons, x and y in turn; None if the annotation has none, such as a crowd's run lengths."""


@dataclass(frozen=True, kw_only=True)
class PolygonImage:
    """Image with all its outlined objects."""

    name: str
    size: tuple[int, int]
    """(width, height)"""

    instances: tuple[PolygonAnnotation, ...]


def read_polygon_images(path: Path) -> Iterator[PolygonImage]:
    """Read the images of an instances file in its order; a coordinate takes 8 bytes of memory.

    Raises:
        SourceError: the file is missing or malformed.
    """
    coco = load_instances(path, _pack_record)
    try:
        names = {category["id"]: str(category["name"]).lower() for category in coco["categories"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in coco["annotations"]:
            _ = (annotation["id"], annotation["category_id"])
            by_image[annotation["image_id"]].append(annotation)
        images = [(image["id"], str(image["file_name"]), image["width"], image["height"]) for image in coco["images"]]
        instances = {
            image_id: tuple(_build_annotation(annotation, names) for annotation in image_annotations)
            for image_id, image_annotations in by_image.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path} is not a COCO instances file ({error!r}); get it again") from error
    for image_id, name, width, height in images:
        size = parse_size(width, height, f"{path}, image {name}")
        yield PolygonImage(name=name, size=size, instances=instances.get(image_id, ()))


def _build_annotation(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> PolygonAnnotation:
    coordinates = annotation.get("segmentation")
    return PolygonAnnotation(
        annotation_id=str(annotation["id"]),
        category=names.get(annotation["category_id"], ""),
        is_crowd=bool(annotation.get("iscrowd", 0)),
        coordinates=coordinates if isinstance(coordinates, tuple) else None,
    )


def _pack_record(record: dict[str, Any]) -> dict[str, Any]:
    if "segmentation" in record:
        record["segmentation"] = _pack_polygons(record["segmentation"])
    return record


def _pack_polygons(polygons: Any) -> tuple[array[float], ...] | None:
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        return None
    try:
        return tuple(array("d", polygon) for polygon in polygons)
    except (TypeError, OverflowError):
        return None
