"""Predictions of any model, from a file, compared with the ground truth of a run of samples.

A row names its query by ``query_id``, or by ``image`` and ``query``, and its box by ``box``, ``bbox`` or ``boxes`` (the
first counts), or in the text of an answer (``answer``, ``response``, ``prediction`` or ``text``):

    {"query_id": "refcoco-123", "box": [10, 20, 60, 90], "score": 0.8}
    {"image": "kitchen.jpg", "query": "left cup", "answer": "[{\"bbox_2d\": [10, 20, 60, 90]}]"}
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from shards.boxes import Box, compute_area_px, iou
from shards.exports.conversations import MAX_PIXELS, MIN_PIXELS, get_qwen25_size
from shards.schema import Query, Sample
from shards.sources.errors import format_value
from shards.sources.files import read_csv, read_json_lines
from trainer.evaluation.metrics import PredictionRecord
from workflows.cli.console import UserError

BoxScale = Literal["pixels", "fractions", "thousandths", "llava", "qwen2.5-vl"]
"""Unit of predicted boxes: pixels of the image, fractions or thousandths of its sides, fractions of the image padded to
a square, or pixels of the image as Qwen2.5-VL resizes it."""

NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)
"""Box of a query without an answer, or with one that has no area; it is always wrong."""

MIN_BOXES = 4
"""Minimum number of boxes that show a wrong scale."""

MAX_OUTSIDE_SHARE = 0.05
"""Maximum share of boxes that reach more than a twentieth outside their images; more show a wrong scale."""

_BOX_FIELDS = ("box_xyxy", "box", "bbox", "bbox_2d", "boxes")
_TEXT_FIELDS = ("answer", "response", "prediction", "text")
_NUMBER = r"\s*(-?\d+(?:\.\d*)?)\s*"
_TEXT_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER}(?:\),\s*\(|,){_NUMBER},{_NUMBER}[\])]")
_LOCATIONS = re.compile(r"<loc_(\d+)>" * 4)


@dataclass(frozen=True, kw_only=True)
class ParsedBox:
    """A predicted box as it is written."""

    numbers: Box
    is_location: bool = False
    """Flag of location tokens, which are thousandths whatever the scale of the other boxes."""


@dataclass(kw_only=True)
class ExternalPredictions:
    """Predictions joined with the ground truth, and what could not be used."""

    records: list[PredictionRecord] = field(default_factory=list)
    """A prediction for every query with a target; a query without an answer has the box ``NO_BOX``."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    """Rows that were not used, and queries without an answer or a target; each with its rule."""

    def count_problems(self) -> Counter[str]:
        """Count the problems by rule."""
        return Counter(problem["rule"] for problem in self.problems)


@dataclass(frozen=True, kw_only=True)
class _Row:
    box: ParsedBox
    score: float | None


class _Matcher:
    """Finds the queries that a row answers."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._ids: dict[str, list[str]] = defaultdict(list)
        self._names: dict[tuple[str, str], set[str]] = defaultdict(set)
        for sample in samples:
            image = sample.image_name.replace("\\", "/")
            for query in sample.queries:
                self._ids[query.query_id].append(query.query_id)
                for name in (image, PurePosixPath(image).name, sample.key):
                    self._names[name, _simplify(query.text)].add(query.query_id)

    def find(self, row: Mapping[str, Any]) -> list[str]:
        """Return the ids of the queries of this name, or with this text about this image."""
        name = row.get("query_id", row.get("id"))
        if str(name) in self._ids:
            return [str(name)]
        image, text = _find_image(row), _find_query(row)
        if image is None or text is None:
            return []
        path = PurePosixPath(image.replace("\\", "/"))
        found = (self._names.get((name, _simplify(text))) for name in (str(path), path.name, path.stem))
        return sorted(next((ids for ids in found if ids), ()))


def _simplify(text: str) -> str:
    return " ".join(text.casefold().split())


