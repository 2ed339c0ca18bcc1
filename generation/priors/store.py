"""The prior store: priors on disk, found again by their ids.

A shard has three files:

- a tar of ``{prior_id}.webp`` (the first image; further ones are ``{prior_id}.1.webp``, ...), ``{prior_id}.json`` and
  ``{prior_id}.feature.npy``;
- ``index.parquet``, a row for each prior;
- ``features.npy``, (priors, dim) float16 in the order of the index, which readers map into memory.

A store is every delivered shard of every run below one folder. A later run adds missing priors; nothing is rewritten.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from generation.errors import GenerationError
from generation.models.config import RgbImage
from generation.priors.config import set_num_images
from generation.priors.prior import Prior
from pipeline import (
    Item,
    Location,
    MapStage,
    Receipt,
    Sink,
    SinkOutput,
    count_distinct,
    create_view,
    divide_by_hash,
    get_verified_path,
    iterate_rows,
    list_runs,
    open_database,
    read_receipts,
    resolve_location,
)
from shards.images import decode_rgb_image
from shards.tar import locate_members
from shards.writer import encode_npy, map_npy, write_tar

INDEX_SCHEMA = pa.schema(
    [
        ("prior_id", pa.string()),
        ("prompt", pa.string()),
        ("clip_score", pa.float32()),
        ("encoder", pa.string()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int64()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
    ]
)
"""One row for each prior, in the order of the tar; offsets are of the members' contents."""

INDEX_COLUMNS = {
    "prior_id": "VARCHAR",
    "prompt": "VARCHAR",
    "clip_score": "FLOAT",
    "encoder": "VARCHAR",
    "image_offset": "BIGINT",
    "image_bytes": "BIGINT",
    "json_offset": "BIGINT",
    "json_bytes": "BIGINT",
}
"""SQL types of the columns of ``INDEX_SCHEMA``."""

_CACHED_ROWS = 20_000
"""Rows of the index that a reader keeps: a few megabytes."""


@dataclass(frozen=True, kw_only=True)
class StoredPrior:
    """Bytes of a prior in the store, for copies."""

    key: str
    """The prior id."""

    prompt: str
    clip_score: float | None
    encoder: str
    feature: npt.NDArray[np.float16] = field(repr=False)
    """(dim,)"""

    members: Mapping[str, bytes] = field(repr=False)
    """Names and contents in the tar, in order."""


class PriorSink(Sink[Prior]):
    """Writes one shard of priors; the same priors give the same bytes.

    Args:
        settings: ``build_image_settings``, for the records.
        encoder: fingerprint of the encoder.
    """

    def __init__(self, settings: dict[str, Any], encoder: str) -> None:
        self.settings, self.encoder = settings, encoder

    def write(self, items: list[Prior], folder: Path) -> SinkOutput:
        files = _write_shard(folder, [self._build_stored_prior(item) for item in items])
        counts = {
            "retried": sum(item.generated.num_retries > 0 for item in items),
            "nsfw_filtered": sum(item.generated.nsfw_filtered for item in items),
        }
        summary = {"priors": len(items), "images": sum(len(item.generated.compressed) for item in items)}
        summary |= {name: count for name, count in counts.items() if count}
        return SinkOutput(files=files, summary=summary)

    def _build_stored_prior(self, item: Prior) -> StoredPrior:
        members = {
            f"{item.key}.webp" if i == 0 else f"{item.key}.{i}.webp": content
            for i, content in enumerate(item.generated.compressed)
        }
        record = {
            "prior_id": item.key,
            "prompt": item.prompt,
            "attributes": dict(item.attributes) or None,
            "clip_score": item.clip_score,
            "settings": self.settings and set_num_images(self.settings, len(item.generated.compressed)),
            "encoder": self.encoder,
            "num_retries": item.generated.num_retries,
            "nsfw_filtered": item.generated.nsfw_filtered,
        }
        members[f"{item.key}.json"] = json.dumps(record, sort_keys=True).encode()
        members[f"{item.key}.feature.npy"] = encode_npy(item.feature)
        return StoredPrior(
            key=item.key,
            prompt=item.prompt,
            clip_score=item.clip_score,
            encoder=self.encoder,
            feature=item.feature,
            members=members,
        )


class CopySink(Sink[StoredPrior]):
    """Writes priors of other runs again, byte for byte: those that stay when a store is pruned."""

    def write(self, items: list[StoredPrior], folder: Path) -> SinkOutput:
        return SinkOutput(files=_write_shard(folder, items), summary={"priors": len(items)})


