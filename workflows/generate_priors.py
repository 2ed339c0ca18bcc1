"""Queries to semantic priors: parse, prompt, draw each unique prompt once, encode, store.

    make generate-priors                                        # the miniature data set with the miniature models
    make generate-priors ARGS="--dataset refcoco --preset sd15 --num-gpus 1"

Data sets with the same image encoder share a store, and a prompt that is there is not drawn again. Images are not
needed. How the priors are made is kept in ``prior.json`` beside the data set; later steps go by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import tyro
from upath import UPath

from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint
from generation.priors.rendering import RenderStage
from generation.priors.store import PriorSink, PriorStore
from pipeline import (
    ExecutorConfig,
    Job,
    PlanRow,
    PositiveInt,
    count_distinct,
    count_parts,
    iterate_rows,
    list_runs,
    open_database,
    open_plan,
    read_receipts,
)
from workflows.cli.console import Executor, console, print_path, run
from workflows.cli.paths import DatasetConfig, get_prior_store_path
from workflows.presets import miniature
from workflows.presets.full_size import PRESETS
from workflows.priors.config import save_prior_config
from workflows.priors.join import create_prior_views, create_store_view
from workflows.priors.pruning import report_stale
from workflows.priors.query_parsing import Queries, QuerySource, parse_queries
from workflows.reports.run_report import run_and_plot_job

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class PresetConfig(DatasetConfig):
    """Options that decide the defaults of the others."""

    preset: Literal["miniature", "sd15", "sdxl", "lcm", "sd-turbo", "sdxl-turbo"] | None = None
    """Defaults of the options of ``prior``; by default ``miniature`` for that dataset, and ``sd15`` for others."""


@dataclass(frozen=True, kw_only=True)
class GeneratePriorsConfig(PresetConfig):
    """Whose queries, and how their priors are made."""

    source: QuerySource = "samples"
    """Origin of the queries: ``samples``, which ``ingest`` read, or the generated ``scenes``."""

    prior: PriorConfig = field(default_factory=miniature.prior_config)
    """Wording, text-to-image model and image encoder, by local folder or hub id."""

    report_stale: bool = False
    """Flag to report the stored priors that no query of any dataset uses; nothing is changed."""

    prune: bool = False
    """Flag to remove those priors, after the missing ones are rendered."""

    limit: PositiveInt | None = None
    """Maximum number of prompts that this command renders, to look at some before the long run. If it is interrupted,
    the same command resumes the same prompts."""

    priors_per_shard: PositiveInt = 128
    """Number of priors of a shard, the unit of work."""

    num_gpus: float = 0.0
    """Number of GPUs of each worker that renders."""

    executor: Executor = field(default_factory=ExecutorConfig)


def make_default_config(arguments: list[str]) -> GeneratePriorsConfig:
    """Return the defaults, with ``prior`` of the preset, or of the dataset, on the command line.

    Flickr30k Entities boxes garments; in the other datasets a query that names a garment alone means its wearer.
    """
    known, _ = tyro.cli(PresetConfig, args=arguments, return_unknown_args=True, add_help=False)
    name = known.preset or ("miniature" if known.dataset == "miniature" else "sd15")
    prior = PRESETS[name]()
    if known.dataset.startswith("flickr30k"):
        prior = replace(prior, prompt=replace(prior.prompt, garments_mean_wearers=False))
    return GeneratePriorsConfig(preset=name, prior=prior)


def main(config: GeneratePriorsConfig) -> None:
    """Parse all queries, then render and encode the prompts that the store lacks."""
    settings = build_image_settings(config.prior)
    parsed = parse_queries(
        Queries(dataset=config.dataset, source=config.source, data=config.data), config.prior, config.executor
    )
    encoder = compute_encoder_fingerprint(config.prior)
    with open_database() as database:
        create_prior_views(database, parsed, get_prior_store_path(encoder, config.data))
        counts = "SELECT count(*), count(*) FILTER (shortened) FROM parsed"
        ((num_queries, num_shortened),) = database.execute(counts).fetchall()
        num_priors = count_distinct(database, "parsed", "prior_id")
        console.print(f"{num_queries:,} queries need {num_priors:,} different images")
        if num_shortened:
            console.print(
                f"{num_shortened:,} queries are longer than CLIP reads: head and attributes went into the prompt first"
            )
        render_missing(config, settings, database)
    if config.source == "samples":
        save_prior_config(config.paths.prior_config, config.prior)
    if config.report_stale or config.prune:
        report_stale(encoder, config.data, config.executor, config.priors_per_shard if config.prune else None)


def render_missing(config: GeneratePriorsConfig, settings: dict[str, Any], database: duckdb.DuckDBPyConnection) -> None:
    """Render and encode missing priors as one more run of the store, after interrupted runs.

    Args:
        config: options of the command.
        settings: settings that decide an image.
        database: has the views of ``create_prior_views``.
    """
    encoder = compute_encoder_fingerprint(config.prior)
    root = get_prior_store_path(encoder, config.data)
    request = {"source": [config.dataset, config.source, config.limit], "settings": settings, "encoder": encoder}
    for run_folder, fingerprint in find_interrupted(root, request):
        run_and_plot_job(make_prior_job(config, settings, fingerprint, list), run_folder, config.executor)
        create_store_view(database, root)
        if config.limit:
            print_path("the interrupted run is finished, and --limit reached; the prior store", root)
            return
    sha256 = select_missing(database, config.limit)
    if sha256 is None:
        print_path("nothing is missing: the prior store", root)
        return
    fingerprint = {"priors": sha256, **request}
    job = make_prior_job(config, settings, fingerprint, lambda: iterate_missing(database))
    run_and_plot_job(job, root / sha256[:16], config.executor)
    store = PriorStore.open(root)
    score = store.compute_mean_clip_score()
    console.print(f"{len(store):,} priors" + ("" if score is None else f", CLIP score {score:.1f} on average"))
    print_path("the prior store", root)


def select_missing(database: duckdb.DuckDBPyConnection, limit: int | None) -> str | None:
    """Put the priors that the store lacks into a table, ``missing``, and return the SHA-256 of their ids.

    A prior is recorded with the attributes of its first query.

    Returns:
        64 hex digits; None if nothing is missing.
    """
    database.execute(
        "CREATE OR REPLACE TABLE missing (part BIGINT, prior_id VARCHAR, prompt VARCHAR, attributes VARCHAR, "
        "num_images INTEGER)"
    )
    digest, count = hashlib.sha256(), 0
    num_parts = count_parts(database, "parsed")
    for part in range(num_parts):
        if limit is not None and count >= limit:
            break
        # Prior ids are hexadecimal digits of a hash, of which each part has an equal range.
        lower, upper = (f"{edge * 16**8 // num_parts:08x}" for edge in (part, part + 1))
        in_part = f"prior_id >= '{lower}'" + (f" AND prior_id < '{upper}'" if part + 1 < num_parts else "")
        database.execute(
            "CREATE OR REPLACE TABLE first_queries AS "
            f"SELECT prior_id, min((file << 32) | position) AS first FROM parsed WHERE {in_part} GROUP BY prior_id"
        )
        database.execute(
            "CREATE OR REPLACE TABLE first_missing AS SELECT first FROM first_queries "
            f"ANTI JOIN (SELECT prior_id FROM store_index WHERE {in_part}) USING (prior_id)"
            + (f" ORDER BY prior_id LIMIT {limit - count}" if limit is not None else "")
        )
        database.execute(
            f"INSERT INTO missing SELECT {part}, prior_id, prompt, attributes, num_images "
            "FROM parsed JOIN first_missing ON (file << 32) | position = first"
        )
        for row in iterate_rows(database, f"SELECT prior_id FROM missing WHERE part = {part} ORDER BY prior_id"):
            digest.update(row["prior_id"].encode())
            count += 1
    return digest.hexdigest() if count else None


def iterate_missing(database: duckdb.DuckDBPyConnection) -> Iterator[PlanRow]:
    """Yield a row for each prior of ``select_missing``, in the order of their ids."""
    for part in range(count_parts(database, "parsed")):
        query = f"SELECT * FROM missing WHERE part = {part} ORDER BY prior_id"
        for row in iterate_rows(database, query):
            payload = {"prompt": row["prompt"], "num_images": row["num_images"]}
            yield PlanRow(key=row["prior_id"], payload={**payload, "attributes": json.loads(row["attributes"])})


def find_interrupted(root: UPath, request: dict[str, Any]) -> list[tuple[UPath, dict[str, Any]]]:
    """Unfinished runs of the store that the same request began, with the fingerprints of their plans."""
    unfinished = []
    for run_folder in list_runs(root):
        plan = open_plan(run_folder)
        planned = dict(plan.settings.fingerprint)
        same = {**planned, "priors": ""} == json.loads(json.dumps({**request, "priors": ""}))
        if same and len(read_receipts(run_folder, allow_partial=True)) < len(plan.shards):
            unfinished.append((run_folder, planned))
    return unfinished


def make_prior_job(
    config: GeneratePriorsConfig,
    settings: dict[str, Any],
    fingerprint: dict[str, Any],
    rows: Callable[[], Iterable[PlanRow]],
) -> Job:
    """Return the job that renders and encodes the prompts of some rows."""
    return Job(
        name="priors",
        fingerprint=fingerprint,
        inputs=rows,
        items_per_shard=config.priors_per_shard,
        seed=config.prior.seed,
        stages=[RenderStage(config.prior, num_gpus=config.num_gpus)],
        sink=PriorSink(settings, compute_encoder_fingerprint(config.prior)),
    )


if __name__ == "__main__":
    run(main, GeneratePriorsConfig, __doc__, make_default_config)
