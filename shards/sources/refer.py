"""The REFER layout of RefCOCO, RefCOCO+ and RefCOCOg: ``refs(<split by>).p`` beside COCO's ``instances.json``.

All instances of an image are kept, not only the targets. The image's name comes from ``instances.json``: the one in
``refs`` carries the annotation's number. Boxes there are xywh, 0-based.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.schema import Instance, Query
from shards.sources.errors import SourceError
from shards.sources.source import SourceSample, key_of, xywh_to_xyxy
from shards.sources.unpickle import read_pickle


def read_refer(folder: Path, split_by: str, dataset: str) -> Iterator[SourceSample]:
    """One sample for each image and split, ordered by image and split.

    Args:
        folder: holds ``refs(<split_by>).p`` and ``instances.json``.
        split_by: ``unc``, ``umd``, ``google``, ...
        dataset: name that keys and queries carry.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    refs_path, instances_path = folder / f"refs({split_by}).p", folder / "instances.json"
    refs = read_pickle(refs_path)
    if not isinstance(refs, list):
        raise SourceError(f"{refs_path} holds a {type(refs).__name__}, not a list of refs")
    images, annotations, names = _read_instances(instances_path)
    grouped: dict[tuple[Any, str], list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for row, ref in enumerate(refs):
        _check_ref(ref, f"{refs_path}, ref {row}")
        grouped[(ref["image_id"], ref["split"])].append((row, ref))
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in annotations.values():
        by_image[annotation["image_id"]].append(annotation)
    for (image_id, split), members in sorted(grouped.items(), key=_in_order):
        if image_id not in images:
            raise SourceError(f"{refs_path}, ref {members[0][0]}: image {image_id} is not in {instances_path}")
        image, present = images[image_id], by_image[image_id]
        position = {annotation["id"]: i for i, annotation in enumerate(present)}
        yield SourceSample(
            key=key_of(dataset, image_id, split),
            split=split,
            image_name=str(image["file_name"]),
            size=(int(image["width"]), int(image["height"])),
            instances=tuple(_instance(annotation, names, instances_path) for annotation in present),
            queries=tuple(
                query
                for row, ref in members
                for query in _queries(ref, position, present, dataset, f"{refs_path}, ref {row}")
            ),
        )


def _in_order(entry: tuple[tuple[Any, str], object]) -> tuple[str, str]:
    """By image, numbers in their numerical order, then by split."""
    (image_id, split), _ = entry
    return (str(image_id).zfill(12), split)


def _read_instances(path: Path) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, str]]:
    """(images, annotations, category names) by id."""
    if not path.is_file():
        raise SourceError(f"{path} does not exist; REFER's data sets come with COCO's instances.json beside the refs")
    try:
        coco = json.loads(path.read_bytes())
        images = {image["id"]: image for image in coco["images"]}
        annotations = {annotation["id"]: annotation for annotation in coco["annotations"]}
        names = {category["id"]: str(category["name"]).lower() for category in coco["categories"]}
        for image in images.values():
            _ = (image["file_name"], int(image["width"]), int(image["height"]))
        for annotation in annotations.values():
            _ = (annotation["image_id"], annotation["category_id"], annotation["bbox"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{path} is not a COCO instances file ({error!r}); fetch it again") from error
    return images, annotations, names


def _check_ref(ref: Any, where: str) -> None:
    needed = ("ref_id", "ann_id", "image_id", "split", "sentences")
    if not isinstance(ref, dict) or any(name not in ref for name in needed):
        raise SourceError(f"{where}: a ref needs {', '.join(needed)}; got {str(ref)[:80]}")
    if not isinstance(ref["split"], str) or not isinstance(ref["sentences"], list):
        raise SourceError(f"{where}: split must be a string and sentences a list")


def _instance(annotation: Mapping[str, Any], names: Mapping[Any, str], path: Path) -> Instance:
    where = f"{path}, annotation {annotation['id']}"
    if annotation["category_id"] not in names:
        raise SourceError(f"{where}: category {annotation['category_id']} is not among the categories")
    return Instance(
        box_xyxy=xywh_to_xyxy(annotation["bbox"], where),
        category=names[annotation["category_id"]],
        is_crowd=bool(annotation.get("iscrowd", 0)),
    )


def _queries(
    ref: Mapping[str, Any], position: Mapping[Any, int], present: list[Mapping[str, Any]], dataset: str, where: str
) -> list[Query]:
    if ref["ann_id"] not in position:
        raise SourceError(f"{where}: annotation {ref['ann_id']} is not among those of image {ref['image_id']}")
    target = position[ref["ann_id"]]
    box = xywh_to_xyxy(present[target]["bbox"], where)
    queries = []
    for i, sentence in enumerate(ref["sentences"]):
        if not isinstance(sentence, dict) or not isinstance(sentence.get("sent"), str):
            raise SourceError(f"{where}: sentence {i} has no text in 'sent'")
        fallback = f"{ref['ref_id']}-{i}"
        queries.append(
            Query(
                query_id=f"{dataset}-{sentence.get('sent_id', fallback)}",
                text=sentence["sent"],
                box_xyxy=box,
                split=ref["split"],
                source=dataset,
                instance=target,
            )
        )
    return queries
