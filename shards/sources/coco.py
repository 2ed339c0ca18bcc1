"""COCO's ``instances*.json``: all instances of an image, by annotation id. Boxes are xywh, 0-based."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.boxes import Box, iou
from shards.schema import Instance
from shards.sources.errors import SourceError, format_value
from shards.sources.sample import Problem, convert_xywh_to_xyxy, parse_size

MAX_ID_DIGITS = 18
SAME_OBJECT_IOU = 0.5
"""Minimum IoU of a query's box and that of its annotation; below it the two files belong to different data."""


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """Image with all its instances."""

    name: str
    size: tuple[int, int] | None
    """(width, height); None if the file does not give it."""

    instances: tuple[Instance, ...]
    position: Mapping[Any, int]
    """Index in ``instances`` by ``normalize_id`` of the annotation."""

    faults: Mapping[Any, str] = field(default_factory=dict)
    """Annotations that are left out, with the reason: they have no box, or no known category."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problem of each annotation that is left out."""
        return tuple(
            Problem(rule="bad_instance", image=self.name, num_queries=0, detail=fault) for fault in self.faults.values()
        )

    def find_instance(self, annotation_id: Any, where: str) -> int:
        """Return the index in ``instances`` of an annotation.

        Raises:
            SourceError: the image has no such annotation, or one without a box or a category; names ``where``.
        """
        number = normalize_id(annotation_id) if _is_id(annotation_id) else None
        index = self.position.get(number)
        if index is None:
            if number in self.faults:
                raise SourceError(f"{where}: the target cannot be used: {self.faults[number]}")
            raise SourceError(f"{where}: annotation {format_value(annotation_id)} is not among those of its image")
        return index

    def find_target(self, annotation_id: Any, box: Box, where: str) -> int:
        """Return the index of a query's target in ``instances``.

        Args:
            annotation_id: annotation of the target.
            box: box of the query in its own file.
            where: file and row of the query, for errors.

        Raises:
            SourceError: the image has no such annotation, or the annotation's box is another; names ``where``.
        """
        index = self.find_instance(annotation_id, where)
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
            self._images = index_by_id(coco["images"], f"{path}, images")
            categories = index_by_id(coco["categories"], f"{path}, categories")
            self._names = {number: str(category["name"]).lower() for number, category in categories.items()}
            self._by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
            self._image_by_annotation: dict[Any, Any] = {}
            for number, annotation in index_by_id(coco["annotations"], f"{path}, annotations").items():
                image_id = normalize_id(annotation["image_id"])
                self._by_image[image_id].append(annotation)
                self._image_by_annotation[number] = image_id
            for image in self._images.values():
                _ = str(image["file_name"])
        except (KeyError, TypeError) as error:
            raise SourceError(f"{path} is not a COCO instances file ({error!r}); get it again") from error

    def get_image(self, image_id: Any, where: str) -> CocoImage:
        """Return an image by its id.

        Raises:
            SourceError: the file has no such image; names ``where``.
        """
        if not _is_id(image_id) or normalize_id(image_id) not in self._images:
            raise SourceError(f"{where}: image {format_value(image_id)} is not in {self.path}")
        image = self._images[normalize_id(image_id)]
        name = str(image["file_name"])
        instances: dict[Any, Instance] = {}
        faults: dict[Any, str] = {}
        for annotation in self._by_image[normalize_id(image_id)]:
            number = normalize_id(annotation["id"])
            try:
                instances[number] = self._build_instance(annotation)
            except SourceError as error:  # an object that is no target does not stop the others
                faults[number] = str(error)
        sides = (image.get("width"), image.get("height"))
        return CocoImage(
            name=name,
            size=None if None in sides else parse_size(*sides, f"{self.path}, image {image_id}"),
            instances=tuple(instances.values()),
            position={number: i for i, number in enumerate(instances)},
            faults=faults,
        )

    def find_image(self, annotation_id: Any, where: str) -> CocoImage:
        """Find the image that holds an annotation.

        Raises:
            SourceError: the file has no such annotation; names ``where``.
        """
        if not _is_id(annotation_id) or normalize_id(annotation_id) not in self._image_by_annotation:
            raise SourceError(
                f"{where}: annotation {format_value(annotation_id)} is not in {self.path}; "
                "is that the instances file of these images?"
            )
        return self.get_image(self._image_by_annotation[normalize_id(annotation_id)], where)

    def __iter__(self) -> Iterator[CocoImage]:
        """Yield all images in the order of the file."""
        return (self.get_image(image_id, str(self.path)) for image_id in self._images)

    def _build_instance(self, annotation: Mapping[str, Any]) -> Instance:
        where = f"{self.path}, annotation {annotation['id']}"
        category = annotation.get("category_id")
        if not _is_id(category) or normalize_id(category) not in self._names:
            raise SourceError(f"{where}: category {format_value(category)} is not among the categories")
        return Instance(
            box_xyxy=convert_xywh_to_xyxy(annotation.get("bbox"), where),
            category=self._names[normalize_id(category)],
            is_crowd=bool(annotation.get("iscrowd", 0)),
        )


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def normalize_id(value: Any) -> Any:
    """Return a number for its text, since some exports write ids as text in one list and as numbers in another."""
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_ID_DIGITS
    return int(value) if is_number else value


def index_by_id(records: Any, where: str) -> dict[Any, Mapping[str, Any]]:
    """Return the records of a list by their ``normalize_id``.

    Raises:
        SourceError: an id occurs twice; names ``where``.
        KeyError, TypeError: a record is no object with an id.
    """
    result: dict[Any, Mapping[str, Any]] = {}
    for record in records:
        if (number := normalize_id(record["id"])) in result:
            raise SourceError(
                f"{where}: the id {format_value(record['id'])} occurs twice, but ids must be unique; if two exports "
                "were merged, number the second one's anew"
            )
        result[number] = record
    return result


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
