"""Exports for the Hugging Face Hub: Parquet for ``datasets``, and plain WebDataset shards, each with a dataset card.

Both have one record for each image, whose queries are lists of the same length. A relation program is text in JSON:
its keys differ from query to query, and loaders drop the keys that they did not see first.
"""

from __future__ import annotations

import io
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from shards.exports.export import Export, list_splits
from shards.images import JPEG_QUALITY, decode_rgb_image, encode_png
from shards.schema import Query, Sample
from shards.writer import get_image_extension, write_tar

ROWS_PER_GROUP = 100
"""Images of a row group, which readers hold in memory together."""

FILE_BYTES = 500_000_000
"""Bytes of images in a Parquet file, beyond which the next one begins, as the Hub advises."""

IMAGES_PER_TAR = 1_000

_BOX = pa.list_(pa.float64())
_COLUMNS: dict[str, pa.DataType] = {
    "key": pa.string(),
    "image_name": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "query_ids": pa.list_(pa.string()),
    "queries": pa.list_(pa.string()),
    "boxes_xyxy": pa.list_(_BOX),
    "target_boxes_xyxy": pa.list_(pa.list_(_BOX)),
    "target_objects": pa.list_(pa.int64()),
    "sources": pa.list_(pa.string()),
    "programs": pa.list_(pa.string()),
    "object_boxes_xyxy": pa.list_(_BOX),
    "object_categories": pa.list_(pa.string()),
    "has_all_objects": pa.bool_(),
}
"""Columns beside the image. A query's ``target_objects`` entry is -1 if the object is unknown or not one."""


def build_record(sample: Sample, queries: list[Query]) -> dict[str, Any]:
    """Return the record of a sample and those of its queries that belong to one split."""
    return {
        "key": sample.key,
        "image_name": sample.image_name,
        "width": sample.width,
        "height": sample.height,
        "query_ids": [query.query_id for query in queries],
        "queries": [query.text for query in queries],
        "boxes_xyxy": [list(query.box_xyxy) if query.boxes_xyxy else [] for query in queries],
        "target_boxes_xyxy": [[list(box) for box in query.boxes_xyxy] for query in queries],
        "target_objects": [-1 if query.instance is None else query.instance for query in queries],
        "sources": [query.source for query in queries],
        "programs": ["" if query.program is None else json.dumps(query.program) for query in queries],
        "object_boxes_xyxy": [list(instance.box_xyxy) for instance in sample.instances],
        "object_categories": [instance.category for instance in sample.instances],
        "has_all_objects": sample.has_all_instances,
    }


class HubExport(Export):
    """Base of the exports with a dataset card."""

    pattern: str
    """Names of the files of a split."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.counts: dict[str, Counter[str]] = {}
        """Numbers of each split, by what is counted."""

    def list_records(self, sample: Sample) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each split of a sample's queries with its record, and count it."""
        for split, queries in list_splits(sample):
            self.num_queries[split] += len(queries)
            num_targets = Counter(min(len(query.boxes_xyxy), 2) for query in queries)
            self.counts.setdefault(split, Counter()).update(
                {
                    "images": 1,
                    "queries": len(queries),
                    "of no target": num_targets[0],
                    "of several targets": num_targets[2],
                    "objects": len(sample.instances),
                }
            )
            yield split, build_record(sample, queries)

    @abstractmethod
    def describe_features(self) -> list[dict[str, Any]]:
        """Return the columns as a dataset card lists them."""


class ParquetExport(HubExport):
    """Writer of ``data/<split>-<number>-of-<count>.parquet``, with images inside, as ``datasets`` reads them."""

    pattern = "data/{split}-*.parquet"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._parts: dict[str, list[Path]] = {}
        self._bytes: Counter[str] = Counter()
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def add(self, sample: Sample) -> None:
        name = f"{sample.key}.{get_image_extension(sample.image)}"
        for split, record in self.list_records(sample):
            rows = self._rows.setdefault(split, [])
            rows.append({"image": {"bytes": sample.image, "path": name}, **record})
            self._bytes[split] += len(sample.image)
            if len(rows) == ROWS_PER_GROUP:
                self._write_rows(split)

    def describe_features(self) -> list[dict[str, Any]]:
        return [{"name": "image", "dtype": "image"}, *_describe_columns()]

    def _write_rows(self, split: str) -> None:
        rows = self._rows[split]
        if not rows:
            return
        if split not in self._writers:
            parts = self._parts.setdefault(split, [])
            parts.append(self.folder / "data" / f"{split}-{len(parts):05d}.parquet")
            parts[-1].parent.mkdir(exist_ok=True)
            self._writers[split] = self._stack.enter_context(pq.ParquetWriter(parts[-1], _build_schema()))
        self._writers[split].write_table(pa.Table.from_pylist(rows, schema=_build_schema()))
        rows.clear()
        if self._bytes[split] >= FILE_BYTES:
            self._writers.pop(split).close()
            self._bytes[split] = 0

    def finish(self) -> None:
        for split in self._rows:
            self._write_rows(split)
        self._stack.close()
        for split, parts in self._parts.items():
            for number, part in enumerate(parts):
                part.rename(part.with_name(f"{split}-{number:05d}-of-{len(parts):05d}.parquet"))


