"""Join the samples of a dataset, and its scenes, with the features of their priors.

    make pack
    make pack ARGS="--dataset refcoco --self-contained"          # images and priors in the same shards
    make pack ARGS="--dataset unc --features semantic/unc"       # features published with TransVG's split files

This writes ``packed-samples`` and ``packed-scenes`` beside the samples and scenes: shards of priors alone, in the order
of the samples. You train and evaluate on them as on samples. If samples or priors change, run the same command again.

``--self-contained`` writes ``self-contained-samples`` and ``self-contained-scenes``, which need neither the samples nor
the prior store: for other trainers, and for streaming from object stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generation.priors.config import compute_encoder_fingerprint
from generation.priors.query_parsing import PARSED_COLUMNS
from pipeline import (
    ExecutorConfig,
    Item,
    Job,
    PlanRow,
    PositiveInt,
    Stage,
    create_view,
    open_database,
    open_plan,
)
from shards.sidecar import SidecarSink, describe_samples
from shards.writer import SampleSink
from workflows.cli.console import Executor, UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig, get_prior_store_path
from workflows.priors.config import load_prior_config
from workflows.priors.join import (
    GatherStage,
    JoinedSample,
    JoinStage,
    count_missing,
    create_index_view,
    create_prior_views,
    create_sample_views,
    iterate_joined,
    join_samples,
)
from workflows.priors.published_features import GatherPublishedStage, PublishedFeatures, count_rows
from workflows.priors.query_parsing import Queries, QuerySource, parse_queries
from workflows.reports.run_report import run_and_plot_job


@dataclass(frozen=True, kw_only=True)
class PackConfig(DatasetConfig):
    """Dataset to pack, and the form of the result."""

    self_contained: bool = False
    """Image and priors in the same shards, instead of shards of priors beside the samples; several times larger."""

    features: Path | None = None
    """Folder of ``<split>_fea.pth``, a row for each row of TransVG's split files, instead of generated priors."""

    samples_per_shard: PositiveInt = 500
    """Number of samples of a shard, the unit of work."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.self_contained and self.features:
            raise ValueError("self_contained packs generated priors; leave out either --self-contained or --features")


def main(config: PackConfig) -> None:
    """Pack the samples, and the scenes if there are any."""
    paths = config.paths
    config.check_exists(paths.samples, "ingest")
    if config.features:
        pack_published(config, config.features)
    else:
        pack(config, "samples")
    if paths.scenes.is_dir():
        pack(config, "scenes")
    else:
        console.print("no scenes to pack; run `make augment` to generate some")


def pack(config: PackConfig, source: QuerySource) -> None:
    """Pack one run of samples with generated priors."""
    paths = config.paths
    prior = load_prior_config(paths.prior_config)
    encoder = compute_encoder_fingerprint(prior)
    store, samples = get_prior_store_path(encoder, config.data), getattr(paths, source)
    parsed = parse_queries(Queries(dataset=config.dataset, source=source, data=config.data), prior, config.executor)
    with open_database() as database:
        create_sample_views(database, samples)
        create_prior_views(database, parsed, store)
        join_samples(database)
        made_of = {
            "encoder": encoder,
            "parsed_sha256": parsed.sha256,
            "missing_priors": count_missing(database),  # pack again once they are there
        }
        if config.self_contained:
            rows = map(make_join_row, iterate_joined(database))
            _run_pack_job(config, source, rows, JoinStage(samples, store), made_of)
        else:
            rows = map(make_gather_row, iterate_joined(database))
            _run_pack_job(config, source, rows, GatherStage(store), made_of)


def pack_published(config: PackConfig, features: Path) -> None:
    """Pack the samples with published features.

    Raises:
        UserError: the samples are not of TransVG's split files.
        SourceError: a split has no features, or not one for each row.
    """
    paths = config.paths
    counts = count_rows(paths.queries, config.dataset)
    with open_database() as database:
        create_sample_views(database, paths.samples)
        splits = [
            split for (split,) in database.execute("SELECT DISTINCT split FROM samples ORDER BY split").fetchall()
        ]
        if missing := [split for split in splits if split not in counts]:
            raise UserError(
                f"the queries of {', '.join(missing)} are not rows of TransVG's split files, to which published "
                "features are bound; run `make ingest` with --format transvg"
            )
        published = PublishedFeatures(features, config.dataset, {split: counts[split] for split in splits})
        create_view(database, "parsed", [], PARSED_COLUMNS)  # no priors: the features are bound to rows
        create_index_view(database, [], [])
        join_samples(database)
        rows = (
            PlanRow(
                key=sample.key,
                payload={"queries": [[query.query_id, query.split] for query in sample.queries]},
                group=sample.split,
            )
            for sample in iterate_joined(database)
        )
        made_of = {"features": published.compute_fingerprint()}
        _run_pack_job(config, "samples", rows, GatherPublishedStage(published), made_of)


def make_join_row(sample: JoinedSample) -> PlanRow:
    """Return the row of ``JoinStage`` for a sample."""
    prior_ids = {query.query_id: query.prior_id or f"query {query.query_id}" for query in sample.queries}
    return PlanRow(key=sample.key, payload={"number": sample.number, "prior_ids": prior_ids}, group=sample.split)


def make_gather_row(sample: JoinedSample) -> PlanRow:
    """Return the row of ``GatherStage`` for a sample."""
    payload: dict[str, Any] = {"missing": sample.missing}
    if not sample.missing:
        payload = {
            "prior_ids": [query.prior_id for query in sample.queries],
            "places": [query.place for query in sample.queries],
        }
    return PlanRow(key=sample.key, payload=payload, group=sample.split)


def _run_pack_job(
    config: PackConfig, source: QuerySource, rows: Iterator[PlanRow], stage: Stage[Item, Any], made_of: dict[str, Any]
) -> None:
    """Write one packed run. One that was made of other samples or priors is replaced, since it can be made again."""
    paths, samples = config.paths, getattr(config.paths, source)
    sources = {"samples": open_plan(samples).plan_hash} if config.self_contained else describe_samples(samples)
    job = Job(
        name=f"pack-{source}",
        fingerprint={**sources, **made_of},
        inputs=lambda: rows,
        items_per_shard=config.samples_per_shard,
        stages=[stage],
        sink=SampleSink() if config.self_contained else SidecarSink(),
    )
    output = paths.get_self_contained_run(source) if config.self_contained else paths.get_packed_run(source)
    run_and_plot_job(job, output, replace(config.executor, replace=True))
    print_path(f"the {source} with their priors", output)


if __name__ == "__main__":
    run(main, PackConfig, __doc__)
