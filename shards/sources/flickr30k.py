"""Flickr30k Entities as its authors publish it: ``Sentences/<id>.txt``, ``Annotations/<id>.xml``, ``<split>.txt``.

Each image has five sentences. Their phrases, ``[/EN#<chain>/<type> two men]``, are the queries. The XML gives the
boxes of each chain: one, several or none. With several, a query keeps each box and the smallest box around all. A
phrase without a box, such as a whole scene, is counted as ``no_box``. Coordinates count from 1 and include the last
pixel.

Source: Plummer et al., ICCV 2015 (arXiv:1505.04870).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from shards.boxes import Box
from shards.schema import Query
from shards.sources.errors import SourceError, format_value
from shards.sources.sample import Problem, SourceSample, make_key, parse_box, parse_size

SPLITS = ("train", "val", "test")
MAX_BYTES = 1 << 22
"""Maximum size of one image's sentences or boxes: 4 MiB; published files have a few thousand bytes."""

_OPENING = "[/EN#"
_PHRASE = re.compile(r"\[/EN#(?P<chain>\d{1,12})(?:/[^\s\[\]/]+)+\s+(?P<text>[^\[\]]+)\]")
_IMAGE_ID = re.compile(r"\d{1,20}")


def read_flickr30k(folder: Path, dataset: str) -> Iterator[SourceSample]:
    """Yield a sample for each image, in the order of ``train.txt``, ``val.txt`` and ``test.txt``.

    Args:
        folder: folder with ``Sentences``, ``Annotations`` and a list for each split, one image id a line.
        dataset: name for keys and queries.

    Raises:
        SourceError: naming the file, the line and the rule.
    """
    lists = [folder / f"{split}.txt" for split in SPLITS if (folder / f"{split}.txt").is_file()]
    if not lists:
        raise SourceError(f"{folder} holds no train.txt, val.txt or test.txt; give the folder of Flickr30k Entities")
    for path in lists:
        for number, line in enumerate(_read_text(path, limit=None).split("\n"), start=1):
            if not line.strip():
                continue
            if not _IMAGE_ID.fullmatch(line.strip()):
                raise SourceError(f"{path}, line {number}: a line is an image's number, got {line[:40]!r}")
            yield _build_sample(folder, line.strip(), path.stem, dataset)


def _build_sample(folder: Path, image: str, split: str, dataset: str) -> SourceSample:
    size, boxes = _read_boxes(folder / "Annotations" / f"{image}.xml")
    queries: list[Query] = []
    problems: list[Problem] = []
    path = folder / "Sentences" / f"{image}.txt"
    for number, sentence in enumerate(_read_text(path).split("\n"), start=1):
        phrases = list(_PHRASE.finditer(sentence))
        unread = sentence.count(_OPENING) - len(phrases)
        if unread:
            problems.append(_make_problem("malformed_phrase", image, unread, f"{path}, line {number}: {sentence[:80]}"))
        for i, phrase in enumerate(phrases):
            name, chain_boxes = f"{dataset}-{image}-{number}-{i}", boxes.get(int(phrase["chain"]), [])
            if not chain_boxes:
                problems.append(_make_problem("no_box", image, 1, f"{phrase['text']!r}, chain {phrase['chain']}", name))
                continue
            queries.append(
                Query(
                    query_id=name,
                    text=phrase["text"].strip(),
                    boxes_xyxy=tuple(chain_boxes),
                    split=split,
                    source=dataset,
                )
            )
    return SourceSample(
        key=make_key(dataset, image, split),
        split=split,
        image_name=f"{image}.jpg",
        instances=(),
        queries=tuple(queries),
        size=size,
        problems=tuple(problems),
    )


def _make_problem(rule: str, image: str, count: int, detail: str, query_id: str = "") -> Problem:
    return Problem(rule=rule, image=f"{image}.jpg", num_queries=count, query_id=query_id, detail=detail)


def _read_text(path: Path, limit: int | None = MAX_BYTES) -> str:
    return _read_bytes(path, limit).decode("utf-8", errors="replace")


def _read_bytes(path: Path, limit: int | None) -> bytes:
    if not path.is_file():
        raise SourceError(f"{path} does not exist; unpack Flickr30k Entities' annotations.zip again")
    if limit and path.stat().st_size > limit:
        raise SourceError(f"{path} has {path.stat().st_size:,} bytes, more than the {limit:,} of one image")
    return path.read_bytes()


def _read_boxes(path: Path) -> tuple[tuple[int, int], dict[int, list[Box]]]:
    """Read (width, height) of the image, and the boxes of each chain."""
    try:
        root: Element = fromstring(_read_bytes(path, MAX_BYTES), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SourceError(f"{path} is not XML that can be read: {error or type(error).__name__}") from error
    boxes: dict[int, list[Box]] = defaultdict(list)
    for number, entry in enumerate(root.findall("object")):
        where = f"{path}, object {number}"
        corners = entry.find("bndbox")
        if corners is None:
            continue
        x1, y1, x2, y2 = parse_box([corners.findtext(c) for c in ("xmin", "ymin", "xmax", "ymax")], where)
        for name in entry.findall("name"):
            if not name.text or not _IMAGE_ID.fullmatch(name.text.strip()):
                raise SourceError(f"{where}: a name is the number of a chain, got {format_value(name.text)}")
            boxes[int(name.text)].append((x1 - 1, y1 - 1, x2, y2))
    return parse_size(root.findtext("size/width"), root.findtext("size/height"), str(path)), boxes
