from __future__ import annotations

import pytest

import pipeline.database
from pipeline import PlanRow, PlanSettings, count_distinct, divide_by_hash, fetch_value, open_database
from pipeline.errors import PipelineError
from pipeline.plan import open_or_make_plan
from pipeline.storage import Location


def test_parts_hold_every_row_once_and_equal_values_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.database, "ROWS_PER_PART", 30)
    with open_database() as database:
        database.execute("CREATE TABLE numbers AS SELECT (range % 40)::VARCHAR AS name FROM range(100)")
        parts = divide_by_hash(database, "numbers", "name")
        assert len(parts) == 4
        assert sum(fetch_value(database, f"SELECT count(*) FROM numbers WHERE {part}") for part in parts) == 100
        assert count_distinct(database, "numbers", "name") == 40


def test_a_table_without_rows_has_one_part_and_no_value() -> None:
    with open_database() as database:
        database.execute("CREATE TABLE empty (name VARCHAR)")
        assert len(divide_by_hash(database, "empty", "name")) == 1
        assert count_distinct(database, "empty", "name") == 0


def test_a_repeated_key_is_found_in_whichever_part_it_is(tmp_path: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.database, "ROWS_PER_PART", 3)
    settings = PlanSettings(name="toy", fingerprint={}, seed=0, items_per_shard=5)
    for number in range(10):
        rows = [PlanRow(key=f"{key}") for key in [*range(10), number]]
        with pytest.raises(PipelineError, match=f"'{number}' comes 2 times"):
            open_or_make_plan(tmp_path / str(number), settings, rows)
