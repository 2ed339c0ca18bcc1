"""The REFER layout of RefCOCO, RefCOCO+ and RefCOCOg: ``refs(<split by>).p`` beside COCO's ``instances.json``.

All instances of an image are kept, not only the targets. The image's name comes from ``instances.json``, since the
one in ``refs`` includes the annotation's number. A ref of the split ``testBC`` belongs to testB and to testC.
"""

from __future__ import annotations

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

_SEVERAL_TESTS = re.compile(r"test([A-Z]{2,})")


def read_refer(folder: Path, split_by: str, dataset: str, instances: Path | None = None) -> Iterator[SourceSample]:
    """Yield a sample for each image and split, ordered by image and split.

    Args:
        folder: folder with ``refs(<split_by>).p`` and ``instances.json``.
        split_by: ``unc``, ``umd``, ``google``, ...
        dataset: name for keys and queries.
        instances: another file of COCO's instances, such as ``instances_train2014.json``.

    Raises:
        SourceError: naming the file, the row and the rule.
    """
    refs_path = folder / f"refs({split_by}).p"
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


def _check_ref(ref: Any, where: str) -> None:
    needed = ("ref_id", "ann_id", "image_id", "split", "sentences")
    if not isinstance(ref, dict) or any(name not in ref for name in needed):
        raise SourceError(f"{where}: a ref needs {', '.join(needed)}; got {format_value(ref)}")
    if not isinstance(ref["split"], str) or not isinstance(ref["sentences"], list):
        raise SourceError(f"{where}: split must be a string and sentences a list")
    if not isinstance(ref["image_id"], (int, str)) or not isinstance(ref["ann_id"], (int, str)):
        raise SourceError(f"{where}: image_id and ann_id must be numbers or names")


def _build_queries(ref: Mapping[str, Any], image: CocoImage, split: str, dataset: str, where: str) -> list[Query]:
    target = image.find_instance(ref["ann_id"], where)
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
                boxes_xyxy=(image.instances[target].box_xyxy,),
                split=split,
                source=dataset,
                instances=(target,),
            )
        )
    return queries
