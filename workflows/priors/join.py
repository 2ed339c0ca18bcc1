"""The join of samples, their queries, and the priors of these queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from generation.priors.query_parsing import PARSED_COLUMNS
from generation.priors.store import INDEX_COLUMNS, PriorStore, list_store_shards
from pipeline import (
    ROWS_PER_PART,
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
    """Name the parsed queries, ``parsed``, and the priors of a store, ``store_index``."""
    create_view(database, "parsed", parsed.list_paths(), PARSED_COLUMNS)
    create_store_view(database, store)


def create_store_view(database: duckdb.DuckDBPyConnection, store: Location) -> None:
    """Name the priors of a store, ``store_index``, and its shards, ``store_shards``: name (``run/shard id``), file."""
    shards = list_store_shards(list_runs(store))
    paths = [str(get_verified_path(run, receipt, "index")) for run, receipt in shards]
    create_index_view(database, paths, [f"{resolve_location(run).name}/{r.shard_id}" for run, r in shards])


def create_index_view(database: duckdb.DuckDBPyConnection, paths: Sequence[str], names: Sequence[str]) -> None:
    """Name the priors of index files, ``store_index``, and their shards, ``store_shards``."""
    create_view(database, "store_index", paths, INDEX_COLUMNS)
    database.execute("CREATE OR REPLACE TABLE store_shards (shard VARCHAR, file BIGINT)")
    if names:
        database.execute(
            "INSERT INTO store_shards SELECT unnest($names), unnest(range($count))",
            {"names": names, "count": len(names)},
        )


def join_samples(database: duckdb.DuckDBPyConnection) -> None:
    """Put the queries of all samples into a table, ``joined``, in parts; a sample without queries has one row.

    Args:
        database: has the views of ``create_sample_views`` and ``create_prior_views``.
    """
    # DuckDB fails if a join of two large tables exceeds the memory limit too far. Here one side is a part of the
    # queries, which fits, and the other streams.
    database.execute(
        "CREATE OR REPLACE TABLE joined (part BIGINT, key VARCHAR, split VARCHAR, query_id VARCHAR, "
        "query_split VARCHAR, prior_id VARCHAR, place BIGINT, sample_file BIGINT, sample_position BIGINT, "
        "query_file BIGINT, query_position BIGINT)"
    )
    for part, files in enumerate(_divide_files(database)):
        create_view(database, "part_samples", [samples for samples, _ in files], SAMPLE_COLUMNS)
        create_view(database, "part_queries", [queries for _, queries in files], QUERY_COLUMNS)
        database.execute(
            "CREATE OR REPLACE TABLE part AS SELECT s.key, s.split, q.query_id, q.split AS query_split, "
            "s.file AS sample_file, s.position AS sample_position, q.file AS query_file, q.position AS query_position "
            "FROM part_samples s LEFT JOIN part_queries q ON q.sample = s.key"
        )
        database.execute(
            "CREATE OR REPLACE TABLE parsed_part AS "
            "SELECT part.*, p.prior_id FROM part LEFT JOIN parsed p ON p.key = part.query_id"
        )
        database.execute(
            "CREATE OR REPLACE TABLE places AS SELECT prior_id, min((file << 32) | position) AS place "
            "FROM store_index SEMI JOIN parsed_part USING (prior_id) GROUP BY prior_id"
        )
        database.execute(
            "INSERT INTO joined BY NAME SELECT $part AS part, * FROM parsed_part LEFT JOIN places USING (prior_id)",
            {"part": part},
        )


def _divide_files(database: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[str, str]]]:
    """Yield the files of samples and of their queries in lists of at most ``ROWS_PER_PART`` queries, or one pair."""
    pairs = "SELECT s.path, q.path FROM samples_files s JOIN queries_files q USING (number) ORDER BY number"
    files: list[tuple[str, str]] = []
    num_queries = 0
    for samples, queries in database.execute(pairs).fetchall():
        num_rows = pq.read_metadata(queries).num_rows
        if files and num_queries + num_rows > ROWS_PER_PART:
            yield files
            files, num_queries = [], 0
        files.append((samples, queries))
        num_queries += num_rows
    if files:
        yield files


def count_missing(database: duckdb.DuckDBPyConnection) -> int:
    """Return the number of queries of ``join_samples`` whose prior the store lacks."""
    count: int = fetch_value(database, "SELECT count(*) FROM joined WHERE query_id IS NOT NULL AND place IS NULL")
    return count


def iterate_joined(database: duckdb.DuckDBPyConnection) -> Iterator[JoinedSample]:
    """Yield the samples of ``join_samples`` in the order of their run."""
    groups = groupby(_iterate_parts(database), key=lambda row: (row["key"], row["split"]))
    for number, ((key, split), rows) in enumerate(groups):
        queries = tuple(
            JoinedQuery(
                query_id=row["query_id"], split=row["query_split"], prior_id=row["prior_id"], place=row["place"]
            )
            for row in rows
            if row["query_id"] is not None
        )
        yield JoinedSample(number=number, key=key, split=split, queries=queries)


def _iterate_parts(database: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    query = (
        "SELECT key, split, query_id, query_split, prior_id, shard || '/' || (place & 4294967295) AS place "
        "FROM joined LEFT JOIN store_shards ON file = place >> 32 WHERE part = $part "
        "ORDER BY sample_file, sample_position, query_file, query_position"
    )
    for part in range(fetch_value(database, "SELECT coalesce(max(part) + 1, 0) FROM joined")):
        yield from iterate_rows(database, query, {"part": part})


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
