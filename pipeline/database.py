"""SQL over Parquet files, out of core: DuckDB spills to disk what exceeds its memory limit."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT_GB = 0.5

ROWS_PER_PART = 2_000_000
"""Maximum number of rows that are joined, grouped or sorted at once, so that any number of rows fits the limit."""


def open_database(memory_limit_gb: float = MEMORY_LIMIT_GB) -> duckdb.DuckDBPyConnection:
    """Return a new database in memory, which spills to the system's temporary folder.

    Use it as a context manager. The bytes of a result depend on the query alone if the query orders its rows.

    Args:
        memory_limit_gb: memory of tables, sorts, joins and aggregates together, in 10^9 bytes.
    """
    import duckdb

    spill = Path(tempfile.gettempdir()) / f"resvg.duckdb.{uuid4().hex[:12]}"  # DuckDB creates and removes it
    database = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_limit_gb * 1e9:.0f}B",
            "temp_directory": str(spill),
            "threads": "2",  # each needs memory of its own, and the limit must suffice on any machine
            "preserve_insertion_order": "false",  # the default keeps more in memory
        },
    )
    _hide_progress(database)
    return database


def _hide_progress(connection: duckdb.DuckDBPyConnection) -> None:
    """Switch off the progress bar of a connection; each has its own."""
    import duckdb

    # In a notebook without ipywidgets there is no bar, and the setting is refused.
    with contextlib.suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")


def create_view(
    database: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str], columns: Mapping[str, str]
) -> None:
    """Name the rows of Parquet files, with two more columns: ``file`` and ``position``, their order.

    Args:
        database: open database.
        name: name of the view.
        paths: Parquet files of one schema; may be empty.
        columns: name to SQL type, of the columns that the view has.
    """
    selected = ", ".join(columns)
    database.execute(f"CREATE OR REPLACE TABLE {name}_files (path VARCHAR, number BIGINT)")
    if not paths:
        types = ", ".join(f"NULL::{kind} AS {column}" for column, kind in columns.items())
        empty = f"SELECT {types}, 0::BIGINT AS file, 0::BIGINT AS position WHERE false"
        database.execute(f"CREATE OR REPLACE VIEW {name} AS {empty}")
        return
    database.execute(
        f"INSERT INTO {name}_files SELECT unnest($paths), unnest(range($count))", {"paths": paths, "count": len(paths)}
    )
    globs = (re.sub(r"([*?[])", r"[\1]", path) for path in paths)  # a name's own * is no pattern
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in globs)
    database.execute(
        f"CREATE OR REPLACE VIEW {name} AS SELECT {selected}, f.number AS file, r.file_row_number AS position "
        f"FROM read_parquet([{listed}], filename=true, file_row_number=true) r "
        f"JOIN {name}_files f ON r.filename = f.path"
    )


def iterate_batches(
    database: duckdb.DuckDBPyConnection,
    query: str,
    parameters: Mapping[str, Any] | None = None,
    batch_rows: int = 10_000,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query as record batches, which are computed as they are read.

    Further queries may run meanwhile: each call has a connection of its own to the database.
    """
    with database.cursor() as cursor:
        _hide_progress(cursor)
        yield from cursor.sql(query, params=parameters).to_arrow_reader(batch_rows)


def count_parts(database: duckdb.DuckDBPyConnection, table: str) -> int:
    """Return the number of parts, at least 1, into which ``ROWS_PER_PART`` divides the rows of a table or view."""
    return -(-int(fetch_value(database, f"SELECT count(*) FROM {table}")) // ROWS_PER_PART) or 1


def divide_by_hash(database: duckdb.DuckDBPyConnection, table: str, column: str) -> list[str]:
    """Return SQL conditions that divide a table or view into parts; rows with the same value are in the same part."""
    # DuckDB spills joins and aggregates, but fails where they exceed the memory limit too far.
    num_parts = count_parts(database, table)
    return [f"hash({column}) % {num_parts} = {part}" for part in range(num_parts)]


def count_distinct(database: duckdb.DuckDBPyConnection, table: str, column: str) -> int:
    """Return the number of different values in a column of a table or view."""
    parts = divide_by_hash(database, table, column)
    return sum(fetch_value(database, f"SELECT count(DISTINCT {column}) FROM {table} WHERE {part}") for part in parts)


def fetch_value(database: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the one value of a query's one row."""
    ((value,),) = database.execute(query).fetchall()
    return value


def iterate_rows(
    database: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query as dictionaries, a batch of them in memory at a time."""
    for batch in iterate_batches(database, query, parameters):
        yield from batch.to_pylist()
