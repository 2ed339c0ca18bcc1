"""Stages that take samples as they are: all of them, into another split, or with fewer queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from pipeline import Item, Rejected, Stage, resolve_location
from shards.reader import SampleReader
from shards.schema import Sample


def select_queries(sample: Sample, chosen: Sequence[int]) -> Sample:
    """The sample with some of its queries, by index, and their priors."""
    priors = None if sample.priors is None else sample.priors[list(chosen)]
    return replace(sample, queries=tuple(sample.queries[i] for i in chosen), priors=priors)


class ReadStage(Stage[Item, Sample]):
    """Reads samples by their ``number`` and puts their queries into a ``split``, if the payload has one."""

    def __init__(self, samples: str) -> None:
        self._samples = samples

    def setup(self) -> None:
        self._reader = SampleReader(resolve_location(self._samples))

    def process(self, items: list[Item]) -> list[Sample | Rejected]:
        return [self._read_sample(item) for item in items]

    def _read_sample(self, item: Item) -> Sample:
        sample, split = self._reader.read(item.payload["number"]), item.payload.get("split")
        return replace(sample, queries=tuple(replace(one, split=split or one.split) for one in sample.queries))


class SampleQueriesStage(Stage[Sample, Sample]):
    """Keeps so many of each sample's queries, drawn at random by its key."""

    def __init__(self, max_queries: Mapping[str, int]) -> None:
        self._max_queries = dict(max_queries)

    def process(self, items: list[Sample]) -> list[Sample | Rejected]:
        return [self._sample_queries(item) for item in items]

    def _sample_queries(self, sample: Sample) -> Sample:
        count = len(sample.queries)
        chosen = Random(f"fewer/{sample.key}").sample(range(count), min(count, self._max_queries[sample.key]))
        return select_queries(sample, sorted(chosen))
