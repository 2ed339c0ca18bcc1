"""Captions with boxes in COCO's JSON, as MDETR, GLIP and Grounding DINO are trained on.

An entry of ``images`` is an image *with a caption*: an image of five captions has five entries. Boxes are xywh, and
``tokens_positive`` gives the characters of the caption that a box belongs to. In entries whose ``dataset_name`` is
``flickr`` or ``mixed``, each such phrase is a query. In all others the caption is the query, and the characters only
mark its head noun. MDETR's Flickr boxes count from 1 and stop short of the last pixel. An annotation with ``"empty":
true``, as gRefCOCO's authors write it, says that the query has no target.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.schema import Query
from shards.sources.coco import CocoImage, CocoInstances, index_by_id, normalize_id
from shards.sources.errors import SourceError
from shards.sources.files import infer_splits, list_files
from shards.sources.sample import (
    Problem,
    SourceSample,
    convert_xywh_to_xyxy,
    make_image_key,
    parse_size,
    strip_annotation_id,
)

PHRASE_DATASETS = ("flickr", "mixed")
"""Values of ``dataset_name`` with captions of several phrases, each a query."""


def read_grounding(path: Path, dataset: str, split: str, instances: Path | None = None) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, in the order of the files.

    Args:
        path: .json file, or a folder of them.
        dataset: name for keys and queries.
        split: split of a file whose name has none.
        instances: COCO's instances file, joined by the ``original_id`` of annotations.

    Raises:
        SourceError: naming the file, the entry and the rule.
    """
    coco = CocoInstances(instances) if instances else None
    for file, part in infer_splits(list_files(path, ".json"), split).items():
        yield from _read_file(file, dataset, part, coco)


def _read_file(path: Path, dataset: str, split: str, coco: CocoInstances | None) -> Iterator[SourceSample]:
    images, annotations = _load(path)
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for image in images:
        grouped[strip_annotation_id(image["file_name"])].append(image)
    for name, entries in grouped.items():
        first = entries[0]
        coco_image = _find_coco_image(coco, entries, annotations, path)
        yield SourceSample(
            key=make_image_key(dataset, name, split),
            split=split,
            image_name=name,
            size=parse_size(first["width"], first["height"], f"{path}, image {first['id']}"),
            instances=coco_image.instances if coco_image else (),
            queries=tuple(
                query
                for entry in entries
                for query in _build_queries(
                    entry, annotations.get(normalize_id(entry["id"]), []), coco_image, dataset, split, path
                )
            ),
            problems=(
                *(coco_image.problems if coco_image else ()),
                *(
                    Problem(rule="no_box", image=name, num_queries=1, detail=entry["caption"])
                    for entry in entries
                    if normalize_id(entry["id"]) not in annotations
                ),
            ),
        )


def _load(path: Path) -> tuple[list[Mapping[str, Any]], Mapping[Any, list[Mapping[str, Any]]]]:
    """Load the entries, and the annotations by ``normalize_id`` of their image."""
    try:
        content = json.loads(path.read_bytes())
        images: list[Mapping[str, Any]] = list(content["images"])
        annotations: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        index_by_id(images, f"{path}, images")
        for annotation in index_by_id(content["annotations"], f"{path}, annotations").values():
            _ = annotation["bbox"]
            annotations[normalize_id(annotation["image_id"])].append(annotation)
        for number, image in enumerate(images):
            _ = (image["width"], image["height"])
            if not isinstance(image["file_name"], str) or not isinstance(image["caption"], str):
                raise SourceError(f"{path}, image {number}: file_name and caption must be text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{path} is not COCO's JSON with captions ({error!r}); is it MDETR's format?") from error
    return images, annotations


def _find_coco_image(
    coco: CocoInstances | None,
    entries: list[Mapping[str, Any]],
    annotations: Mapping[Any, list[Mapping[str, Any]]],
    path: Path,
) -> CocoImage | None:
    of_entries = (a for entry in entries for a in annotations.get(normalize_id(entry["id"]), []))
    first = next((a for a in of_entries if a.get("empty") is not True), None)
    if coco is None or first is None:
        return None
    return coco.find_image(first.get("original_id"), f"{path}, annotation {first['id']}")


def _build_queries(
    entry: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    coco_image: CocoImage | None,
    dataset: str,
    split: str,
    path: Path,
) -> Iterator[Query]:
    caption, kind = entry["caption"], entry.get("dataset_name")
    boxes_by_span: dict[tuple[int, int], list[tuple[Box, int | None]]] = defaultdict(list)
    for annotation in annotations:
        where = f"{path}, annotation {annotation['id']}"
        if annotation.get("empty") is True:
            if len(annotations) > 1:
                raise SourceError(f"{where}: empty means no target, but image {entry['id']} has further annotations")
            yield Query(
                query_id=f"{dataset}-{split}-{entry['id']}-0",
                text=caption,
                boxes_xyxy=(),
                split=split,
                source=dataset,
                instances=(),
            )
            return
        box = convert_xywh_to_xyxy(annotation["bbox"], where)
        if kind == "flickr":
            box = (box[0] - 1, box[1] - 1, box[2], box[3])
        target = coco_image.find_target(annotation.get("original_id"), box, where) if coco_image else None
        for span in _read_spans(annotation, caption, where) if kind in PHRASE_DATASETS else [(0, len(caption))]:
            boxes_by_span[span].append((box, target))
    for number, (span, boxes_and_targets) in enumerate(sorted(boxes_by_span.items(), key=lambda item: item[0])):
        targets = tuple(target for _, target in boxes_and_targets if target is not None)
        yield Query(
            query_id=f"{dataset}-{split}-{entry['id']}-{number}",
            text=caption[span[0] : span[1]],
            boxes_xyxy=tuple(box for box, _ in boxes_and_targets),
            split=split,
            source=dataset,
            instances=targets if coco_image else None,
        )


def _read_spans(annotation: Mapping[str, Any], caption: str, where: str) -> list[tuple[int, int]]:
    """Read the phrases of a box; pieces with only a space between them are joined."""
    spans: list[tuple[int, int]] = []
    try:
        for start, end in sorted((int(start), int(end)) for start, end in annotation["tokens_positive"]):
            if not 0 <= start < end <= len(caption):
                raise ValueError(f"({start}, {end}) of {len(caption)} characters")
            if spans and not caption[spans[-1][1] : start].strip() and start >= spans[-1][1]:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{where}: tokens_positive is a list of pieces of the caption ({error})") from error
    return spans
