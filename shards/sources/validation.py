"""Check of annotations against the images; lists problems and keeps the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline import Location
from shards.boxes import Box, validate_box
from shards.errors import SchemaError
from shards.images import ImageError, get_fast_path, read_upright_size, resolve_image_path
from shards.schema import Instance, Query
from shards.sources.sample import Problem, SourceSample

ROUNDING_PX = 2.0
"""Maximum distance in pixels by which a box may reach outside its image and is clipped; boxes are often rounded up."""


MAX_QUERY_LENGTH = 2_000
"""Maximum length of a query in characters; longer ones are a wrong field or a wrong file."""


@dataclass(kw_only=True)
class ValidationResult:
    """Valid samples, and the problems of the others."""

    samples: list[SourceSample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(width, height) of each image that is present, by its name."""

    def count(self, rule: str) -> int:
        """Count the problems of a rule."""
        return sum(problem.rule == rule for problem in self.problems)

    def count_queries(self, rule: str) -> int:
        """Count the queries with problems of a rule."""
        return sum(problem.num_queries for problem in self.problems if problem.rule == rule)


def read_windows_names(samples: Iterable[SourceSample], images: Location) -> Iterator[SourceSample]:
    """Yield the samples; a backslash in the name of an image separates folders, unless there is such a file."""
    root = get_fast_path(images)
    for sample in samples:
        is_windows = "\\" in sample.image_name and not (root / sample.image_name).is_file()
        yield replace(sample, image_name=sample.image_name.replace("\\", "/")) if is_windows else sample


def validate_samples(
    samples: Iterable[SourceSample], images: Location, *, allow_links: bool = False
) -> ValidationResult:
    """Check each sample against the header of its image, without decoding it.

    Args:
        samples: samples of a reader.
        images: folder of the images, or a prefix of an object store.
        allow_links: whether symbolic links may lead out of ``images``.
    """
    result = ValidationResult()
    root = get_fast_path(images)
    for sample in samples:
        result.problems.extend(sample.problems)
        checked = _validate_sample(sample, root, allow_links, result)
        if checked is not None:
            result.samples.append(checked)
    return result


def _validate_sample(
    sample: SourceSample, root: Location, allow_links: bool, result: ValidationResult
) -> SourceSample | None:
    if not sample.queries:
        if not sample.problems:
            detail = "the annotations have no query about this image"
            result.problems.append(Problem(rule="no_query", image=sample.image_name, num_queries=0, detail=detail))
        return None
    try:
        size = read_upright_size(resolve_image_path(root, sample.image_name, allow_links=allow_links))
        result.sizes[sample.image_name] = size
        if sample.size is not None and size != sample.size:
            raise ImageError("other_size", f"annotated {sample.size}, the file is {size}")
    except ImageError as error:
        count = len(sample.queries)
        result.problems.append(Problem(rule=error.rule, image=sample.image_name, num_queries=count, detail=str(error)))
        return None
    # The reader left such objects out, so distractors cannot be counted.
    is_complete = sample.has_all_instances and all(problem.rule != "bad_instance" for problem in sample.problems)
    return drop_invalid_boxes(replace(sample, size=size, has_all_instances=is_complete), size, result.problems)


def drop_invalid_boxes(sample: SourceSample, size: tuple[int, int], problems: list[Problem]) -> SourceSample | None:
    """Clip boxes that are outside by rounding; drop queries and instances without a valid box or text.

    Args:
        sample: sample of a reader.
        size: (width, height) of the image.
        problems: list to add each clipped box and each dropped query or instance to.

    Returns:
        The remaining sample; None if no query is left.
    """
    kept: dict[int, int] = {}
    instances: list[Instance] = []
    for i, instance in enumerate(sample.instances):
        box = clip_box(instance.box_xyxy, size)
        if isinstance(box, str):
            problems.append(Problem(rule="bad_instance", image=sample.image_name, num_queries=0, detail=box))
            continue
        kept[i] = len(instances)
        instances.append(instance if box == instance.box_xyxy else replace(instance, box_xyxy=box))
    validated = (_validate_query(query, sample.image_name, size, kept, problems) for query in sample.queries)
    queries = tuple(query for query in validated if query is not None)
    return replace(sample, instances=tuple(instances), queries=queries) if queries else None


def _validate_query(
    query: Query, image: str, size: tuple[int, int], kept: Mapping[int, int], problems: list[Problem]
) -> Query | None:
    about: dict[str, Any] = {"image": image, "num_queries": 1, "query_id": query.query_id}
    clipped = [clip_box(box, size) for box in query.boxes_xyxy]
    boxes = tuple(box for box in clipped if not isinstance(box, str))
    if len(boxes) < len(clipped):
        reason = next(box for box in clipped if isinstance(box, str))
        problems.append(Problem(rule="bad_box", detail=reason, **about))
        return None
    if not any(character.isalnum() for character in query.text):
        problems.append(Problem(rule="empty_query", detail=repr(query.text), **about))
        return None
    if len(query.text) > MAX_QUERY_LENGTH:
        detail = f"{len(query.text):,} characters, more than {MAX_QUERY_LENGTH:,}: {query.text[:40]!r} ..."
        problems.append(Problem(rule="long_query", detail=detail, **about))
        return None
    if outside := set(query.boxes_xyxy) - set(boxes):
        problems.append(Problem(rule="clipped_box", detail=f"{min(outside)} in {size}", **about))
    instances = query.instances
    if instances is not None:
        instances = tuple(kept[i] for i in instances) if kept.keys() >= set(instances) else None
    return replace(query, boxes_xyxy=boxes, instances=instances)


def clip_box(box: Box, size: tuple[int, int]) -> Box | str:
    """Return the box inside the image, or the reason why it is invalid."""
    width, height = size
    if 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height:
        return box
    if not all(-ROUNDING_PX <= v <= limit + ROUNDING_PX for v, limit in zip(box, (width, height) * 2, strict=True)):
        return f"box {box} reaches outside the {width} x {height} image"
    inside = tuple(min(max(v, 0.0), float(limit)) for v, limit in zip(box, (width, height) * 2, strict=True))
    try:
        return validate_box(inside, width, height, "box")
    except SchemaError as error:
        return str(error)
