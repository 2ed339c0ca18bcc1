"""The join of samples with the features of their queries' priors, by prior id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from generation.priors.store import PriorStore
from pipeline import Item, Location, Rejected, Stage, resolve_location
from shards.reader import SampleReader
from shards.schema import Sample


class JoinStage(Stage[Item, Sample]):
    """Reads a sample by its number and gives each of its queries the feature of its prior.

    Args:
        samples: run of samples without priors.
        store: the prior store.
    """

    batch_size = 64

    def __init__(self, samples: Location, store: Location) -> None:
        self._samples, self._store = resolve_location(samples), resolve_location(store)

    def setup(self) -> None:
        self._reader = SampleReader(self._samples)
        self._priors = PriorStore.open(self._store)

    def process(self, items: list[Item]) -> list[Sample | Rejected]:
        return [self._join_sample(item) for item in items]

    def _join_sample(self, item: Item) -> Sample | Rejected:
        sample = self._reader.read(item.payload["number"])
        ids: Mapping[str, str] = item.payload["prior_ids"]
        chosen = [ids[query.query_id] for query in sample.queries]
        missing = self._priors.missing(chosen)
        if missing:
            return Rejected(key=item.key, reason="missing_prior", detail=", ".join(missing))
        queries = tuple(replace(q, prior_id=prior) for q, prior in zip(sample.queries, chosen, strict=True))
        return replace(sample, queries=queries, priors=self._priors.features(chosen))
