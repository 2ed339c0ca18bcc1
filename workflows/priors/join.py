"""The join of samples, their queries, and the priors of these queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from generation.priors.query_parsing import PARSED_COLUMNS
from generation.priors.store import INDEX_COLUMNS, PriorStore, list_store_shards
from pipeline import (
    Item,
    Location,
    MapStage,
    PipelineError,
    Rejected,
    Stage,
    create_view,
    fetch_value,
    get_verified_path,
    iterate_rows,
    list_runs,
    list_verified_paths,
    resolve_location,
)
from shards.query_table import QUERY_COLUMNS
from shards.reader import SampleReader
from shards.schema import Sample
from shards.sidecar import SamplePriors
from shards.writer import INDEX_COLUMNS as SAMPLE_COLUMNS
from shards.writer import map_npy
from workflows.priors.query_parsing import ParsedQueries

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class JoinedQuery:
    """A query of a sample, and where the feature of its prior is."""

    query_id: str
    split: str
    prior_id: str | None
    """None if the query was not parsed."""

    place: str | None
    """``run/shard/row`` in the store; None if the store lacks the prior."""


@dataclass(frozen=True, kw_only=True)
class JoinedSample:
    """A sample and its queries, in their order."""

    number: int
    """Index into the run's ``SampleReader``."""

    key: str
    split: str
    queries: tuple[JoinedQuery, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Prior ids, or ids of queries without one, whose features the store lacks."""
        return tuple(query.prior_id or f"query {query.query_id}" for query in self.queries if query.place is None)


def create_sample_views(database: duckdb.DuckDBPyConnection, samples: Location) -> None:
    """Name the samples of a run, ``samples``, and their queries, ``queries``."""
    create_view(database, "samples", list_verified_paths(samples, "index"), SAMPLE_COLUMNS)
    create_view(database, "queries", list_verified_paths(samples, "queries"), QUERY_COLUMNS)


def create_prior_views(database: duckdb.DuckDBPyConnection, parsed: ParsedQueries, store: Location) -> None:
    """Name the parsed queries, ``parsed``, and the store's priors with their places, ``stored``."""
    create_view(database, "parsed", parsed.list_paths(), PARSED_COLUMNS)
    create_store_view(database, store)


def create_store_view(database: duckdb.DuckDBPyConnection, store: Location) -> None:
    """Name the priors of a store, ``stored``: id, shard (``run/shard id``) and row of the first that has the id."""
    shards = list_store_shards(list_runs(store))
    paths = [str(get_verified_path(run, receipt, "index")) for run, receipt in shards]
    create_stored_view(database, paths, [f"{resolve_location(run).name}/{r.shard_id}" for run, r in shards])


def create_stored_view(database: duckdb.DuckDBPyConnection, paths: Sequence[str], names: Sequence[str]) -> None:
    """Name the priors of index files, ``stored``; ``names`` are those of their shards."""
    create_view(database, "store_index", paths, INDEX_COLUMNS)
    database.execute("CREATE OR REPLACE TABLE store_shards (shard VARCHAR, file BIGINT)")
    if names:
        database.execute(
            "INSERT INTO store_shards SELECT unnest($names), unnest(range($count))",
            {"names": names, "count": len(names)},
        )
    database.execute(
        "CREATE OR REPLACE VIEW stored AS SELECT prior_id, shard, first & 4294967295 AS row FROM "
        "(SELECT prior_id, min((file << 32) | position) AS first FROM store_index GROUP BY prior_id) "
        "JOIN store_shards ON file = first >> 32"
    )


def count_missing(database: duckdb.DuckDBPyConnection) -> int:
    """Return the number of queries whose prior the store lacks."""
    count: int = fetch_value(
        database,
        "SELECT count(*) FROM queries q LEFT JOIN parsed p ON p.key = q.query_id "
        "LEFT JOIN stored t ON t.prior_id = p.prior_id WHERE t.prior_id IS NULL",
    )
    return count


def iterate_joined(database: duckdb.DuckDBPyConnection) -> Iterator[JoinedSample]:
    """Yield the samples in the order of their run, joined with what the views above name.

    If there is no view ``parsed``, queries have no priors.
    """
    has_priors = database.execute("SELECT count(*) FROM duckdb_views() WHERE view_name = 'parsed'").fetchall() == [(1,)]
    priors = "LEFT JOIN parsed p ON p.key = q.query_id LEFT JOIN stored t ON t.prior_id = p.prior_id"
    columns = "p.prior_id, t.shard || '/' || t.row AS place" if has_priors else "NULL AS prior_id, NULL AS place"
    query = (
        f"SELECT s.key, s.split, q.query_id, q.split AS query_split, {columns} "
        f"FROM samples s LEFT JOIN queries q ON q.sample = s.key {priors if has_priors else ''} "
        "ORDER BY s.file, s.position, q.file, q.position"
    )
    groups = groupby(iterate_rows(database, query), key=lambda row: (row["key"], row["split"]))
    for number, ((key, split), rows) in enumerate(groups):
        queries = tuple(
            JoinedQuery(
                query_id=row["query_id"], split=row["query_split"], prior_id=row["prior_id"], place=row["place"]
            )
            for row in rows
            if row["query_id"] is not None
        )
        yield JoinedSample(number=number, key=key, split=split, queries=queries)


class GatherStage(MapStage[Item, SamplePriors]):
    """Reads the features of a sample's queries from their places in the store.

    Payload: ``prior_ids`` and ``places`` of the queries in order, or ``missing``, the prior ids that the store lacks.

    Args:
        store: folder of the prior store.
    """

    batch_size = 256

    def __init__(self, store: Location) -> None:
        self._store = resolve_location(store)

    def setup(self) -> None:
        shards = list_store_shards(list_runs(self._store))
        self._shards = {f"{resolve_location(run).name}/{receipt.shard_id}": (run, receipt) for run, receipt in shards}
        self._open_features = lru_cache(maxsize=1024)(self._map_features)

    def process_item(self, item: Item) -> SamplePriors | Rejected:
        if missing := item.payload.get("missing"):
            return Rejected(key=item.key, reason="missing_prior", detail=", ".join(missing))
        places = (place.rsplit("/", 1) for place in item.payload["places"])
        features = [self._open_features(shard)[int(row)] for shard, row in places]
        return SamplePriors(
            key=item.key,
            prior_ids=tuple(item.payload["prior_ids"]),
            features=np.stack(features) if features else np.zeros((0, 0), np.float16),
        )

    def _map_features(self, shard: str) -> npt.NDArray[np.float16]:
        if shard not in self._shards:
            raise PipelineError(
                f"shard {shard} of {self._store} is gone since this run was planned; "
                "remove the packed run and run `make pack` again"
            )
        return map_npy(get_verified_path(*self._shards[shard], "features"))


class JoinStage(Stage[Item, Sample]):
    """Reads samples by their numbers and adds the features of their queries' priors.

    Payload: ``number``, and ``prior_ids`` by query id.

    Args:
        samples: run of samples without priors.
        store: folder of the prior store.
    """

    batch_size = 64

    def __init__(self, samples: Location, store: Location) -> None:
        self._samples, self._store = resolve_location(samples), resolve_location(store)

    def setup(self) -> None:
        self._reader = SampleReader(self._samples)
        self._priors = PriorStore.open(self._store)

    def process(self, items: list[Item]) -> list[Sample | Rejected]:
        ids = {prior_id for item in items for prior_id in item.payload["prior_ids"].values()}
        missing = set(self._priors.missing(sorted(ids)))  # one look-up for the whole batch
        return [self._join_sample(item, missing) for item in items]

    def _join_sample(self, item: Item, missing: set[str]) -> Sample | Rejected:
        sample = self._reader.read(item.payload["number"])
        ids: Mapping[str, str] = item.payload["prior_ids"]
        chosen = [ids[query.query_id] for query in sample.queries]
        if lacking := [prior_id for prior_id in dict.fromkeys(chosen) if prior_id in missing]:
            return Rejected(key=item.key, reason="missing_prior", detail=", ".join(lacking))
        queries = tuple(replace(q, prior_id=prior) for q, prior in zip(sample.queries, chosen, strict=True))
        return replace(sample, queries=queries, priors=self._priors.features(chosen))
