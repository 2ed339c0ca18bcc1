"""Stages that read samples: all of them, into another split, or with fewer queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from pipeline import Item, MapStage, resolve_location
from shards.reader import SampleReader
from shards.schema import Sample


def select_queries(sample: Sample, chosen: Sequence[int]) -> Sample:
    """Return the sample with the queries of the given indices, and their priors."""
    priors = None if sample.priors is None else sample.priors[list(chosen)]
    return replace(sample, queries=tuple(sample.queries[i] for i in chosen), priors=priors)


class ReadStage(MapStage[Item, Sample]):
    """Stage that reads samples by ``number`` and moves their queries to a ``split``, if the payload has one."""

    def __init__(self, samples: str) -> None:
        self._samples = samples

    def setup(self) -> None:
        self._reader = SampleReader(resolve_location(self._samples))

    def process_item(self, item: Item) -> Sample:
        sample, split = self._reader.read(item.payload["number"]), item.payload.get("split")
        return replace(sample, queries=tuple(replace(one, split=split or one.split) for one in sample.queries))


class SampleQueriesStage(MapStage[Sample, Sample]):
    """Stage that keeps a number of each sample's queries, drawn at random by its key."""

    def __init__(self, max_queries: Mapping[str, int]) -> None:
        self._max_queries = dict(max_queries)

    def process_item(self, item: Sample) -> Sample:
        count = len(item.queries)
        chosen = Random(f"fewer/{item.key}").sample(range(count), min(count, self._max_queries[item.key]))
        return select_queries(item, sorted(chosen))
