"""Training shards: samples (and generated scenes) joined with the features of their priors.

    make pack

Queries are bound to priors by id, through what `make generate-priors` parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from upath import UPath

from generation.prior import encoder_fingerprint
from pipeline.executor import ExecutorConfig
from pipeline.run import Job, PlanRow, run_job
from shards.reader import SampleReader
from shards.writer import SampleSink
from workflows.console import Executor, UserError, console, lies_in, run
from workflows.joining import JoinStage
from workflows.layout import DATA, folders, prior_store
from workflows.parsing import Queries, Source, parse
from workflows.prior_config import load_prior_config


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """What is joined."""

    dataset: str = "miniature"
    data: UPath = DATA
    samples_per_shard: int = 250
    executor: Executor = field(default_factory=ExecutorConfig)


def main(config: PackConfig) -> None:
    """Pack the photographs, and the scenes where there are any."""
    place = folders(config.dataset, config.data)
    if not place.samples.is_dir():
        raise UserError(f"{place.samples} does not exist; run `make ingest` for data set {config.dataset!r} first")
    pack(config, "samples")
    if place.scenes.is_dir():
        pack(config, "scenes")
    else:
        console.print("no scenes to pack; `make augment` makes them")


def pack(config: PackConfig, of: Source) -> None:
    """Pack one run of samples."""
    place = folders(config.dataset, config.data)
    prior = load_prior_config(place.prior_config)
    queries = Queries(dataset=config.dataset, of=of, data=config.data)
    prior_ids = {row.key: row.prior_id for row in parse(queries, prior, config.executor)}
    source = getattr(place, of)
    reader = SampleReader(source)
    rows = list(_rows(reader, prior_ids))
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row.key, row.payload)).encode())
    job = Job(
        name=f"pack-{of}",
        fingerprint={"samples_and_priors": digest.hexdigest(), "encoder": encoder_fingerprint(prior)},
        inputs=lambda: rows,
        items_per_shard=config.samples_per_shard,
        seed=0,
        stages=[JoinStage(source, prior_store(config.data))],
        sink=SampleSink(),
    )
    run_job(job, place.packed(of), config.executor)
    lies_in(f"training shards of the {of}", place.packed(of))


def _rows(reader: SampleReader, prior_ids: dict[str, str]) -> Iterator[PlanRow]:
    for number, entry in enumerate(reader.index):
        queries = [query["query_id"] for query in reader.record(number)["queries"]]
        ids = {query: prior_ids[query] for query in queries}
        yield PlanRow(key=entry.key, payload={"number": number, "prior_ids": ids}, group=entry.split)


if __name__ == "__main__":
    run(main, PackConfig, __doc__)
