"""The REFER layout: ``refs(<split by>).p`` of RefCOCO, RefCOCO+ and RefCOCOg beside COCO's ``instances.json``.

gRefCOCO's ``grefs(<split by>).json`` takes the place of the pickle. Its ``ann_id`` is a list of the targets'
annotations; ``[-1]`` or an empty list means that the query has no target.

All instances of an image are kept, not only the targets. The image's name comes from ``instances.json``, since the
one in ``refs`` includes the annotation's number. A ref of the split ``testBC`` belongs to testB and to testC.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.schema import Query
from shards.sources.coco import CocoImage, CocoInstances
from shards.sources.errors import SourceError, format_value
from shards.sources.isolated import read_pickle
from shards.sources.sample import SourceSample, make_key

NO_ANNOTATION = -1
"""Value of ``ann_id`` in gRefCOCO for a query without a target."""

_SEVERAL_TESTS = re.compile(r"test([A-Z]{2,})")


def read_refer(folder: Path, split_by: str, dataset: str, instances: Path | None = None) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, ordered by image and split.

    Args:
        folder: folder with ``refs(<split_by>).p`` or ``grefs(<split_by>).json``, and ``instances.json``.
        split_by: ``unc``, ``umd``, ``google``, ...
        dataset: name for keys and queries.
        instances: another file of COCO's instances, such as ``instances_train2014.json``.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    refs_path = folder / f"refs({split_by}).p"
    if not refs_path.exists() and (grefs_path := folder / f"grefs({split_by}).json").is_file():
        refs_path, refs = grefs_path, _load_json(grefs_path)
    else:
        refs = read_pickle(refs_path)
    if not isinstance(refs, list):
        raise SourceError(f"{refs_path} holds a {type(refs).__name__}, not a list of refs")
    coco = CocoInstances(instances or folder / "instances.json")
    grouped: dict[tuple[Any, str], list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for row, ref in enumerate(refs):
        where = f"{refs_path}, ref {row}"
        _check_ref(ref, where)
        several = _SEVERAL_TESTS.fullmatch(ref["split"])  # testBC
        for split in [f"test{letter}" for letter in several[1]] if several else [ref["split"]]:
            grouped[(ref["image_id"], split)].append((where, ref))
    for image_id, split in sorted(grouped, key=lambda key: (str(key[0]).zfill(12), key[1])):  # numbers by value
        members = grouped[(image_id, split)]
        image = coco.get_image(image_id, members[0][0])
        yield SourceSample(
            key=make_key(dataset, image_id, split),
            split=split,
            image_name=image.name,
            size=image.size,
            instances=image.instances,
            problems=image.problems,
            queries=tuple(
                query for where, ref in members for query in _build_queries(ref, image, split, dataset, where)
            ),
        )


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not gRefCOCO's JSON ({error}); get it again") from error


def _check_ref(ref: Any, where: str) -> None:
    needed = ("ref_id", "ann_id", "image_id", "split", "sentences")
    if not isinstance(ref, dict) or any(name not in ref for name in needed):
        raise SourceError(f"{where}: a ref needs {', '.join(needed)}; got {format_value(ref)}")
    if not isinstance(ref["split"], str) or not isinstance(ref["sentences"], list):
        raise SourceError(f"{where}: split must be a string and sentences a list")
    if not isinstance(ref["image_id"], (int, str)) or not isinstance(ref["ann_id"], (int, str, list)):
        raise SourceError(f"{where}: image_id and ann_id must be numbers or names, ann_id also a list of them")


def _build_queries(ref: Mapping[str, Any], image: CocoImage, split: str, dataset: str, where: str) -> list[Query]:
    targets = _find_targets(ref["ann_id"], image, where)
    suffix = "" if split == ref["split"] else f"-{split}"
    queries = []
    for i, sentence in enumerate(ref["sentences"]):
        if not isinstance(sentence, dict) or not isinstance(sentence.get("sent"), str):
            raise SourceError(f"{where}: sentence {i} has no text in 'sent'")
        fallback = f"{ref['ref_id']}-{i}"
        queries.append(
            Query(
                query_id=f"{dataset}-{sentence.get('sent_id', fallback)}{suffix}",
                text=sentence["sent"],
                boxes_xyxy=tuple(image.instances[target].box_xyxy for target in targets),
                split=split,
                source=dataset,
                instances=targets,
            )
        )
    return queries


def _find_targets(annotations: Any, image: CocoImage, where: str) -> tuple[int, ...]:
    """Return the indices of the targets in the image's instances; none for ``-1``, ``[-1]`` and an empty list."""
    numbers = annotations if isinstance(annotations, list) else [annotations]
    if numbers in ([], [NO_ANNOTATION]):
        return ()
    if NO_ANNOTATION in numbers:
        raise SourceError(f"{where}: ann_id {format_value(numbers)} names targets and also {NO_ANNOTATION}, for none")
    targets = tuple(image.find_instance(number, where) for number in numbers)
    if len(set(targets)) < len(targets):
        raise SourceError(f"{where}: ann_id {format_value(numbers)} names a target twice; list each once")
    return targets
