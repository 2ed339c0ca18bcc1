"""Peak memory of the driver in generate-priors and pack, with stages that do nothing.

    make benchmark NAME=scale                                  # 1, 5 and 20 million queries, about half an hour
    python -m benchmarks.scale --queries 1000000

The queries, the parsed queries and the store's index are synthetic Parquet tables; four queries a sample, 0.29 prompts
a query. This prints a table and writes ``benchmarks/results/scale.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.engine import Figures, NothingSink, NothingStage, get_peak_mb, quiet, run_in_process
from generation.priors.query_parsing import PARSED_COLUMNS
from pipeline import Job, create_view, open_database, open_plan, run_job
from shards.query_table import QUERY_COLUMNS
from shards.writer import INDEX_COLUMNS as SAMPLE_COLUMNS
from workflows.generate_priors import iterate_missing, select_missing
from workflows.pack import make_gather_row
from workflows.priors.join import count_missing, create_index_view, iterate_joined, join_samples

QUERIES_PER_SAMPLE = 4
PROMPTS_PER_QUERY = 0.29
ROWS_PER_FILE = 100_000
ITEMS_PER_SHARD = 5_000


def write_tables(folder: Path, num_queries: int) -> Figures:
    """Write the tables that ingest, the parse job and the prior store leave for so many queries."""
    num_samples, num_prompts = num_queries // QUERIES_PER_SAMPLE, int(num_queries * PROMPTS_PER_QUERY)
    samples = "SELECT printf('image_%010d', range) AS key, 'train' AS split"
    queries = f"SELECT printf('image_%010d', range // {QUERIES_PER_SAMPLE}) AS sample, "
    queries += "printf('refcoco_train_%010d', range) AS query_id, 'second cup from the left' AS text, 'train' AS split"
    prompt = f"(hash(range) % {num_prompts})::VARCHAR"
    parsed = (
        f"SELECT printf('refcoco_train_%010d', range) AS key, 'second cup from the left' AS text, md5({prompt}) AS "
    )
    parsed += f"prior_id, 'a red cup number ' || {prompt} AS prompt, 'noun_phrase' AS kind, 'cup' AS head, "
    parsed += """'{"query":"second cup from the left","target":{"noun":"cup","lemma":"cup"}}' AS attributes, """
    parsed += "false AS shortened, 1 AS num_images"
    index = "SELECT md5(range::VARCHAR) AS prior_id, 'a red cup number ' || range AS prompt, 25::FLOAT AS clip_score, "
    index += "'clip' AS encoder, 0 AS image_offset, 9 AS image_bytes, 9 AS json_offset, 9 AS json_bytes"
    tables = {"samples": (samples, num_samples), "queries": (queries, num_queries), "parsed": (parsed, num_queries)}
    with open_database() as database:
        for name, (query, count) in {**tables, "index": (index, num_prompts)}.items():
            (folder / name).mkdir(parents=True)
            # As in a run of samples, file N of the queries holds those of the samples in file N.
            rows_per_file = ROWS_PER_FILE // QUERIES_PER_SAMPLE if name == "samples" else ROWS_PER_FILE
            for number, start in enumerate(range(0, count, rows_per_file)):
                rows = f"{query} FROM range({start}, {min(count, start + rows_per_file)})"
                path = folder / name / f"{number:06d}.parquet"
                database.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)").fetchall()
    return {"mb": round(sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6)}


def list_tables(folder: Path) -> list[str]:
    """Return the Parquet files of a table in order."""
    return sorted(map(str, folder.iterdir()))


def measure_generate_priors(folder: Path) -> Figures:
    """Select the prompts that an empty store lacks, plan them, and run stages that do nothing."""
    imports_mb, started = get_peak_mb(), time.perf_counter()
    with open_database() as database:
        create_view(database, "parsed", list_tables(folder / "parsed"), PARSED_COLUMNS)
        create_index_view(database, [], [])
        sha256 = select_missing(database, None)
        selected_s = time.perf_counter() - started
        return _run(
            folder / "priors",
            Job(
                name="priors",
                fingerprint={"priors": sha256},
                inputs=lambda: iterate_missing(database),
                items_per_shard=ITEMS_PER_SHARD,
                seed=0,
                stages=[NothingStage()],
                sink=NothingSink(),
            ),
            selected_s,
            imports_mb,
        )


def measure_pack(folder: Path) -> Figures:
    """Join samples, queries, parsed queries and the store, plan the samples, and run stages that do nothing."""
    imports_mb, started = get_peak_mb(), time.perf_counter()
    with open_database() as database:
        create_view(database, "samples", list_tables(folder / "samples"), SAMPLE_COLUMNS)
        create_view(database, "queries", list_tables(folder / "queries"), QUERY_COLUMNS)
        create_view(database, "parsed", list_tables(folder / "parsed"), PARSED_COLUMNS)
        index = list_tables(folder / "index")
        create_index_view(database, index, [f"0123456789abcdef/{number:05d}" for number in range(len(index))])
        join_samples(database)
        num_missing = count_missing(database)
        selected_s = time.perf_counter() - started
        return _run(
            folder / "packed",
            Job(
                name="pack",
                fingerprint={"missing_priors": num_missing},
                inputs=lambda: map(make_gather_row, iterate_joined(database)),
                items_per_shard=ITEMS_PER_SHARD,
                seed=0,
                stages=[NothingStage()],
                sink=NothingSink(),
            ),
            selected_s,
            imports_mb,
        )


def _run(output: Path, job: Job, selected_s: float, imports_mb: float) -> Figures:
    started = time.perf_counter()
    report = run_job(job, output, console=quiet)
    planned_s = open_plan(output).items.stat().st_mtime - (time.time() - (time.perf_counter() - started))
    return {
        "items": report.attempted,
        "shards": report.num_shards,
        "sql_s": round(selected_s, 1),
        "plan_s": round(planned_s, 1),
        "run_s": round(time.perf_counter() - started - planned_s, 1),
        "imports_mb": imports_mb,
        "driver_peak_mb": get_peak_mb(),
    }


def main() -> None:
    """Measure each size in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", nargs="+", type=int, default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.json"))
    options = parser.parse_args()
    figures: dict[str, Figures] = {}
    table = Table(
        "queries", "command", *("items", "shards", "sql_s", "plan_s", "run_s", "imports_mb", "driver_peak_mb")
    )
    for num_queries in options.queries:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tables = run_in_process(write_tables, folder / "tables", num_queries)
            for command, measure in (("generate-priors", measure_generate_priors), ("pack", measure_pack)):
                measured = run_in_process(measure, folder / "tables")
                figures[f"{command} of {num_queries:,} queries"] = {**measured, "tables_mb": tables["mb"]}
                table.add_row(f"{num_queries:,}", command, *(f"{value:,}" for value in measured.values()))
                Console().print(command, measured)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        options.output.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    Console().print(table)


if __name__ == "__main__":
    main()