def _build_schema() -> pa.Schema:
    """Return the schema with the features of ``datasets``, which tell it that the column holds images."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, **{name: _describe(kind) for name, kind in _COLUMNS.items()}}
    schema = pa.schema([("image", image), *_COLUMNS.items()])
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _describe(kind: pa.DataType) -> Any:
    """Return a type as ``datasets`` stores it; a list in brackets is read by its old and new versions."""
    return [_describe(kind.value_type)] if pa.types.is_list(kind) else {"dtype": _NAMES[kind], "_type": "Value"}


_NAMES = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


class WebDatasetExport(HubExport):
    """Writer of ``<name>-<split>-<number>.tar`` with an image and a JSON member for each sample, and ``sizes.json``.

    All images have the format of the first one: loaders take the members of the first samples for those of all.

    Args:
        folder: existing folder to write into.
        name: name of the dataset in the names of the files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self._name = name
        self.pattern = name + "-{split}-*.tar"
        self._extension = ""
        self._samples: dict[str, list[dict[str, bytes]]] = {}
        self._counts: Counter[str] = Counter()
        self.sizes: dict[str, int] = {}
        """Number of samples of each file."""

    def add(self, sample: Sample) -> None:
        self._extension = self._extension or get_image_extension(sample.image)
        image = _convert_image(sample.image, self._extension)
        for split, record in self.list_records(sample):
            members = {f"{sample.key}.{self._extension}": image, f"{sample.key}.json": json.dumps(record).encode()}
            samples = self._samples.setdefault(split, [])
            samples.append(members)
            if len(samples) == IMAGES_PER_TAR:
                self._write_tar(split)

    def describe_features(self) -> list[dict[str, Any]]:
        """Return the columns as a dataset card lists them; a loader would guess them from the first samples."""
        return [
            {"name": "__key__", "dtype": "string"},
            {"name": "__url__", "dtype": "string"},
            {"name": self._extension, "dtype": "image"},
            {"name": "json", "struct": _describe_columns()},
        ]

    def _write_tar(self, split: str) -> None:
        name = f"{self._name}-{split}-{self._counts[split]:06d}.tar"
        with (self.folder / name).open("wb") as file:
            write_tar(file, self._samples[split])
        self.sizes[name] = len(self._samples[split])
        self._counts[split] += 1
        self._samples[split].clear()

    def finish(self) -> None:
        for split, samples in self._samples.items():
            if samples:
                self._write_tar(split)
        (self.folder / "sizes.json").write_text(json.dumps(self.sizes, indent=1))


def _convert_image(content: bytes, extension: str) -> bytes:
    if get_image_extension(content) == extension:
        return content
    image = decode_rgb_image(content)
    if extension == "png":
        return encode_png(image)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def format_card(
    export: HubExport, name: str, made_by: Mapping[str, Any], origin: str, left_out: Mapping[str, int]
) -> str:
    """Format the dataset card.

    Args:
        export: finished export.
        name: name of the dataset.
        made_by: settings of the run that made the samples.
        origin: sentences on where the images and queries come from.
        left_out: number of images, queries or scenes that did not become samples, by reason.

    Returns:
        README.md. Its YAML header tells the Hub where the files of each split are, and what they hold.
    """
    files = [{"split": split, "path": export.pattern.format(split=split)} for split in export.num_queries]
    header = {
        "pretty_name": name,
        "license": "other",
        "task_categories": ["object-detection"],
        "tags": ["visual-grounding", "referring-expression-comprehension"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"config_name": "default", "features": export.describe_features()},
    }
    columns = next(iter(export.counts.values()), Counter[str]())
    rows = ([split, *(f"{number:,}" for number in counts.values())] for split, counts in export.counts.items())
    return _CARD.format(
        header=yaml.safe_dump(header, sort_keys=False),
        name=name,
        columns=" | ".join(columns),
        lines="|--:" * len(columns),
        rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
        origin=origin,
        left_out=", ".join(f"{reason} {count:,}" for reason, count in left_out.items()) or "nothing",
        settings=json.dumps(made_by, indent=1),
    )


def _describe_columns() -> list[dict[str, Any]]:
    """Return the columns as a dataset card lists them."""
    return [{"name": name, **_describe_for_card(kind)} for name, kind in _COLUMNS.items()]


def _describe_for_card(kind: pa.DataType) -> dict[str, Any]:
    if not pa.types.is_list(kind):
        return {"dtype": _NAMES[kind]}
    inner = _describe_for_card(kind.value_type)
    return {"list": inner.get("dtype", inner)}


_CARD = """---
{header}---

# {name}

Referring expressions, each with the box of its target in pixels (`boxes_xyxy`, 0-based, right and bottom exclusive).
The box of several targets is the smallest one around them, that of no target an empty list; `target_boxes_xyxy` lists
the box of each target. A row is an image; its queries are lists of the same length. `target_objects` is the index of
the target in `object_boxes_xyxy`, -1 if it is unknown or not one. `programs` has the relation program of a generated
query as JSON.

| split | {columns} |
|---{lines}|
{rows}

## Origin

{origin} Left out or clipped: {left_out}.

Made with these settings:

```json
{settings}
```

## Limits

- `has_all_objects` is false where the source lists only targets: distractors cannot be counted then.
- State the license and the source of the images above before you publish the dataset; this card cannot know them.
"""
