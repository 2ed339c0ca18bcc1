"""Crop features: CLIP features of the crops of samples' instances, the exemplars of training.

A run of crop features lies in the same folder as the run of samples that it was made of. Its plan names that run, the
hash of its plan, and the image encoder. Each shard has two files:

- ``index.parquet``: a row for each sample, its key and the number of its instances;
- ``crops.npy``: (instances, views, dim) float16, the features of these instances in order, which readers map into
  memory.
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

from pipeline import (
    Location,
    Receipt,
    Sink,
    SinkOutput,
    get_verified_path,
    open_plan,
    read_receipts,
    resolve_location,
)
from shards.errors import SchemaError
from shards.sidecar import get_samples_plan_hash
from shards.writer import map_npy

CROP_SCHEMA = pa.schema([("key", pa.string()), ("num_instances", pa.int32())])


@dataclass(frozen=True, kw_only=True)
class InstanceCrops:
    """The features of the crops of one sample's instances."""

    key: str
    """Key of the sample."""

    features: npt.NDArray[np.float16] = field(repr=False)
    """(instances, views, dim) of length 1, in the order of the sample's instances."""

    num_targets: int = 0
    """Number of these instances that queries refer to."""


class CropFeatureSink(Sink[InstanceCrops]):
    """Writes one shard of crop features; the same features give the same bytes."""

    def write(self, items: list[InstanceCrops], folder: Path) -> SinkOutput:
        index, crops = folder / "index.parquet", folder / "crops.npy"
        rows = [{"key": item.key, "num_instances": len(item.features)} for item in items]
        pq.write_table(pa.Table.from_pylist(rows, schema=CROP_SCHEMA), index)
        stacked = np.concatenate([item.features for item in items]) if items else np.zeros((0, 0, 0))
        np.save(crops, stacked.astype("<f2"), allow_pickle=False)
        return SinkOutput(
            files={"crop_index": index, "crops": crops},
            summary={
                "samples": len(items),
                "instances": len(stacked),
                "crops": stacked.shape[0] * stacked.shape[1],
                "targets": sum(item.num_targets for item in items),
            },
        )


class CropFeatures:
    """Reads the crop features of samples from a run. Features stay on disk.

    Raises:
        SchemaError: there is no such run.
        PipelineError: the run is unfinished or damaged, or no run of crop features.
    """

    def __init__(self, run: Location) -> None:
        self._run = resolve_location(run)
        if not (self._run / "plan" / "plan.json").exists():
            raise SchemaError(f"{run} does not exist; make the crop features with `make crop-features`")
        self._plan = open_plan(run)
        self._receipts: Sequence[Receipt] = read_receipts(run)
        self._open_features = lru_cache(maxsize=1024)(lambda shard: map_npy(self._get_path(shard, "crops")))
        self._places: dict[str, tuple[int, int, int]] = {}
        """Key to shard, first row in its features, and number of instances."""
        for shard in range(len(self._receipts)):
            table = pq.read_table(self._get_path(shard, "crop_index"))
            first = 0
            for key, count in zip(table["key"].to_pylist(), table["num_instances"].to_pylist(), strict=True):
                self._places[key] = (shard, first, count)
                first += count
        self._shards = sorted({shard for shard, _, _ in self._places.values()})
        """Shards that have samples; the features of others have no shape."""
        shapes = {self._open_features(shard).shape[1:] for shard in self._shards[:1]}
        self.num_views, self.dim = shapes.pop() if shapes else (0, 0)
        """``num_views``: crops of each instance; ``dim``: length of a feature; both 0 if there are no samples."""

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def keys(self) -> list[str]:
        """Return the keys of all samples that have crop features, in the order of the run."""
        return list(self._places)

    def read(self, key: str) -> npt.NDArray[np.float16]:
        """Read the features of a sample's instances.

        Returns:
            (instances, views, dim), a copy, in the order of the sample's instances.
        """
        shard, first, count = self._places[key]
        return np.array(self._open_features(shard)[first : first + count])

    def compute_mean(self) -> npt.NDArray[np.float32]:
        """Compute the mean over all instances and views.

        Returns:
            (dim,)

        Raises:
            SchemaError: no sample has an instance.
        """
        parts = [self._open_features(shard) for shard in self._shards]
        count = sum(part.shape[0] * part.shape[1] for part in parts)
        if not count:
            raise SchemaError(f"{self._run} has no instance; ingest the dataset with the boxes of its objects")
        total = sum(part.sum((0, 1), np.float64) for part in parts)
        return np.asarray(total / count, np.float32)

    def check_matches(self, packed: Location) -> None:
        """Check that priors are of the same image encoder as the crops, and of the same samples.

        Args:
            packed: run of samples with priors.

        Raises:
            SchemaError: another encoder encoded the priors, or they lie beside other samples.
        """
        ours, theirs = self._plan, open_plan(packed)
        hashes = {get_samples_plan_hash(ours), get_samples_plan_hash(theirs)} - {None}
        if len(hashes) > 1:
            raise SchemaError(
                f"{self._run} has crops of other samples than {packed}; run `make crop-features` and `make pack` again "
                "with your options"
            )
        encoder, other = (plan.settings.fingerprint.get("encoder") for plan in (ours, theirs))
        if other not in (None, encoder):
            raise SchemaError(
                f"{self._run} was encoded by {encoder}, the priors of {packed} by {other}; features of two encoders do "
                "not compare: run `make crop-features` again, which takes the encoder of the priors"
            )

    def _get_path(self, shard: int, role: str) -> Path:
        return get_verified_path(self._run, self._receipts[shard], role)