class CopyStage(MapStage[Item, StoredPrior]):
    """Reads priors by id, an item's key, out of runs of a store."""

    def __init__(self, runs: Sequence[str]) -> None:
        self.runs = tuple(runs)

    def setup(self) -> None:
        self._store = PriorStore(*map(resolve_location, self.runs))

    def process_item(self, item: Item) -> StoredPrior:
        return self._store.read_prior(item.key)


def _write_shard(folder: Path, items: Sequence[StoredPrior]) -> dict[str, Path]:
    """Write the tar, its index and the features."""
    tar, index, features = folder / "priors.tar", folder / "index.parquet", folder / "features.npy"
    with tar.open("wb") as file:
        write_tar(file, [dict(item.members) for item in items])
    spans = locate_members(tar) if items else {}
    rows = [
        {
            "prior_id": item.key,
            "prompt": item.prompt,
            "clip_score": item.clip_score,
            "encoder": item.encoder,
            "image_offset": spans[f"{item.key}.webp"][0],
            "image_bytes": spans[f"{item.key}.webp"][1],
            "json_offset": spans[f"{item.key}.json"][0],
            "json_bytes": spans[f"{item.key}.json"][1],
        }
        for item in items
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), index)
    stacked = np.stack([item.feature for item in items]) if items else np.zeros((0, 0))
    np.save(features, stacked.astype("<f2"), allow_pickle=False)
    return {"tar": tar, "index": index, "features": features}


def list_store_shards(runs: Iterable[Location]) -> list[tuple[Location, Receipt]]:
    """Return the delivered shards of runs, finished or not, in order.

    Raises:
        PipelineError: a run is missing or damaged.
        GenerationError: a run was written by an earlier version.
    """
    shards = [(run, receipt) for run in runs for receipt in read_receipts(run, allow_partial=True)]
    for run, receipt in shards:
        if "features" not in receipt.files:
            raise GenerationError(
                f"{run} was written by an earlier version (shard {receipt.shard_id} has no features.npy); "
                "remove it and run `make generate-priors` again"
            )
    return shards


