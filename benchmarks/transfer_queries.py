"""Queries of the benchmark ``transfer``: people's queries, and generated ones about annotated photographs."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from augmentation.composers.photographs import PhotographDescription, PhotographsConfig, describe_photograph
from augmentation.queries.generator import generate_queries
from augmentation.queries.labeling import LabelConfig
from augmentation.queries.parse_check import RoundTripParser
from augmentation.relations.programs import to_json
from augmentation.relations.types import RelationType, get_relation_type
from benchmarks.attributes import CURRENT_NAMES
from benchmarks.transfer_network import InstanceImage, TargetedQuery
from shards.boxes import Box
from shards.sources.coco import CocoImage, CocoInstances
from trainer.data.spatial_words import has_position_word
from workflows.presets import coco
from workflows.study.pseudo_q import generate_pseudo_queries

DATASETS = {"RefCOCO": "refcoco", "RefCOCO+": "refcoco_plus", "RefCOCOg": "refcocog_umd"}
"""File names of the datasets, all of the split val."""

QUERIES_PER_RELATION_TYPE = 3
"""Maximum number of queries for each object and relation type."""

_KINDS = {
    "left, right": r"\b(left|right)",
    "ordinal": r"\b(\d(st|nd|rd|th)|first|second|third|fourth|fifth)\b",
    "front, back": r"\b(front|back|closest|nearest|furthest|farthest|background|foreground|behind)\b",
    "middle": r"\b(middle|mid|center|centre)\b",
    "top, bottom": r"\b(top|bottom|upper|lower)",
    "size": r"\b(big|bigger|biggest|large|larger|largest|small|smaller|smallest|tall|taller|tallest|little)\b",
    "relation": r"\b(next to|beside|near|between|above|below|under|left of|right of|behind|in front of)\b",
}
"""Pattern by kind of query; a query may be of several kinds."""

_DEPTH_WORD = re.compile(_KINDS["front, back"])
_ORDINAL_WORD = re.compile(_KINDS["ordinal"])


@dataclass(frozen=True, kw_only=True)
class PeopleQueries:
    """People's queries about images whose instances are known."""

    images: tuple[InstanceImage, ...]
    queries: tuple[TargetedQuery, ...]
    image_names: tuple[str, ...]
    """Name of each query's image."""

    groups: tuple[frozenset[str], ...]
    """Groups of each query: dataset, kinds, number of distractors, half."""


def read_people_queries(real: Path) -> PeopleQueries:
    """Read all validation queries of RefCOCO, RefCOCO+ and RefCOCOg with the annotated boxes of their categories.

    The candidates of a query are all instances known of its image: those of the categories that any query is about.
    """
    rows = [(name, row) for name, stem in DATASETS.items() for row in _read_rows(real / f"{stem}_val.joined.jsonl.gz")]
    known: dict[str, dict[tuple[Box, str], int]] = defaultdict(dict)
    for _, row in rows:
        for box in row["same_category_boxes_xywh"]:
            known[row["image"]].setdefault((_scale_box(box, row["size"]), _get_category(row)), len(known[row["image"]]))
    names = {name: number for number, name in enumerate(sorted(known))}
    images = tuple(InstanceImage(*map(tuple, zip(*known[name], strict=True))) for name in names)
    queries = tuple(
        TargetedQuery(names[row["image"]], row["query"], _find_target(images[names[row["image"]]], row))
        for _, row in rows
    )
    groups = tuple(
        _find_groups(name, row, images[query.image], query) for (name, row), query in zip(rows, queries, strict=True)
    )
    return PeopleQueries(
        images=images, queries=queries, image_names=tuple(row["image"] for _, row in rows), groups=groups
    )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _get_category(row: dict[str, Any]) -> str:
    return CURRENT_NAMES.get(row["category"], row["category"])


def _scale_box(xywh: Sequence[float], size: Sequence[int]) -> Box:
    """Return xyxy as shares of the image."""
    (x, y, box_width, box_height), (width, height) = xywh, size
    return (x / width, y / height, (x + box_width) / width, (y + box_height) / height)


