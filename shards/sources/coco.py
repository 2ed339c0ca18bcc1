"""COCO's ``instances*.json``: every annotated object of an image, by the annotation's id. Boxes are xywh, 0-based."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.boxes import Box, iou
from shards.schema import Instance
from shards.sources.errors import SourceError, format_value
from shards.sources.sample import parse_size, xywh_to_xyxy

SAME_OBJECT_IOU = 0.5
"""A query's box must overlap that of its annotation so much; else the two files are of different data."""


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """One image and all that is annotated in it."""

    name: str
    size: tuple[int, int]
    """(width, height)"""

    instances: tuple[Instance, ...]
    position: Mapping[Any, int]
    """Annotation id to index in ``instances``."""

    def target(self, annotation_id: Any, box: Box, where: str) -> int:
        """The index of a query's target in ``instances``.

        Args:
            box: as the query's own file says.

        Raises:
            SourceError: the image has no such annotation, or its box is another; names ``where``.
        """
        if not _is_id(annotation_id) or annotation_id not in self.position:
            raise SourceError(f"{where}: annotation {format_value(annotation_id)} is not among those of its image")
        index = self.position[annotation_id]
        annotated_box = self.instances[index].box_xyxy
        if iou(box, annotated_box) < SAME_OBJECT_IOU:
            raise SourceError(f"{where}: the box {box} is not that of its annotation, {annotated_box}")
        return index


class CocoInstances:
    """The images of one instances file.

    Args:
        path: such as ``instances_train2014.json``.

    Raises:
        SourceError: the file is missing or not what it should be; names the annotation and the rule.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        coco = _load(path)
        try:
            self._images = {image["id"]: image for image in coco["images"]}
            self._names = {category["id"]: str(category["name"]).lower() for category in coco["categories"]}
            self._by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
            self._image_by_annotation: dict[Any, Any] = {}
            for annotation in coco["annotations"]:
                _ = (annotation["category_id"], annotation["bbox"])
                self._by_image[annotation["image_id"]].append(annotation)
                self._image_by_annotation[annotation["id"]] = annotation["image_id"]
            for image in self._images.values():
                _ = (str(image["file_name"]), image["width"], image["height"])
        except (KeyError, TypeError) as error:
            raise SourceError(f"{path} is not a COCO instances file ({error!r}); get it again") from error

    def image(self, image_id: Any, where: str) -> CocoImage:
        """An image by its id.

        Raises:
            SourceError: it is not in the file; names ``where``.
        """
        if not _is_id(image_id) or image_id not in self._images:
            raise SourceError(f"{where}: image {format_value(image_id)} is not in {self.path}")
        image = self._images[image_id]
        annotations = self._by_image[image_id]
        return CocoImage(
            name=str(image["file_name"]),
            size=parse_size(image["width"], image["height"], f"{self.path}, image {image_id}"),
            instances=tuple(map(self._build_instance, annotations)),
            position={annotation["id"]: i for i, annotation in enumerate(annotations)},
        )

    def find_image(self, annotation_id: Any, where: str) -> CocoImage:
        """The image that holds an annotation.

        Raises:
            SourceError: the annotation is not in the file; names ``where``.
        """
        if not _is_id(annotation_id) or annotation_id not in self._image_by_annotation:
            raise SourceError(
                f"{where}: annotation {format_value(annotation_id)} is not in {self.path}; "
                "is that the instances file of these images?"
            )
        return self.image(self._image_by_annotation[annotation_id], where)

    def __iter__(self) -> Iterator[CocoImage]:
        """All images, in the order of the file.

        Raises:
            SourceError: one of them is annotated with an unknown category or something else than a box.
        """
        return (self.image(image_id, str(self.path)) for image_id in self._images)

    def _build_instance(self, annotation: Mapping[str, Any]) -> Instance:
        where = f"{self.path}, annotation {annotation['id']}"
        category = annotation["category_id"]
        if not _is_id(category) or category not in self._names:
            raise SourceError(f"{where}: category {format_value(category)} is not among the categories")
        return Instance(
            box_xyxy=xywh_to_xyxy(annotation["bbox"], where),
            category=self._names[category],
            is_crowd=bool(annotation.get("iscrowd", 0)),
        )


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _load(path: Path) -> Any:
    """Without polygons, which are nine tenths of the file and would take gigabytes."""
    if not path.is_file():
        raise SourceError(f"{path} does not exist; it is COCO's file of all instances, get it beside the annotations")
    try:
        return json.loads(path.read_bytes(), object_hook=_drop_polygon)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not a COCO instances file ({error}); get it again") from error


def _drop_polygon(record: dict[str, Any]) -> dict[str, Any]:
    record.pop("segmentation", None)
    return record
