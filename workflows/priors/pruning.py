"""Priors of the store that no query asks for any more: named, and on request removed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from upath import UPath

from generation.priors.config import compute_encoder_fingerprint
from generation.priors.store import CopySink, CopyStage, PriorStore
from pipeline import ExecutorConfig, Job, PlanRow, list_runs, remove_run, run_job
from workflows.cli.console import UserError, console
from workflows.cli.paths import get_dataset_paths, get_prior_store_path
from workflows.priors.config import load_prior_config
from workflows.priors.query_parsing import Queries, QuerySource, parse_queries

MAX_LISTED = 10
"""Stale prompts that are listed; of the others the number is said."""


def find_wanted_priors(encoder: str, data: UPath, executor: ExecutorConfig) -> set[str]:
    """The ids of the priors that the queries and scenes of all data sets ask of an encoder, each as last configured.

    Raises:
        UserError: a data set has queries but no finished run of ``generate-priors``, so that nobody knows what it
            asks for.
    """
    wanted: set[str] = set()
    for folder in sorted(data.iterdir(), key=str):
        paths = get_dataset_paths(folder.name, data)
        if not paths.queries.is_file():
            continue
        if not paths.prior_config.is_file():
            raise UserError(
                f"{folder} has queries, but its priors are not finished, so what is stale cannot be told; "
                f"run `python -m workflows.generate_priors --dataset {folder.name}` first, or remove the folder"
            )
        prior = load_prior_config(paths.prior_config)
        if compute_encoder_fingerprint(prior) != encoder:
            continue
        sources: tuple[QuerySource, ...] = ("samples", "scenes") if paths.scenes.is_dir() else ("samples",)
        for source in sources:
            wanted |= {
                row.prior_id
                for row in parse_queries(Queries(dataset=folder.name, source=source, data=data), prior, executor)
            }
    return wanted


def find_stale_priors(encoder: str, data: UPath, executor: ExecutorConfig) -> dict[str, str]:
    """Id and prompt of every prior of an encoder's store that nobody asks for."""
    wanted, store = (
        find_wanted_priors(encoder, data, executor),
        PriorStore(*list_runs(get_prior_store_path(encoder, data))),
    )
    return {prior_id: store.prompt(prior_id) for prior_id in store if prior_id not in wanted}


def print_stale(stale: Mapping[str, str], data: UPath) -> None:
    """Say how many there are, and some of their prompts."""
    console.print(f"{len(stale):,} priors of the store are asked for by no query below {data}")
    for prompt in sorted(stale.values())[:MAX_LISTED]:
        console.print(f"  {prompt}", markup=False)
    if len(stale) > MAX_LISTED:
        console.print(f"  and {len(stale) - MAX_LISTED:,} more")


def prune(stale: Mapping[str, str], root: UPath, executor: ExecutorConfig, priors_per_shard: int) -> None:
    """Remove them from a store: what is kept of their runs is written as a run of its own first, byte for byte.

    Killed at any point, the same command goes on: until the new run is whole, the old ones stay.

    Raises:
        UserError: a prior that is to be kept cannot be read; nothing is removed then.
    """
    runs = {run: PriorStore(run) for run in list_runs(root)}
    affected = {run: store for run, store in runs.items() if any(prior_id in stale for prior_id in store)}
    kept = sorted({prior_id for store in affected.values() for prior_id in store if prior_id not in stale})
    if kept:
        identity = hashlib.sha256("".join(["kept", *kept]).encode()).hexdigest()
        job = _copy_job([str(run) for run in affected], kept, identity, priors_per_shard)
        run_job(job, root / identity[:16], executor)
        if lost := PriorStore(root / identity[:16]).missing(kept):
            raise UserError(
                f"{len(lost)} priors could not be copied, so nothing was removed; see why with "
                f'`make status RUN={root / identity[:16]} ARGS="--failures"`'
            )
    for run in affected:
        remove_run(run)
    console.print(f"{len(stale):,} priors removed, {len(kept):,} kept of the same runs")


def _copy_job(runs: Sequence[str], kept: Sequence[str], identity: str, priors_per_shard: int) -> Job:
    return Job(
        name="keep-priors",
        fingerprint={"kept": identity},
        inputs=lambda: (PlanRow(key=prior_id, payload={}) for prior_id in kept),
        items_per_shard=priors_per_shard,
        seed=0,
        stages=[CopyStage(runs)],
        sink=CopySink(),
    )
