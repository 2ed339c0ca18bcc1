"""The queries of a data set or of its scenes, parsed: what each one's prior is. Read again where it was done before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow.parquet as pq
from upath import UPath

from generation.priors.config import PriorConfig, build_image_settings
from generation.priors.query_parsing import ParsedSink, ParseStage, compute_parser_fingerprint
from pipeline import ExecutorConfig, Job, PlanRow, get_verified_path, read_receipts, run_job
from shards.reader import SampleReader
from workflows.cli.console import UserError
from workflows.cli.paths import DATA, DatasetPaths, get_dataset_paths, read_lines

QuerySource = Literal["samples", "scenes"]


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Which queries."""

    dataset: str
    source: QuerySource = "samples"
    """``samples``: the queries that ``ingest`` read; ``scenes``: those of the generated scenes."""

    data: UPath = DATA

    @property
    def paths(self) -> DatasetPaths:
        return get_dataset_paths(self.dataset, self.data)

    def read_texts(self) -> dict[str, str]:
        """Query id to text, of those that have words.

        Raises:
            UserError: the data set was not ingested.
        """
        if self.source == "scenes":
            reader = SampleReader(self.paths.scenes)
            records = (reader.record(i) for i in range(len(reader)))
            return {query["query_id"]: query["text"] for record in records for query in record["queries"]}
        if not self.paths.queries.is_file():
            raise UserError(
                f"{self.paths.queries} does not exist; run `make ingest` for data set {self.dataset!r} first"
            )
        lines = read_lines(self.paths.queries)
        return {r["query_id"]: r["text"] for r in lines if any(c.isalnum() for c in r["text"])}


@dataclass(frozen=True, kw_only=True)
class ParsedRow:
    """What the parse job wrote of one query."""

    key: str
    """The query's id."""

    text: str
    prompt: str
    prior_id: str
    kind: str
    shortened: bool
    """Whether details were left out, since the query is longer than what CLIP reads."""

    attributes: str
    """JSON."""


def parse_queries(queries: Queries, prior: PriorConfig, executor: ExecutorConfig) -> list[ParsedRow]:
    """Run the parse job, or read what it wrote for these very queries and settings before."""
    settings = build_image_settings(prior)
    texts = queries.read_texts()
    identity = json.dumps([texts, settings, repr(prior.prompt), compute_parser_fingerprint()]).encode()
    digest = hashlib.sha256(identity).hexdigest()
    output = queries.paths.get_parsed_run(queries.source) / digest[:16]
    job = Job(
        name="parse",
        fingerprint={"queries_and_settings": digest},
        inputs=lambda: (PlanRow(key=key, payload={"text": text}) for key, text in texts.items()),
        items_per_shard=5000,
        seed=0,
        stages=[ParseStage(prior.prompt, settings)],
        sink=ParsedSink(),
    )
    run_job(job, output, executor)
    return list(_read_rows(output))


def _read_rows(output: UPath) -> Iterator[ParsedRow]:
    """In the order of the plan."""
    columns = ["key", "text", "prompt", "prior_id", "kind", "shortened", "attributes"]
    for receipt in read_receipts(output):
        for row in pq.read_table(get_verified_path(output, receipt, "queries"), columns=columns).to_pylist():
            yield ParsedRow(**row)
