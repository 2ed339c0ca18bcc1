"""Tables of queries: Parquet with one row for each query, read without opening images or records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import Location, replace_file, resolve_location

QUERY_SCHEMA = pa.schema(
    [("sample", pa.string()), ("query_id", pa.string()), ("text", pa.string()), ("split", pa.string())]
)
"""``sample`` is the key of the sample that the query belongs to."""

QUERY_COLUMNS = {"sample": "VARCHAR", "query_id": "VARCHAR", "text": "VARCHAR", "split": "VARCHAR"}
"""SQL types of the columns of ``QUERY_SCHEMA``."""

_BATCH_ROWS = 10_000


def write_query_table(path: Location, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write queries as Parquet in one step, a batch of them in memory at a time.

    Args:
        path: local file or object of a store; an earlier one is replaced.
        rows: records with the columns of ``QUERY_SCHEMA``; a missing column is null.
    """
    with replace_file(path) as draft, pq.ParquetWriter(draft, QUERY_SCHEMA, compression="zstd") as writer:
        remaining = iter(rows)
        while batch := [dict(row) for row in islice(remaining, _BATCH_ROWS)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=QUERY_SCHEMA))


def read_query_table(path: Location) -> Iterator[dict[str, str]]:
    """Yield the records of ``write_query_table``, a batch of them in memory at a time."""
    with resolve_location(path).open("rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS):
            yield from batch.to_pylist()