class PriorStore:
    """Reads priors by id from one or more runs. Index and features stay on disk.

    If two runs hold the same prior, the one of the first run is read.

    Args:
        runs: folders of runs that wrote with ``PriorSink``, finished or not: every delivered shard is read.

    Raises:
        PipelineError: a run is missing or damaged.
        GenerationError: the runs were made with different encoders, or by an earlier version.
    """

    def __init__(self, *runs: Location) -> None:
        self._shards = list_store_shards(runs)
        self.index_paths = [str(get_verified_path(run, receipt, "index")) for run, receipt in self._shards]
        """Local paths of the index of each shard, for queries of your own."""
        self._database = open_database()
        create_view(self._database, "priors", self.index_paths, INDEX_COLUMNS)
        self._cache: OrderedDict[str, dict[str, Any] | None] = OrderedDict()
        self._get_path = lru_cache(maxsize=4096)(lambda shard, role: get_verified_path(*self._shards[shard], role))
        self._open_features = lru_cache(maxsize=1024)(lambda shard: map_npy(self._get_path(shard, "features")))
        self._locate_members = lru_cache(maxsize=64)(self._group_members)
        self.encoder, self.dim = self._check_encoder()
        """``encoder``: fingerprint of the model; ``dim``: length of a feature, 0 in an empty store."""

    @staticmethod
    def open(root: Location) -> PriorStore:
        """Open every run directly in ``root``, or ``root`` itself, in the order of their names.

        Raises:
            GenerationError: there is none.
        """
        runs = list_runs(root)
        if not runs:
            raise GenerationError(f"there is no prior store below {root}; make one with `make generate-priors`")
        return PriorStore(*runs)

    def __len__(self) -> int:
        return count_distinct(self._database, "priors", "prior_id")

    def __contains__(self, prior_id: object) -> bool:
        return isinstance(prior_id, str) and self._find_rows([prior_id])[prior_id] is not None

    def __iter__(self) -> Iterator[str]:
        query = "SELECT prior_id FROM priors GROUP BY prior_id ORDER BY min((file, position))"
        for row in iterate_rows(self._database, query):
            yield row["prior_id"]

    def missing(self, prior_ids: Iterable[str]) -> list[str]:
        """Return the ids that the store lacks, each once, in order."""
        return [prior_id for prior_id, row in self._find_rows(list(prior_ids)).items() if row is None]

    def features(self, prior_ids: Sequence[str]) -> npt.NDArray[np.float16]:
        """Return (len(prior_ids), dim) features, in order.

        Raises:
            GenerationError: an id is missing.
        """
        rows = self._find_rows(prior_ids)
        found = [rows[prior_id] or self._get_row(prior_id) for prior_id in prior_ids]
        features = [self._open_features(row["file"])[row["position"]] for row in found]
        return np.stack(features) if features else np.zeros((0, self.dim), np.float16)

    def prompt(self, prior_id: str) -> str:
        """Return the text that the images were rendered from."""
        return str(self._get_row(prior_id)["prompt"])

    def clip_score(self, prior_id: str) -> float | None:
        """Return the mean over the images of 100 times the cosine with the prompt; None without text."""
        score: float | None = self._get_row(prior_id)["clip_score"]
        return score

    def compute_mean_clip_score(self) -> float | None:
        """Compute the mean over all priors that have a score; None if none has."""
        total, count = 0.0, 0
        for part in divide_by_hash(self._database, "priors", "prior_id"):
            first = f"SELECT arg_min(clip_score, (file, position)) AS s FROM priors WHERE {part} GROUP BY prior_id"
            scores = self._database.execute(f"SELECT coalesce(sum(s), 0), count(s) FROM ({first})").fetchall()
            total, count = total + scores[0][0], count + scores[0][1]
        return total / count if count else None

    def read_encoded_image(self, prior_id: str) -> bytes:
        """Read the first image, WebP."""
        row = self._get_row(prior_id)
        return self._read_content(row["file"], (row["image_offset"], row["image_bytes"]))

    def image(self, prior_id: str) -> RgbImage:
        """Return the first image, (height, width, 3)."""
        return np.asarray(decode_rgb_image(self.read_encoded_image(prior_id)))

    def record(self, prior_id: str) -> dict[str, Any]:
        """Read prompt, attributes, settings, encoder and CLIP score."""
        row = self._get_row(prior_id)
        content = self._read_content(row["file"], (row["json_offset"], row["json_bytes"]))
        record: dict[str, Any] = json.loads(content)
        return record

    def read_prior(self, prior_id: str) -> StoredPrior:
        """Read all files of a prior, byte for byte."""
        row = self._get_row(prior_id)
        spans = self._locate_members(row["file"])[prior_id]
        return StoredPrior(
            key=prior_id,
            prompt=row["prompt"],
            clip_score=row["clip_score"],
            encoder=self.encoder,
            feature=self.features([prior_id])[0],
            members={name: self._read_content(row["file"], span) for name, span in spans.items()},
        )

    def _check_encoder(self) -> tuple[str, int]:
        """Return the encoder of all runs, and the length of its features."""
        query = "SELECT encoder, min(file) AS file FROM priors GROUP BY encoder ORDER BY min(file)"
        encoders = [(row["encoder"], row["file"]) for row in iterate_rows(self._database, query)]
        if not encoders:
            return "", 0
        (encoder, dim), *others = [(name, int(self._open_features(file).shape[1])) for name, file in encoders]
        for (other, other_dim), (_, file) in zip(others, encoders[1:], strict=True):
            raise GenerationError(
                f"{self._shards[file][0]} was encoded by {other} ({other_dim} values), the runs before it by {encoder} "
                f"({dim} values); features of two encoders do not compare: keep one store for each encoder"
            )
        return encoder, dim

    def _find_rows(self, prior_ids: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Return the row of each id in the index; None if it has none."""
        new = [prior_id for prior_id in dict.fromkeys(prior_ids) if prior_id not in self._cache]
        if new:
            query = "SELECT * FROM priors WHERE prior_id IN (SELECT unnest($ids)) ORDER BY file DESC, position DESC"
            rows = {row["prior_id"]: row for row in iterate_rows(self._database, query, {"ids": new})}
            self._cache.update((prior_id, rows.get(prior_id)) for prior_id in new)
        found = {prior_id: self._cache[prior_id] for prior_id in prior_ids}
        while len(self._cache) > _CACHED_ROWS:
            self._cache.popitem(last=False)
        return found

    def _get_row(self, prior_id: str) -> dict[str, Any]:
        row = self._find_rows([prior_id])[prior_id]
        if row is None:
            raise GenerationError(f"prior {prior_id} is not in the store of {len(self)}; make it with generate-priors")
        return row

    def _group_members(self, shard: int) -> dict[str, dict[str, tuple[int, int]]]:
        """Return prior id to its members' names and spans."""
        members: dict[str, dict[str, tuple[int, int]]] = {}
        for name, span in locate_members(self._get_path(shard, "tar")).items():
            members.setdefault(name.split(".", 1)[0], {})[name] = span
        return members

    def _read_content(self, shard: int, span: tuple[int, int]) -> bytes:
        with self._get_path(shard, "tar").open("rb") as file:
            file.seek(span[0])
            return file.read(span[1])
