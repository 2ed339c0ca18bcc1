"""Priors of the store that no query needs any more: report them, and remove them on request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from upath import UPath

from generation.priors.config import compute_encoder_fingerprint
from generation.priors.query_parsing import PARSED_COLUMNS
from generation.priors.store import INDEX_COLUMNS, CopySink, CopyStage, list_store_shards
from pipeline import (
    ExecutorConfig,
    Job,
    PlanRow,
    create_view,
    fetch_value,
    get_verified_path,
    iterate_rows,
    list_runs,
    open_database,
    remove_run,
    run_job,
)
from workflows.cli.console import UserError, console
from workflows.cli.paths import get_dataset_paths, get_prior_store_path
from workflows.priors.config import load_prior_config
from workflows.priors.query_parsing import ParsedQueries, Queries, QuerySource, parse_queries

if TYPE_CHECKING:
    import duckdb

MAX_LISTED = 10
"""Stale prompts that are listed; the others are counted."""


def report_stale(encoder: str, data: UPath, executor: ExecutorConfig, priors_per_shard: int | None) -> None:
    """Print the priors of an encoder's store that no query needs, and remove them if ``priors_per_shard`` is given.

    Raises:
        UserError: a dataset has queries but no finished run of ``generate-priors``, or a prior cannot be copied.
    """
    root = get_prior_store_path(encoder, data)
    with open_database() as database:
        select_stale(database, root, find_parsed_queries(encoder, data, executor))
        count = fetch_value(database, "SELECT count(*) FROM stale")
        console.print(f"{count:,} priors of the store are needed by no query below {data}")
        prompts = iterate_rows(database, f"SELECT prompt FROM stale ORDER BY prompt LIMIT {MAX_LISTED}")
        for row in prompts:
            console.print(f"  {row['prompt']}", markup=False)
        if count > MAX_LISTED:
            console.print(f"  and {count - MAX_LISTED:,} more")
        if priors_per_shard is not None and count:
            prune(database, root, executor, priors_per_shard)


def find_parsed_queries(encoder: str, data: UPath, executor: ExecutorConfig) -> list[ParsedQueries]:
    """Parse the queries and scenes of all datasets whose priors an encoder encodes, each as last configured.

    Raises:
        UserError: a dataset has queries but no finished run of ``generate-priors``, so its needs are unknown.
    """
    parsed = []
    for folder in sorted(data.iterdir(), key=str):
        paths = get_dataset_paths(folder.name, data)
        if not paths.queries.is_file():
            continue
        if not paths.prior_config.is_file():
            raise UserError(
                f"{folder} has queries, but its priors are not finished, so stale priors cannot be told; "
                f"run `python -m workflows.generate_priors --dataset {folder.name}` first, or remove the folder"
            )
        prior = load_prior_config(paths.prior_config)
        if compute_encoder_fingerprint(prior) != encoder:
            continue
        sources: tuple[QuerySource, ...] = ("samples", "scenes") if paths.scenes.is_dir() else ("samples",)
        for source in sources:
            parsed.append(parse_queries(Queries(dataset=folder.name, source=source, data=data), prior, executor))
    return parsed


def select_stale(database: duckdb.DuckDBPyConnection, root: UPath, needed: Sequence[ParsedQueries]) -> None:
    """Put all priors of a store into a table, ``priors`` (id, prompt, run), and those not needed into ``stale``."""
    shards = list_store_shards(list_runs(root))
    paths = [str(get_verified_path(run, receipt, "index")) for run, receipt in shards]
    create_view(database, "store_index", paths, INDEX_COLUMNS)
    create_view(database, "needed", [path for one in needed for path in one.list_paths()], PARSED_COLUMNS)
    database.execute("CREATE TABLE runs (file BIGINT, run VARCHAR)")
    if shards:
        database.execute(
            "INSERT INTO runs SELECT unnest(range($count)), unnest($runs)",
            {"count": len(shards), "runs": [str(run) for run, _ in shards]},
        )
    database.execute("CREATE TABLE priors AS SELECT prior_id, prompt, run FROM store_index JOIN runs USING (file)")
    database.execute(
        "CREATE TABLE stale AS SELECT prior_id, any_value(prompt) AS prompt "
        "FROM priors ANTI JOIN needed USING (prior_id) GROUP BY prior_id"
    )


def prune(database: duckdb.DuckDBPyConnection, root: UPath, executor: ExecutorConfig, priors_per_shard: int) -> None:
    """Remove the priors of ``stale`` from a store. The rest of their runs is first copied to a new run, byte for byte.

    To resume, run the same command: the old runs stay until the new one is complete.

    Raises:
        UserError: a prior that is to be kept cannot be read; nothing is removed then.
    """
    database.execute("CREATE TABLE affected AS SELECT DISTINCT run FROM priors SEMI JOIN stale USING (prior_id)")
    database.execute(
        "CREATE TABLE kept AS SELECT DISTINCT prior_id FROM priors SEMI JOIN affected USING (run) "
        "ANTI JOIN stale USING (prior_id)"
    )
    affected = [run for (run,) in database.execute("SELECT run FROM affected ORDER BY run").fetchall()]
    digest, num_kept = hashlib.sha256(b"kept"), 0
    for row in iterate_rows(database, "SELECT prior_id FROM kept ORDER BY prior_id"):
        digest.update(row["prior_id"].encode())
        num_kept += 1
    if num_kept:
        output = root / digest.hexdigest()[:16]
        job = _make_copy_job(database, affected, digest.hexdigest(), priors_per_shard)
        report = run_job(job, output, executor)
        if lost := num_kept - report.accepted:
            raise UserError(
                f"{lost} priors could not be copied, so nothing was removed; see why with "
                f'`make status RUN={output} ARGS="--failures"`'
            )
    for run in affected:
        remove_run(UPath(run))
    console.print(f"{fetch_value(database, 'SELECT count(*) FROM stale'):,} priors removed, {num_kept:,} kept")


def _make_copy_job(database: duckdb.DuckDBPyConnection, runs: Sequence[str], sha256: str, priors_per_shard: int) -> Job:
    kept = "SELECT prior_id FROM kept ORDER BY prior_id"
    return Job(
        name="keep-priors",
        fingerprint={"kept": sha256},
        inputs=lambda: (PlanRow(key=row["prior_id"]) for row in iterate_rows(database, kept)),
        items_per_shard=priors_per_shard,
        stages=[CopyStage(runs)],
        sink=CopySink(),
    )
