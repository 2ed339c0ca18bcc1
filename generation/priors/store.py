"""The prior store: where priors lie on disk, and how they are found again by id.

A shard is a tar of ``{prior_id}.webp`` (the first image; further ones are ``{prior_id}.1.webp``, ...),
``{prior_id}.json`` and ``{prior_id}.feature.npy``, beside a Parquet index that also holds the features, so that the
join with samples never opens a tar. A store is every delivered shard of every run below one folder: a later run adds
what is missing, and nothing is ever rewritten.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from generation.errors import GenerationError
from generation.models.text_to_image import RgbImage
from generation.priors.rendering import GeneratedPrior
from pipeline import (
    Item,
    Location,
    Receipt,
    Rejected,
    Sink,
    SinkOutput,
    Stage,
    get_verified_path,
    list_runs,
    read_receipts,
    resolve_location,
)
from shards.tar import locate_members
from shards.writer import encode_npy, write_tar

INDEX_SCHEMA = pa.schema(
    [
        ("prior_id", pa.string()),
        ("prompt", pa.string()),
        ("clip_score", pa.float32()),
        ("encoder", pa.string()),
        ("feature", pa.binary()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int64()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
    ]
)
"""One row a prior, in the order of the tar; ``feature`` is little-endian float16, offsets are of the contents."""


@dataclass(frozen=True, kw_only=True)
class StoredPrior:
    """A prior as it lies in the store."""

    key: str
    """The prior id."""

    prompt: str
    clip_score: float | None
    encoder: str
    feature: bytes = field(repr=False)
    """Little-endian float16."""

    members: Mapping[str, bytes] = field(repr=False)
    """Names and contents in the tar, in order."""


class PriorSink(Sink[GeneratedPrior]):
    """Writes one shard of priors; the same priors give the same bytes.

    Args:
        settings: ``build_image_settings``, for the records.
        encoder: fingerprint of the encoder.
    """

    def __init__(self, settings: dict[str, Any], encoder: str) -> None:
        self.settings, self.encoder = settings, encoder

    def write(self, items: list[GeneratedPrior], folder: Path) -> SinkOutput:
        files = _write_shard(folder, [self._build_stored_prior(item) for item in items])
        counts = {
            "retried": sum(item.generated.num_retries > 0 for item in items),
            "nsfw_filtered": sum(item.generated.nsfw_filtered for item in items),
        }
        summary = {"priors": len(items), "images": sum(len(item.generated.compressed) for item in items)}
        summary |= {name: count for name, count in counts.items() if count}
        return SinkOutput(files=files, summary=summary)

    def _build_stored_prior(self, item: GeneratedPrior) -> StoredPrior:
        return StoredPrior(
            key=item.key,
            prompt=item.generated.prompt,
            clip_score=item.generated.clip_score,
            encoder=self.encoder,
            feature=item.generated.feature.astype("<f2").tobytes(),
            members=self._members(item),
        )

    def _members(self, item: GeneratedPrior) -> dict[str, bytes]:
        members = {
            f"{item.key}.webp" if i == 0 else f"{item.key}.{i}.webp": content
            for i, content in enumerate(item.generated.compressed)
        }
        members[f"{item.key}.json"] = json.dumps(self._record(item), sort_keys=True).encode()
        members[f"{item.key}.feature.npy"] = encode_npy(item.generated.feature)
        return members

    def _record(self, item: GeneratedPrior) -> dict[str, Any]:
        return {
            "prior_id": item.key,
            "prompt": item.generated.prompt,
            "attributes": item.payload.get("attributes"),
            "clip_score": item.generated.clip_score,
            "settings": self.settings,
            "encoder": self.encoder,
            "num_retries": item.generated.num_retries,
            "nsfw_filtered": item.generated.nsfw_filtered,
        }


class CopySink(Sink[StoredPrior]):
    """Writes priors of other runs again, byte for byte: what is kept when a store is pruned."""

    def write(self, items: list[StoredPrior], folder: Path) -> SinkOutput:
        return SinkOutput(files=_write_shard(folder, items), summary={"priors": len(items)})


class CopyStage(Stage[Item, StoredPrior]):
    """Reads priors by id, an item's key, out of runs of a store."""

    def __init__(self, runs: Sequence[str]) -> None:
        self.runs = tuple(runs)
        self._store: PriorStore | None = None

    def setup(self) -> None:
        self._store = PriorStore(*map(resolve_location, self.runs))

    def process(self, items: list[Item]) -> list[StoredPrior | Rejected]:
        if self._store is None:
            raise RuntimeError("call setup before process")
        return [self._store.read_prior(item.key) for item in items]


