"""Sidecar shards: the priors of samples, beside the samples' own shards, so that no image is stored twice.

A run of sidecars lies in the same folder as the run of samples that it was made for. Its plan names that run and the
hash of its plan. Each shard has two files:

- ``index.parquet``: a row for each sample, its key and the prior ids of its queries;
- ``priors.npy``: (queries, dim) float16, the features of these queries in order, which readers map into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pipeline import (
    Location,
    Plan,
    Receipt,
    Sink,
    SinkOutput,
    get_verified_path,
    open_plan,
    read_receipts,
    resolve_location,
)
from shards.errors import SchemaError
from shards.writer import map_npy

SIDECAR_SCHEMA = pa.schema([("key", pa.string()), ("prior_ids", pa.list_(pa.string()))])

_RUN, _PLAN_HASH = "samples_run", "samples_plan_hash"
"""Keys of the fingerprint of a sidecar run's plan."""

_IMAGES_RUN, _IMAGES_PLAN_HASH = "images_run", "images_plan_hash"
"""The same keys of a run whose samples have the images of another run's samples."""


@dataclass(frozen=True, kw_only=True)
class SamplePriors:
    """The priors of one sample's queries, in their order."""

    key: str
    """Key of the sample."""

    prior_ids: tuple[str, ...]
    features: npt.NDArray[np.float16] = field(repr=False)
    """(queries, dim)"""


class SidecarSink(Sink[SamplePriors]):
    """Writes one shard of priors; the same priors give the same bytes."""

    def write(self, items: list[SamplePriors], folder: Path) -> SinkOutput:
        index, priors = folder / "index.parquet", folder / "priors.npy"
        rows = [{"key": item.key, "prior_ids": list(item.prior_ids)} for item in items]
        pq.write_table(pa.Table.from_pylist(rows, schema=SIDECAR_SCHEMA), index)
        features = [item.features for item in items if len(item.prior_ids)]
        stacked = np.concatenate(features) if features else np.zeros((0, 0))
        np.save(priors, stacked.astype("<f2"), allow_pickle=False)
        return SinkOutput(
            files={"prior_index": index, "priors": priors},
            summary={"samples": len(items), "queries": sum(len(item.prior_ids) for item in items)},
        )


def describe_samples(samples: Location) -> dict[str, str]:
    """Return what the fingerprint of a sidecar run says about its samples.

    Raises:
        PipelineError: there is no such run.
    """
    plan = open_plan(samples)
    return {_RUN: plan.run.name, _PLAN_HASH: plan.plan_hash}


def get_samples_plan_hash(plan: Plan) -> str | None:
    """Return the hash of the plan of the samples that a run beside them was made for; None for other runs."""
    return plan.settings.fingerprint.get(_PLAN_HASH)


def find_samples_run(plan: Plan) -> UPath | None:
    """Return the run of samples that a sidecar run was made for; None if the plan is not of sidecars.

    Raises:
        SchemaError: the samples are gone, or other ones are in their place.
    """
    return _find_run(plan, _RUN, _PLAN_HASH, "run `make pack` again with your options")


def describe_images(samples: Location) -> dict[str, str]:
    """Return what the fingerprint of a run says about the samples whose images its own samples have.

    Raises:
        PipelineError: there is no such run.
    """
    plan = open_plan(samples)
    return {_IMAGES_RUN: plan.run.name, _IMAGES_PLAN_HASH: plan.plan_hash}


def find_images_run(plan: Plan) -> UPath | None:
    """Return the run whose samples have the images of this run's samples of the same key; None if it has its own.

    Raises:
        SchemaError: that run is gone, or another one is in its place.
    """
    return _find_run(plan, _IMAGES_RUN, _IMAGES_PLAN_HASH, "remove the scenes and run `make augment` again")


def _find_run(plan: Plan, run_name: str, hash_name: str, remedy: str) -> UPath | None:
    """Return the run that a plan names, which is beside its own, or one folder above for rounds of scenes."""
    fingerprint = plan.settings.fingerprint
    if run_name not in fingerprint:
        return None
    places = [folder / str(fingerprint[run_name]) for folder in (plan.run.parent, plan.run.parent.parent)]
    found = next((place for place in places if (place / "plan" / "plan.json").exists()), None)
    if found is None:
        raise SchemaError(f"{plan.run} was made of {places[0]}, which does not exist; restore it, or {remedy}")
    if open_plan(found).plan_hash != fingerprint[hash_name]:
        raise SchemaError(f"{plan.run} was made of other samples than {found} holds now; {remedy}")
    return found


class PriorSidecar:
    """Reads the priors of samples from a run of sidecars. Features and ids stay on disk.

    Raises:
        PipelineError: the run is missing, unfinished or damaged.
    """

    def __init__(self, run: Location) -> None:
        self._run = resolve_location(run)
        self._receipts: Sequence[Receipt] = read_receipts(run)
        self._places: dict[str, tuple[int, int, int]] = {}
        """Key to shard, row in its index, and first row in its features."""
        for shard, receipt in enumerate(self._receipts):
            table = pq.read_table(get_verified_path(run, receipt, "prior_index"))
            first = 0
            counts = table["prior_ids"].combine_chunks().value_lengths().to_pylist()
            for row, (key, count) in enumerate(zip(table["key"].to_pylist(), counts, strict=True)):
                self._places[key] = (shard, row, first)
                first += count
        self._read_ids = lru_cache(maxsize=16)(lambda shard: pq.read_table(self._get_path(shard, "prior_index")))
        self._open_features = lru_cache(maxsize=1024)(lambda shard: map_npy(self._get_path(shard, "priors")))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def read(self, key: str) -> SamplePriors:
        """Read the priors of a sample."""
        shard, row, first = self._places[key]
        prior_ids = tuple(self._read_ids(shard)["prior_ids"][row].as_py())
        features = np.array(self._open_features(shard)[first : first + len(prior_ids)])  # (queries, dim), a copy
        return SamplePriors(key=key, prior_ids=prior_ids, features=features)

    def _get_path(self, shard: int, role: str) -> Path:
        return get_verified_path(self._run, self._receipts[shard], role)
