"""Readers of all annotation formats in one function.

read_annotations("refer", ReaderOptions(path=Path("refcoco"), dataset="refcoco", split_by="unc"))
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from shards.sources.errors import SourceError, format_value
from shards.sources.flickr30k import read_flickr30k
from shards.sources.grounding import read_grounding
from shards.sources.odvg import read_odvg
from shards.sources.refer import read_refer
from shards.sources.referit import read_referit
from shards.sources.sample import SourceSample
from shards.sources.table import Fields, read_table
from shards.sources.transvg import read_transvg

AnnotationFormat = Literal["refer", "transvg", "flickr30k", "referit", "grounding", "odvg", "table"]
FORMATS_WITH_INSTANCES = ("refer", "transvg", "grounding", "table")
"""Formats that name the annotations of COCO, by which all instances of an image are joined."""


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Options of a reader; a format uses those that it needs."""

    path: Path
    """Folder or file, depending on the format."""

    dataset: str
    """Name for keys and queries."""

    split_by: str = ""
    """Part of the file name: ``refs(<split_by>).p`` for refer, ``<split_by>_<split>.pth`` for transvg."""

    split: str = "train"
    """Split of annotations that name none."""

    instances: Path | None = None
    """COCO's instances file of the images."""

    fields: Fields = field(default_factory=Fields)


def read_annotations(format: AnnotationFormat, options: ReaderOptions) -> Iterator[SourceSample]:
    """Yield a sample for each image and split.

    Raises:
        SourceError: naming the file, the row, the rule and the remedy.
    """
    if options.instances and format not in FORMATS_WITH_INSTANCES:
        raise SourceError(
            f"{options.instances}: {format} does not name COCO's annotations, so no instances can be joined; "
            f"omit the instances file, or use one of {', '.join(FORMATS_WITH_INSTANCES)}"
        )
    return _make_names_unique(_READERS[format](options), options.path)


def _make_names_unique(samples: Iterable[SourceSample], path: Path) -> Iterator[SourceSample]:
    """Append a number to repeated names; ``a b.jpg`` and ``a_b.jpg`` have the same key."""
    keys: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for sample in samples:
        _check_text(sample.split, sample.image_name, path)
        queries = []
        for query in sample.queries:
            _check_text(query.query_id, query.text, path)
            name = _make_unique_name(query.query_id, ids)
            queries.append(query if name == query.query_id else replace(query, query_id=name))
        key = _make_unique_name(sample.key, keys)
        is_same = key == sample.key and all(map(operator.is_, queries, sample.queries))
        yield sample if is_same else replace(sample, key=key, queries=tuple(queries))


def _check_text(name: str, text: str, path: Path) -> None:
    """Check that text can be written to a file; JSON and pickles may hold half of a surrogate pair.

    Raises:
        SourceError: the text is not Unicode.
    """
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{path}, {format_value(name)}: {format_value(text)} is not Unicode ({error})") from error


def _make_unique_name(name: str, seen: Counter[str]) -> str:
    seen[name] += 1
    return name if seen[name] == 1 else _make_unique_name(f"{name}-{seen[name]}", seen)


_READERS: Mapping[AnnotationFormat, Callable[[ReaderOptions], Iterator[SourceSample]]] = {
    "refer": lambda a: read_refer(a.path, a.split_by, a.dataset, a.instances),
    "transvg": lambda a: read_transvg(a.path, a.split_by, a.dataset, a.instances),
    "flickr30k": lambda a: read_flickr30k(a.path, a.dataset),
    "referit": lambda a: read_referit(a.path, a.dataset),
    "grounding": lambda a: read_grounding(a.path, a.dataset, a.split, a.instances),
    "odvg": lambda a: read_odvg(a.path, a.dataset, a.split),
    "table": lambda a: read_table(a.path, a.dataset, a.split, a.fields, a.instances),
}
