"""Training shards: samples (and generated scenes) joined with the features of their priors.

    make pack
    make pack ARGS="--dataset unc --features semantic/unc"       # features published with TransVG's split files

Queries are bound to priors by id, through what `make generate-priors` parsed. Published features lie row by row beside
the split files that the queries were read from; they are bound to the queries of these rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from generation.priors.config import compute_encoder_fingerprint
from pipeline import ExecutorConfig, Item, Job, PlanRow, Stage
from shards.reader import SampleReader
from shards.schema import Sample
from shards.writer import SampleSink
from workflows.cli.console import Executor, UserError, console, print_path, run
from workflows.cli.paths import DATA, get_dataset_paths, get_prior_store_path
from workflows.priors.config import load_prior_config
from workflows.priors.join import JoinStage
from workflows.priors.published_features import JoinPublishedStage, PublishedFeatures, count_rows
from workflows.priors.query_parsing import Queries, QuerySource, parse_queries
from workflows.reports.run_report import run_and_plot_job


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """What is joined."""

    dataset: str = "miniature"
    features: Path | None = None
    """Folder of ``<split>_fea.pth``, a row for each row of TransVG's split files, in place of our own priors."""

    data: UPath = DATA
    samples_per_shard: int = 500
    executor: Executor = field(default_factory=ExecutorConfig)


def main(config: PackConfig) -> None:
    """Pack the images, and the scenes where there are any."""
    paths = get_dataset_paths(config.dataset, config.data)
    if not paths.samples.is_dir():
        raise UserError(f"{paths.samples} does not exist; run `make ingest` for data set {config.dataset!r} first")
    if config.features:
        pack_published(config, config.features)
    else:
        pack(config, "samples")
    if paths.scenes.is_dir():
        pack(config, "scenes")
    else:
        console.print("no scenes to pack; `make augment` makes them")


def pack(config: PackConfig, source: QuerySource) -> None:
    """Pack one run of samples."""
    paths = get_dataset_paths(config.dataset, config.data)
    prior = load_prior_config(paths.prior_config)
    queries = Queries(dataset=config.dataset, source=source, data=config.data)
    prior_ids = {row.key: row.prior_id for row in parse_queries(queries, prior, config.executor)}
    samples = getattr(paths, source)
    rows = list(_iterate_rows(SampleReader(samples), prior_ids))
    encoder = compute_encoder_fingerprint(prior)
    _run_pack_job(config, source, rows, JoinStage(samples, get_prior_store_path(encoder, config.data)), encoder)


def pack_published(config: PackConfig, features: Path) -> None:
    """Pack the samples with features from elsewhere.

    Raises:
        UserError: the samples are not of TransVG's split files.
        SourceError: a split has no features, or not one for each row.
    """
    paths = get_dataset_paths(config.dataset, config.data)
    reader = SampleReader(paths.samples)
    counts = count_rows(paths.queries, config.dataset)
    missing = [split for split in reader.splits if split not in counts]
    if missing:
        raise UserError(
            f"the queries of {', '.join(missing)} are not rows of TransVG's split files, to which published features "
            "are bound; run `make ingest` with --format transvg"
        )
    published = PublishedFeatures(features, config.dataset, {split: counts[split] for split in reader.splits})
    rows = [PlanRow(key=e.key, payload={"number": i}, group=e.split) for i, e in enumerate(reader.index)]
    _run_pack_job(
        config, "samples", rows, JoinPublishedStage(paths.samples, published), published.compute_fingerprint()
    )


def _run_pack_job(
    config: PackConfig, source: QuerySource, rows: list[PlanRow], join: Stage[Item, Sample], encoder: str
) -> None:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row.key, row.payload)).encode())
    job = Job(
        name=f"pack-{source}",
        fingerprint={"samples_and_priors": digest.hexdigest(), "encoder": encoder},
        inputs=lambda: rows,
        items_per_shard=config.samples_per_shard,
        seed=0,
        stages=[join],
        sink=SampleSink(),
    )
    output = get_dataset_paths(config.dataset, config.data).get_packed_run(source)
    run_and_plot_job(job, output, config.executor)
    print_path(f"training shards of the {source}", output)


def _iterate_rows(reader: SampleReader, prior_ids: dict[str, str]) -> Iterator[PlanRow]:
    for number, entry in enumerate(reader.index):
        queries = [query["query_id"] for query in reader.record(number)["queries"]]
        ids = {query: prior_ids[query] for query in queries}
        yield PlanRow(key=entry.key, payload={"number": number, "prior_ids": ids}, group=entry.split)


if __name__ == "__main__":
    run(main, PackConfig, __doc__)
