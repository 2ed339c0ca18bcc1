"""The SQL of generate-priors and pack, on synthetic tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

import pipeline.database
from benchmarks import scale
from generation.priors.query_parsing import PARSED_COLUMNS
from pipeline import PlanRow, create_view, open_database
from shards.query_table import QUERY_COLUMNS
from shards.writer import INDEX_COLUMNS as SAMPLE_COLUMNS
from workflows.generate_priors import iterate_missing, select_missing
from workflows.priors import join


@contextmanager
def _open_tables(folder: Path, num_stored: int | None, memory_limit_gb: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the tables of ``write_tables``; the store has the first ``num_stored`` of its shards, or all."""
    with open_database(memory_limit_gb) as database:
        for name, columns in (("samples", SAMPLE_COLUMNS), ("queries", QUERY_COLUMNS), ("parsed", PARSED_COLUMNS)):
            create_view(database, name, scale.list_tables(folder / name), columns)
        index = scale.list_tables(folder / "index")[:num_stored]
        join.create_index_view(database, index, [f"run/{number:05d}" for number in range(len(index))])
        yield database


def _select_rows(folder: Path, limit: int | None = None) -> tuple[list[join.JoinedSample], str | None, list[PlanRow]]:
    with _open_tables(folder, 1, 0.5) as database:
        join.join_samples(database)
        sha256 = select_missing(database, limit)
        return list(join.iterate_joined(database)), sha256, list(iterate_missing(database))


def _set_rows_per_part(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(pipeline.database, "ROWS_PER_PART", count)
    monkeypatch.setattr(join, "ROWS_PER_PART", count)


def test_tables_ten_times_the_memory_limit_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one statement for all joins, DuckDB fails here with 48 MB, as with 1 GB and 20 million queries."""
    monkeypatch.setattr(scale, "ROWS_PER_FILE", 20_000)
    _set_rows_per_part(monkeypatch, 50_000)
    scale.write_tables(tmp_path, 600_000)
    with _open_tables(tmp_path, None, 0.048) as database:
        join.join_samples(database)
        assert join.count_missing(database) == 0
        assert sum(len(sample.queries) for sample in join.iterate_joined(database)) == 600_000
    with _open_tables(tmp_path, 0, 0.048) as database:
        select_missing(database, None)
        keys = [row.key for row in iterate_missing(database)]
        assert len(keys) > 100_000 and keys == sorted(set(keys))


@pytest.mark.parametrize("limit", [None, 100])
def test_rows_and_their_order_do_not_depend_on_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr(scale, "ROWS_PER_FILE", 400)
    scale.write_tables(tmp_path, 3000)
    whole = _select_rows(tmp_path, limit)
    _set_rows_per_part(monkeypatch, 900)
    assert _select_rows(tmp_path, limit) == whole
    samples, _, missing = whole
    assert [sample.number for sample in samples] == list(range(750))
    assert [query.query_id for sample in samples for query in sample.queries] == [
        f"refcoco_train_{number:010d}" for number in range(3000)
    ]
    assert [row.key for row in missing] == sorted(row.key for row in missing)
    absent = {prior_id for sample in samples for prior_id in sample.missing}
    assert {row.key for row in missing} == set(sorted(absent)[:limit])