def _find_image(row: Mapping[str, Any]) -> str | None:
    """Return the name of a row's image; ms-swift writes a list of names, or of objects with a path."""
    image = row.get("image")
    images = row.get("images")
    if image is None and isinstance(images, list) and images:
        image = images[0].get("path") if isinstance(images[0], dict) else images[0]
    return image if isinstance(image, str) else None


def _find_query(row: Mapping[str, Any]) -> str | None:
    """Return the query of a row; ms-swift writes it in ``objects``."""
    query, objects = row.get("query"), row.get("objects")
    if query is None and isinstance(objects, dict) and isinstance(objects.get("ref"), list) and objects["ref"]:
        query = objects["ref"][0]
    return query if isinstance(query, str) else None


def parse_box(row: Mapping[str, Any]) -> ParsedBox | None:
    """Return the first box of a row, None if there is none."""
    for name in _BOX_FIELDS:
        values = row.get(name)
        while isinstance(values, list) and values and isinstance(values[0], list):
            values = values[0]
        if isinstance(values, list) and (numbers := _to_numbers(values)):
            return ParsedBox(numbers=numbers)
        if isinstance(values, str) and (parsed := parse_text_box(values)):
            return parsed
    for name in _TEXT_FIELDS:
        if isinstance(row.get(name), str) and (parsed := parse_text_box(row[name])):
            return parsed
    return None


def parse_text_box(text: str) -> ParsedBox | None:
    """Return the first box in the text of an answer: four numbers in brackets, two points, or location tokens."""
    if found := _LOCATIONS.search(text):
        x1, y1, x2, y2 = (float(number) + 0.5 for number in found.groups())
        return ParsedBox(numbers=(x1, y1, x2, y2), is_location=True)
    found = _TEXT_BOX.search(text)
    numbers = _to_numbers(found.groups()) if found else None
    return ParsedBox(numbers=numbers) if numbers else None


def _to_numbers(values: Iterable[Any]) -> Box | None:
    try:
        x1, y1, x2, y2 = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return (x1, y1, x2, y2) if all(map(math.isfinite, (x1, y1, x2, y2))) else None