def _write_shard(folder: Path, items: Sequence[StoredPrior]) -> dict[str, Path]:
    """The tar and its index."""
    tar, index = folder / "priors.tar", folder / "index.parquet"
    with tar.open("wb") as file:
        write_tar(file, [dict(item.members) for item in items])
    spans = locate_members(tar) if items else {}
    pq.write_table(pa.Table.from_pylist([_get_row(item, spans) for item in items], schema=INDEX_SCHEMA), index)
    return {"tar": tar, "index": index}


def _get_row(item: StoredPrior, spans: dict[str, tuple[int, int]]) -> dict[str, object]:
    image, record = spans[f"{item.key}.webp"], spans[f"{item.key}.json"]
    return {
        "prior_id": item.key,
        "prompt": item.prompt,
        "clip_score": item.clip_score,
        "encoder": item.encoder,
        "feature": item.feature,
        "image_offset": image[0],
        "image_bytes": image[1],
        "json_offset": record[0],
        "json_bytes": record[1],
    }


@dataclass(frozen=True, slots=True)
class _PriorSpans:
    """Where a prior's members lie."""

    shard: int
    image: tuple[int, int]
    record: tuple[int, int]


class PriorStore:
    """Reads priors by id from one or more runs; the index and the features are held in memory (1 kB a prior).

    Where two runs hold the same prior, the first one named counts.

    Args:
        runs: folders of runs that wrote with ``PriorSink``, finished or not: every delivered shard is read.

    Raises:
        PipelineError: a run is missing or damaged.
        GenerationError: the runs were made with different encoders.
    """

    def __init__(self, *runs: Location) -> None:
        self._shards: list[tuple[Location, Receipt]] = []
        self._tars: dict[int, Path] = {}
        self._members: dict[int, dict[str, dict[str, tuple[int, int]]]] = {}
        self._spans: dict[str, _PriorSpans] = {}
        self._rows: dict[str, int] = {}
        self._prompts: list[str] = []
        self._scores: list[float | None] = []
        self.encoder = ""
        features: list[npt.NDArray[np.float16]] = []
        for run in runs:
            for receipt in read_receipts(run, allow_partial=True):
                features += self._read_index(run, receipt)
        self._features = np.stack(features) if features else np.zeros((0, 0), np.float16)

    @staticmethod
    def open(root: Location) -> PriorStore:
        """Every run directly in ``root``, or ``root`` itself, in the order of their names.

        Raises:
            GenerationError: there is none.
        """
        runs = list_runs(root)
        if not runs:
            raise GenerationError(f"there is no prior store below {root}; make one with `make generate-priors`")
        return PriorStore(*runs)

    @property
    def dim(self) -> int:
        """Length of a feature; 0 in an empty store."""
        return int(self._features.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, prior_id: object) -> bool:
        return prior_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def missing(self, prior_ids: Iterable[str]) -> list[str]:
        """The ids that are not here, each once, in order."""
        return [prior_id for prior_id in dict.fromkeys(prior_ids) if prior_id not in self._rows]

    def features(self, prior_ids: Sequence[str]) -> npt.NDArray[np.float16]:
        """(len(prior_ids), dim), in order.

        Raises:
            GenerationError: an id is missing.
        """
        return self._features[[self._get_row(prior_id) for prior_id in prior_ids]]

    def prompt(self, prior_id: str) -> str:
        return self._prompts[self._get_row(prior_id)]

    def clip_score(self, prior_id: str) -> float | None:
        return self._scores[self._get_row(prior_id)]

    def compute_mean_clip_score(self) -> float | None:
        """Over all priors that have one; None if none has."""
        scores = [score for score in self._scores if score is not None]
        return sum(scores) / len(scores) if scores else None

    def read_encoded_image(self, prior_id: str) -> bytes:
        """The first image as it lies in the store, WebP."""
        return self._read_content(prior_id, self._get_spans(prior_id).image)

    def image(self, prior_id: str) -> RgbImage:
        """The first image, (height, width, 3)."""
        with Image.open(io.BytesIO(self.read_encoded_image(prior_id))) as image:
            return np.asarray(image.convert("RGB"))

    def record(self, prior_id: str) -> dict[str, Any]:
        """Prompt, attributes, settings, encoder and CLIP score."""
        record: dict[str, Any] = json.loads(self._read_content(prior_id, self._get_spans(prior_id).record))
        return record

    def read_prior(self, prior_id: str) -> StoredPrior:
        """All that the store holds of a prior, byte for byte."""
        row, shard = self._get_row(prior_id), self._get_spans(prior_id).shard
        if shard not in self._members:
            self._members[shard] = {}
            for name, span in locate_members(self._get_tar(shard)).items():
                self._members[shard].setdefault(name.split(".", 1)[0], {})[name] = span
        spans = self._members[shard][prior_id]
        return StoredPrior(
            key=prior_id,
            prompt=self._prompts[row],
            clip_score=self._scores[row],
            encoder=self.encoder,
            feature=self._features[row].astype("<f2").tobytes(),
            members={name: self._read_content(prior_id, span) for name, span in spans.items()},
        )

    def check_dim(self, dim: int) -> None:
        """Refuse a network that reads features of another length.

        Raises:
            GenerationError: naming both lengths.
        """
        if dim != self.dim:
            raise GenerationError(
                f"the store's features have {self.dim} values ({self.encoder}), the network reads {dim}; "
                f"set its prior size to {self.dim}, or encode with another model"
            )

    def _read_index(self, run: Location, receipt: Receipt) -> list[npt.NDArray[np.float16]]:
        shard = len(self._shards)
        self._shards.append((run, receipt))
        added = []
        for row in pq.read_table(get_verified_path(run, receipt, "index")).to_pylist():
            if row["prior_id"] in self._rows:
                continue
            feature = np.frombuffer(row["feature"], "<f2")
            self._check_encoder(run, row["encoder"], len(feature))
            self._rows[row["prior_id"]] = len(self._rows)
            self._spans[row["prior_id"]] = _PriorSpans(
                shard, (row["image_offset"], row["image_bytes"]), (row["json_offset"], row["json_bytes"])
            )
            self._prompts.append(row["prompt"])
            self._scores.append(row["clip_score"])
            self._dim = len(feature)
            added.append(feature)
        return added

    def _check_encoder(self, run: Location, encoder: str, dim: int) -> None:
        if self._rows and (encoder, dim) != (self.encoder, self._dim):
            raise GenerationError(
                f"{run} was encoded by {encoder} ({dim} values), the runs before it by {self.encoder} "
                f"({self._dim} values); features of two encoders do not compare: keep one store for each encoder"
            )
        self.encoder = encoder

    def _get_row(self, prior_id: str) -> int:
        if prior_id not in self._rows:
            raise GenerationError(f"prior {prior_id} is not in the store of {len(self)}; make it with generate-priors")
        return self._rows[prior_id]

    def _get_spans(self, prior_id: str) -> _PriorSpans:
        self._get_row(prior_id)
        return self._spans[prior_id]

    def _read_content(self, prior_id: str, span: tuple[int, int]) -> bytes:
        with self._get_tar(self._spans[prior_id].shard).open("rb") as file:
            file.seek(span[0])
            return file.read(span[1])

    def _get_tar(self, shard: int) -> Path:
        if shard not in self._tars:
            run, receipt = self._shards[shard]
            self._tars[shard] = get_verified_path(run, receipt, "tar")
        return self._tars[shard]
