"""ODVG, the JSON lines of Grounding DINO and MM-Grounding-DINO: one image a line.

    {"filename": "a.jpg", "height": 480, "width": 640,
     "grounding": {"caption": "a man with two dogs", "regions": [{"bbox": [1, 2, 30, 40], "phrase": "a man"},
                                                                 {"bbox": [[...], [...]], "phrase": "two dogs"}]}}
    {"filename": ..., "referring": [{"bbox": [1, 2, 30, 40], "phrase": ["man on the left", "the left man"]}]}
    {"filename": ..., "detection": {"instances": [{"bbox": [1, 2, 30, 40], "label": 0, "category": "person"}]}}

Boxes are xyxy in pixels, 0-based. Every phrase is a query; regions with the same phrase of a caption are its targets. A
line's ``detection`` gives the instances of its image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.schema import Instance, Query
from shards.sources.errors import SourceError, format_value
from shards.sources.files import infer_splits, list_files, read_json_lines
from shards.sources.sample import SourceSample, make_image_key, parse_box, parse_size, strip_annotation_id


def read_odvg(path: Path, dataset: str, split: str) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, in the order of the files' lines.

    Args:
        path: .jsonl file, or a folder of them.
        dataset: name for keys and queries.
        split: split of a file whose name has none.

    Raises:
        SourceError: naming the file, the line and the rule.
    """
    for file, part in infer_splits(list_files(path, ".jsonl"), split).items():
        grouped: dict[str, list[tuple[str, str, dict[str, Any]]]] = defaultdict(list)
        for where, number, line in read_json_lines(file):
            if not isinstance(line.get("filename"), str):
                raise SourceError(f"{where}: a line needs a filename, got {format_value(line)}")
            grouped[strip_annotation_id(line["filename"])].append((where, number, line))
        for image, lines in grouped.items():
            yield _build_sample(image, lines, part, dataset)


def _build_sample(image: str, lines: list[tuple[str, str, dict[str, Any]]], split: str, dataset: str) -> SourceSample:
    where, _, first = lines[0]
    instances = tuple(instance for where, _, line in lines for instance in _read_instances(line, where))
    queries = []
    for where, number, line in lines:
        for i, (text, boxes) in enumerate(_read_queries(line, where)):
            same = [next((n for n, one in enumerate(instances) if one.box_xyxy == box), None) for box in boxes]
            queries.append(
                Query(
                    query_id=f"{dataset}-{split}-{number}-{i}",
                    text=text,
                    boxes_xyxy=tuple(boxes),
                    split=split,
                    source=dataset,
                    instances=None if None in same else tuple(n for n in same if n is not None),
                )
            )
    return SourceSample(
        key=make_image_key(dataset, image, split),
        split=split,
        image_name=image,
        instances=instances,
        queries=tuple(queries),
        size=parse_size(first.get("width"), first.get("height"), where),
    )


def _read_instances(line: Mapping[str, Any], where: str) -> Iterator[Instance]:
    for entry in _get_entries(line.get("detection"), "instances", where):
        category = entry.get("category")
        if not isinstance(category, str):
            raise SourceError(f"{where}: an instance needs the name of its category, got {format_value(entry)}")
        yield Instance(box_xyxy=parse_box(entry.get("bbox"), where), category=category.strip().lower())


def _read_queries(line: Mapping[str, Any], where: str) -> list[tuple[str, list[Box]]]:
    """Return text and boxes of each query: regions with one phrase, at one place of the caption, are its targets."""
    in_caption = _get_entries(line.get("grounding"), "regions", where)
    places = [str(region.get("tokens_positive")) for region in in_caption]
    expressions = _get_entries(line, "referring", where)
    places += [f"referring {number}" for number in range(len(expressions))]
    queries: dict[tuple[str, str], list[Box]] = defaultdict(list)
    for region, place in zip(in_caption + expressions, places, strict=True):
        phrase, boxes = region.get("phrase"), region.get("bbox")
        phrases = phrase if isinstance(phrase, list) else [phrase]
        texts = [text for text in phrases if isinstance(text, str)]
        if not texts or len(texts) < len(phrases) or not isinstance(boxes, list) or not boxes:
            raise SourceError(f"{where}: a region has a phrase and a bbox, got {format_value(region)}")
        several = boxes if isinstance(boxes[0], list) else [boxes]
        parsed_boxes = [parse_box(box, where) for box in several]
        for text in texts:
            queries[text, place] += parsed_boxes
    return [(text, boxes) for (text, _), boxes in queries.items()]


def _get_entries(holder: Any, name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the list of objects under a name; empty if there is none."""
    if holder is None:
        return []
    if not isinstance(holder, dict):
        raise SourceError(f"{where}: {name} must be in an object, got {format_value(holder)}")
    entries = holder.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(f"{where}: {name} is a list of objects, got {format_value(entries)}")
    return entries
