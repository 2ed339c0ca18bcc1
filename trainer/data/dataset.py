"""The samples of several runs as one sequence."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from PIL import Image

from shards.images import ImageError, decode_rgb_image
from shards.reader import SampleReader
from shards.schema import Sample
from trainer.errors import TrainerError


class Samples:
    """Samples of several runs, one run after another.

    Args:
        readers: readers of the runs.
        keep_without_target: whether queries without a target are kept, for a network with a presence head.
    """

    def __init__(self, readers: Sequence[SampleReader], *, keep_without_target: bool = False) -> None:
        self._readers, self._keep_without_target = list(readers), keep_without_target
        self._ends = list(accumulate(len(reader) for reader in readers))
        num_queries = sum(reader.num_queries for reader in readers)
        num_without_target = sum(entry.num_without_target for reader in readers for entry in reader.index)
        self.num_left_out = 0 if keep_without_target else num_without_target
        """Number of queries without a target that are left out."""

        self.num_without_target = num_without_target - self.num_left_out
        """Number of queries without a target that are kept."""

        self.runs = [
            [entry.num_queries - (0 if keep_without_target else entry.num_without_target) for entry in reader.index]
            for reader in readers
        ]
        """Number of queries of each sample of each run, without those that are left out."""

        self.num_queries = [count for run in self.runs for count in run]
        """Number of queries of each sample, without those that are left out."""

        if num_queries == num_without_target:
            raise TrainerError(
                f"no queries with a target in {', '.join(str(reader.run) for reader in readers)}; choose runs or a "
                "split with such queries"
            )

    def __len__(self) -> int:
        return len(self.num_queries)

    def read(self, i: int) -> Sample:
        """Read sample ``i``, counted through all runs, without the queries that are left out."""
        reader, number = self._locate(i)
        sample = reader.read(number)
        if self._keep_without_target or not reader.index[number].num_without_target:
            return sample
        kept = [n for n, query in enumerate(sample.queries) if query.boxes_xyxy]
        priors = None if sample.priors is None else sample.priors[kept]
        return replace(sample, queries=tuple(sample.queries[n] for n in kept), priors=priors)

    def read_record(self, i: int) -> dict[str, Any]:
        """Read the JSON of sample ``i``, without image and priors."""
        reader, number = self._locate(i)
        record = reader.record(number)
        if self._keep_without_target:
            return record
        return {**record, "queries": [query for query in record["queries"] if query["boxes_xyxy"]]}

    def count_queries_with_more(self, num_targets: int) -> int:
        """Count the queries with more targets than a number."""
        records = map(self.read_record, range(len(self)))
        return sum(len(query["boxes_xyxy"]) > num_targets for record in records for query in record["queries"])

    def find_run(self, i: int) -> int:
        """Return the number of the run that has sample ``i``."""
        return bisect_right(self._ends, i)

    def get_key(self, i: int) -> str:
        """Return the key of sample ``i`` without reading the sample."""
        reader, number = self._locate(i)
        return reader.index[number].key

    def _locate(self, i: int) -> tuple[SampleReader, int]:
        number = self.find_run(i)
        return self._readers[number], i - (self._ends[number - 1] if number else 0)

    def check_priors(self, prior_dim: int) -> None:
        """Check that every run has priors of ``prior_dim`` features.

        Raises:
            TrainerError: a run has no priors, or they have another dimension.
        """
        for reader in self._readers:
            if not reader.has_priors:
                raise TrainerError(
                    f"{reader.run} has samples without priors, but the network uses priors; "
                    "pack the run with its priors, or choose a network without them (use_prior=False)"
                )
            priors = reader.read(0).priors
            if priors is not None and priors.shape[1] != prior_dim:
                raise TrainerError(
                    f"{reader.run} has priors of {priors.shape[1]} features, the network takes {prior_dim}; "
                    f"set the network's prior_dim to {priors.shape[1]}"
                )


def decode_image(sample: Sample) -> Image.Image:
    """Decode the image of a sample to RGB.

    Raises:
        TrainerError: the image cannot be decoded; names the sample.
    """
    try:
        return decode_rgb_image(sample.image)
    except ImageError as error:
        raise TrainerError(
            f"sample {sample.key}: its image {sample.image_name} cannot be decoded ({error}); ingest it again"
        ) from error
