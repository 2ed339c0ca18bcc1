"""COCO's ``instances*.json``: all instances of an image, by annotation id. Boxes are xywh, 0-based."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.boxes import Box, iou
from shards.schema import Instance
from shards.sources.errors import SourceError, format_value
from shards.sources.sample import convert_xywh_to_xyxy, parse_size

SAME_OBJECT_IOU = 0.5
"""Minimum IoU of a query's box and that of its annotation; below it the two files belong to different data."""


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """Image with all its instances."""

    name: str
    size: tuple[int, int]
    """(width, height)"""

    instances: tuple[Instance, ...]
    position: Mapping[Any, int]
    """Index in ``instances`` by annotation id."""

    def find_target(self, annotation_id: Any, box: Box, where: str) -> int:
        """Return the index of a query's target in ``instances``.

        Args:
            annotation_id: annotation of the target.
            box: box of the query in its own file.
            where: file and row of the query, for errors.

        Raises:
            SourceError: the image has no such annotation, or the annotation's box is another; names ``where``.
        """
        if not _is_id(annotation_id) or annotation_id not in self.position:
            raise SourceError(f"{where}: annotation {format_value(annotation_id)} is not among those of its image")
        index = self.position[annotation_id]
        annotated_box = self.instances[index].box_xyxy
        if iou(box, annotated_box) < SAME_OBJECT_IOU:
            raise SourceError(f"{where}: the box {box} is not that of its annotation, {annotated_box}")
        return index


class CocoInstances:
    """Index of the images in an instances file.

    Args:
        path: file such as ``instances_train2014.json``.

    Raises:
        SourceError: the file is missing or malformed; names the annotation and the rule.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        coco = load_instances(path, _drop_polygon)
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

    def get_image(self, image_id: Any, where: str) -> CocoImage:
        """Return an image by its id.

        Raises:
            SourceError: the file has no such image; names ``where``.
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
        """Find the image that holds an annotation.

        Raises:
            SourceError: the file has no such annotation; names ``where``.
        """
        if not _is_id(annotation_id) or annotation_id not in self._image_by_annotation:
            raise SourceError(
                f"{where}: annotation {format_value(annotation_id)} is not in {self.path}; "
                "is that the instances file of these images?"
            )
        return self.get_image(self._image_by_annotation[annotation_id], where)

    def __iter__(self) -> Iterator[CocoImage]:
        """Yield all images in the order of the file.

        Raises:
            SourceError: an annotation has an unknown category or no box.
        """
        return (self.get_image(image_id, str(self.path)) for image_id in self._images)

    def _build_instance(self, annotation: Mapping[str, Any]) -> Instance:
        where = f"{self.path}, annotation {annotation['id']}"
        category = annotation["category_id"]
        if not _is_id(category) or category not in self._names:
            raise SourceError(f"{where}: category {format_value(category)} is not among the categories")
        return Instance(
            box_xyxy=convert_xywh_to_xyxy(annotation["bbox"], where),
            category=self._names[category],
            is_crowd=bool(annotation.get("iscrowd", 0)),
        )


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def load_instances(path: Path, object_hook: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Load an instances file; the hook drops or packs each polygon, since lists of them would take gigabytes.

    Raises:
        SourceError: the file is missing or no JSON.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; it is COCO's file of all instances, get it with the annotations")
    try:
        return json.loads(path.read_bytes(), object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not a COCO instances file ({error}); get it again") from error


def _drop_polygon(record: dict[str, Any]) -> dict[str, Any]:
    record.pop("segmentation", None)
    return record
