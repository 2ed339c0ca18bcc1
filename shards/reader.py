"""Samples of a finished run, by its receipts: any of them by number, or all in order."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline import Location, Receipt, get_verified_path, open_plan, read_receipts, resolve_location
from shards.errors import SchemaError
from shards.schema import Sample
from shards.sidecar import PriorSidecar, SamplePriors, find_images_run, find_samples_run
from shards.tar import iterate_members
from shards.writer import decode_npy


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Where one sample lies and how much is in it."""

    shard: int
    """Index into the reader's receipts."""

    key: str
    split: str
    num_queries: int
    num_without_target: int
    num_instances: int
    width: int
    height: int
    image_offset: int
    image_bytes: int
    json_offset: int
    json_bytes: int
    priors_offset: int
    priors_bytes: int


class SampleReader:
    """Random access to the samples of a run. A shard's size, hash and members are checked when it is first read.

    Args:
        run: folder, or prefix of an object store, of a complete run of ``SampleSink``, or of ``SidecarSink``: samples
            then come from the run that it names, with the priors of the sidecars. Images that the run does not hold
            come from the samples of the same keys in the run that its plan names.
        split: name of a split, for its samples alone.

    Raises:
        PipelineError: the run is missing, incomplete or damaged.
        SchemaError: the run has no such split, or no samples, or its samples were replaced by others.
    """

    def __init__(self, run: Location, split: str | None = None) -> None:
        self.run = run
        samples = find_samples_run(open_plan(run))
        self._sidecar = None if samples is None else PriorSidecar(run)
        self._samples = resolve_location(run if samples is None else samples)
        images = find_images_run(open_plan(self._samples))
        self._images = None if images is None else SampleReader(images)
        self._receipts: list[Receipt] = read_receipts(self._samples)
        entries = [e for e in self._read_entries() if self._sidecar is None or e.key in self._sidecar]
        self.splits = sorted({entry.split for entry in entries})
        if split is not None and split not in self.splits:
            raise SchemaError(f"{run} has no split {split!r}; it has {', '.join(self.splits) or 'no samples'}")
        self.index: list[Entry] = [entry for entry in entries if split is None or entry.split == split]
        self._path = cache(self._get_verified_path)

    def _read_entries(self) -> Iterator[Entry]:
        for shard, receipt in enumerate(self._receipts):
            if "index" not in receipt.files:
                raise SchemaError(f"{self._samples} holds {sorted(receipt.files)}, not samples; pass a run of samples")
            for row in pq.read_table(get_verified_path(self._samples, receipt, "index")).to_pylist():
                try:
                    yield Entry(shard=shard, **row)
                except TypeError as error:
                    raise SchemaError(
                        f"{self.run}, shard {receipt.shard_id}: no index of samples of this version ({error}); make "
                        "the shards again with this version"
                    ) from error

    def _get_verified_path(self, shard: int) -> Path:
        path = get_verified_path(self._samples, self._receipts[shard], "tar")
        for _ in iterate_members(path):  # insists on plain files
            pass
        return path

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_queries(self) -> int:
        return sum(entry.num_queries for entry in self.index)

    @property
    def has_priors(self) -> bool:
        """Whether every sample carries the features of its priors."""
        return self._sidecar is not None or all(entry.priors_bytes >= 0 for entry in self.index)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(i) for i in range(len(self)))

    def record(self, i: int) -> dict[str, Any]:
        """Read the JSON of sample ``i``, without its image."""
        entry = self.index[i]
        with self._path(entry.shard).open("rb") as file:
            record = self._read_json(file, entry)
        return record if self._sidecar is None else self._add_prior_ids(record, self._sidecar.read(entry.key))

    def read(self, i: int) -> Sample:
        """Read sample ``i``, with priors if the run has them.

        Raises:
            SchemaError: its record breaks a rule; names the run and the key.
        """
        entry = self.index[i]
        with self._path(entry.shard).open("rb") as file:
            record = self._read_json(file, entry)
            image = self._read_image(file, entry)
            priors = self._read_priors(file, entry)
        if self._sidecar is not None:
            of_sample = self._sidecar.read(entry.key)
            record, priors = self._add_prior_ids(record, of_sample), of_sample.features
        return Sample.from_json(record, image, priors)

    def _add_prior_ids(self, record: dict[str, Any], priors: SamplePriors) -> dict[str, Any]:
        """Return the record with the prior id of each query."""
        if len(record["queries"]) != len(priors.prior_ids):
            raise SchemaError(
                f"{self.run}, sample {priors.key}: {len(priors.prior_ids)} priors for "
                f"{len(record['queries'])} queries; run `make pack` again"
            )
        pairs = zip(record["queries"], priors.prior_ids, strict=True)
        return {**record, "queries": [{**query, "prior_id": prior_id} for query, prior_id in pairs]}

    def _read_json(self, file: io.BufferedReader, entry: Entry) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(_read_part(file, entry.json_offset, entry.json_bytes))
        except ValueError as error:
            raise SchemaError(f"{self.run}, sample {entry.key}: its record is no JSON ({error})") from error
        return record

    def _read_image(self, file: io.BufferedReader, entry: Entry) -> bytes:
        if entry.image_bytes >= 0:
            return _read_part(file, entry.image_offset, entry.image_bytes)
        if self._images is None:
            raise SchemaError(f"{self.run}, sample {entry.key}: no image; ingest the data with their images")
        return self._images.read(self._images.find(entry.key)).image

    def find(self, key: str) -> int:
        """Return the number of the sample with a key.

        Raises:
            SchemaError: there is none.
        """
        if key not in self._numbers:
            raise SchemaError(f"{self.run} has no sample {key}")
        return self._numbers[key]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {entry.key: number for number, entry in enumerate(self.index)}

    def _read_priors(self, file: io.BufferedReader, entry: Entry) -> npt.NDArray[np.float16] | None:
        if entry.priors_bytes < 0:
            return None
        content = _read_part(file, entry.priors_offset, entry.priors_bytes)
        try:
            return decode_npy(content)
        except ValueError as error:
            raise SchemaError(f"{self.run}, sample {entry.key}: its priors are no array ({error})") from error


def _read_part(file: io.BufferedReader, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0:
        raise SchemaError(f"{file.name}: no member lies at {offset} with {size} bytes; is the index of this shard?")
    file.seek(offset)
    return file.read(size)