def _find_target(image: InstanceImage, row: dict[str, Any]) -> int:
    """Return the index of the instance of the query's category with its box, which is rounded."""
    box, category = _scale_box(row["bbox_xywh"], row["size"]), _get_category(row)
    return min(
        (i for i, name in enumerate(image.categories) if name == category),
        key=lambda i: max(abs(a - b) for a, b in zip(image.boxes[i], box, strict=True)),
    )


def _find_groups(dataset: str, row: dict[str, Any], image: InstanceImage, query: TargetedQuery) -> frozenset[str]:
    distractors = image.categories.count(image.categories[query.target]) - 1
    text = query.text.lower()
    is_positional = has_position_word(text) or bool(_DEPTH_WORD.search(text) or _ORDINAL_WORD.search(text))
    few = "1 distractor" if distractors <= 1 else "2-3 distractors" if distractors <= 3 else "4+ distractors"
    is_even = hashlib.sha256(row["image"].encode()).digest()[-1] % 2 == 0
    return frozenset(
        {
            dataset,
            "positional" if is_positional else "other",
            few,
            "choosing half" if is_even else "reporting half",
            *(kind for kind, pattern in _KINDS.items() if re.search(pattern, text)),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Annotated photographs, and queries about them."""

    annotated: tuple[CocoImage, ...]
    images: tuple[InstanceImage, ...]
    """The same as boxes and categories, in the same order."""

    @staticmethod
    def read(path: Path, max_photographs: int | None = None) -> Photographs:
        """Read an instances file, or its first photographs."""
        annotated = tuple(islice((image for image in CocoInstances(path) if image.instances), max_photographs))
        return Photographs(annotated=annotated, images=tuple(map(_convert_image, annotated)))

    def name_categories(self, limits: PhotographsConfig) -> list[TargetedQuery]:
        """Return the category's name for each salient object."""
        return self._collect(
            limits, lambda described, _: [(obj.category, i) for i, obj in enumerate(described.scene.objects)]
        )

    def apply_rules(self, limits: PhotographsConfig) -> list[TargetedQuery]:
        """Return the queries by Pseudo-Q's rules for the salient objects."""

        def apply(described: PhotographDescription, _: int) -> list[tuple[str, int]]:
            names = sorted({obj.category for obj in described.scene.objects})
            return [query for name in names for query in generate_pseudo_queries(described.scene, name)]

        return self._collect(limits, apply)

    def verify_programs(
        self, limits: PhotographsConfig, style: str = "refcoco", per_relation_type: int = QUERIES_PER_RELATION_TYPE
    ) -> dict[RelationType, list[TargetedQuery]]:
        """Return the verified queries of the composer ``photographs`` by relation type, also of excluded types."""
        vocabulary = coco.vocabulary()
        realizer = LabelConfig(style=style).make_realizer(vocabulary.categories, vocabulary.nouns)
        parser, types = RoundTripParser(nouns=realizer.nouns), list[RelationType]()

        def verify(described: PhotographDescription, number: int) -> list[tuple[str, int]]:
            verified = [
                query
                for name in described.categories
                for query in generate_queries(
                    described.scene,
                    name,
                    realizer,
                    per_relation_type,
                    number,
                    accepts=parser.is_consistent,
                )
            ]
            types.extend(get_relation_type(to_json(query.program)) for query in verified)
            return [(query.text, query.target) for query in verified]

        by_type = defaultdict[RelationType, list[TargetedQuery]](list)
        for query, relation_type in zip(self._collect(limits, verify), types, strict=True):
            by_type[relation_type].append(query)
        return by_type

    def _collect(
        self, limits: PhotographsConfig, generate: Callable[[PhotographDescription, int], list[tuple[str, int]]]
    ) -> list[TargetedQuery]:
        queries = list[TargetedQuery]()
        for number, image in enumerate(self.annotated):
            assert image.size is not None
            described = describe_photograph(image.instances, image.size, limits)
            targets = [image.instances.index(one) for one in described.instances]
            queries += [TargetedQuery(number, text, targets[i]) for text, i in generate(described, number)]
        return queries


def _convert_image(image: CocoImage) -> InstanceImage:
    assert image.size is not None
    width, height = image.size
    boxes = (
        (x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in (o.box_xyxy for o in image.instances)
    )
    return InstanceImage(tuple(boxes), tuple(one.category for one in image.instances))