@dataclass(frozen=True, kw_only=True)
class BoxReading:
    """How predicted boxes are to be read."""

    scale: BoxScale = "pixels"
    """Unit of the numbers."""

    min_pixels: int = MIN_PIXELS
    """Minimum pixels of an image in Qwen2.5-VL's processor."""

    max_pixels: int = MAX_PIXELS
    """Maximum pixels of an image in that processor."""

    def convert(self, box: ParsedBox, sample: Sample) -> Box:
        """Convert a box to xyxy in pixels of the image, clipped to it; ``NO_BOX`` if nothing of it is left."""
        scale: BoxScale = "thousandths" if box.is_location else self.scale
        width, height = float(sample.width), float(sample.height)
        factors, offsets = (1.0, 1.0), (0.0, 0.0)
        if scale == "fractions":
            factors = (width, height)
        elif scale == "thousandths":
            factors = (width / 1000, height / 1000)
        elif scale == "llava":
            side = max(width, height)
            factors, offsets = (side, side), ((side - width) // 2, (side - height) // 2)
        elif scale == "qwen2.5-vl":
            resized = get_qwen25_size(sample.width, sample.height, self.min_pixels, self.max_pixels)
            factors = (width / resized[0], height / resized[1])
        x1, y1, x2, y2 = (
            min(max(value * factor - offset, 0.0), limit)
            for value, factor, offset, limit in zip(
                box.numbers, factors * 2, offsets * 2, (width, height) * 2, strict=True
            )
        )
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else NO_BOX


def read_external_predictions(path: Path, samples: Iterable[Sample], reading: BoxReading) -> ExternalPredictions:
    """Read predictions and join them with the queries of samples.

    Args:
        path: .jsonl or .json file, or .csv or .tsv.
        samples: samples of the splits to evaluate.
        reading: how the boxes are to be read.

    Raises:
        SourceError: the file is damaged; names the line.
        UserError: no row answers any query, or all boxes are of another scale.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; pass a file of predictions")
    all_samples = [replace(sample, image=b"", priors=None) for sample in samples]  # small enough for the memory
    result = ExternalPredictions()
    rows = _match_rows(path, _Matcher(all_samples), result)
    if not rows:
        counts = ", ".join(f"{count:,} {rule}" for rule, count in result.count_problems().items()) or "it has no rows"
        raise UserError(
            f"{path} answers no query of this dataset ({counts}); give the query_id of predictions.jsonl, or image and "
            "query, and a box"
        )
    _check_scale(path, rows, all_samples, reading)
    for sample in all_samples:
        for query in sample.queries:
            if not query.boxes_xyxy:
                result.problems.append({"rule": "no_target", "query_id": query.query_id, "split": query.split})
                continue
            row = rows.get(query.query_id)
            box = NO_BOX if row is None else reading.convert(row.box, sample)
            if row is None:
                result.problems.append({"rule": "no_answer", "query_id": query.query_id, "split": query.split})
            elif box == NO_BOX:
                result.problems.append({"rule": "empty_box", "query_id": query.query_id, "box": row.box.numbers})
            result.records.append(_build_record(sample, query, box, None if row is None else row.score))
    return result


def _match_rows(path: Path, matcher: _Matcher, result: ExternalPredictions) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    read = read_csv if path.suffix.lower() in (".csv", ".tsv") else read_json_lines
    for where, _, record in read(path):
        ids = matcher.find(record)
        box = parse_box(record)
        rule = "unknown_query" if not ids else "no_box" if box is None else None
        if rule:
            result.problems.append({"rule": rule, "where": where, "row": format_value(record)})
            continue
        assert box is not None
        for query_id in ids:
            if query_id in rows:
                result.problems.append({"rule": "repeated", "where": where, "query_id": query_id})
            else:
                rows[query_id] = _Row(box=box, score=_parse_score(record.get("score")))
    return rows


def _parse_score(value: Any) -> float | None:
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None
    return score if math.isfinite(score) else None


def _check_scale(path: Path, rows: Mapping[str, _Row], samples: Iterable[Sample], reading: BoxReading) -> None:
    """Raise an error if all boxes are clearly of another scale."""
    if reading.scale != "pixels":
        return
    sizes = {query.query_id: (sample.width, sample.height) for sample in samples for query in sample.queries}
    written = [(row.box.numbers, sizes[name]) for name, row in rows.items() if not row.box.is_location]
    if len(written) < MIN_BOXES:
        return
    most = (1 - MAX_OUTSIDE_SHARE) * len(written)
    if (small := sum(max(map(abs, box)) <= 1.05 for box, _ in written)) > most:
        raise UserError(
            f"{path}: {small:,} of {len(written):,} boxes have no number above 1.05; pass --box-scale fractions, or "
            "llava"
        )
    outside = sum(box[2] > 1.05 * width or box[3] > 1.05 * height for box, (width, height) in written)
    if outside > MAX_OUTSIDE_SHARE * len(written):
        within = sum(max(box) <= 1050 for box, _ in written)
        scale = "thousandths" if within > most else "qwen2.5-vl, or another one"
        raise UserError(
            f"{path}: {outside:,} of {len(written):,} boxes reach outside their images; pass --box-scale {scale}"
        )


def _build_record(sample: Sample, query: Query, box: Box, score: float | None) -> PredictionRecord:
    overlaps = [0.0 if box == NO_BOX else iou(box, target) for target in (query.box_xyxy, *query.boxes_xyxy)]
    return PredictionRecord(
        key=sample.key,
        query_id=query.query_id,
        text=query.text,
        split=query.split,
        source=query.source,
        num_distractors=sample.count_distractors(query),
        category="" if query.instance is None else sample.instances[query.instance].category,
        target_share=compute_area_px(query.box_xyxy) / (sample.width * sample.height),
        box_xyxy=box,
        target_xyxy=query.box_xyxy,
        iou=overlaps[0],
        any_iou=max(overlaps[1:]),
        score=score,
        priors="none",
    )
