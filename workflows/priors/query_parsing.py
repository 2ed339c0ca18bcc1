"""Parse the queries of a dataset or of its scenes, once for each parser and configuration; words of appearance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow.parquet as pq
from upath import UPath

from generation.parsing import lexicon as lex
from generation.priors.config import PriorConfig, build_image_settings
from generation.priors.query_parsing import ParsedQuery, ParsedSink, ParseStage, compute_parser_fingerprint
from pipeline import ExecutorConfig, Job, PlanRow, list_verified_paths, read_receipts, run_job
from shards.query_table import read_query_table
from workflows.cli.paths import DatasetConfig

QuerySource = Literal["samples", "scenes"]


@dataclass(frozen=True, kw_only=True)
class Queries(DatasetConfig):
    """Queries of one dataset, which stay on disk."""

    source: QuerySource = "samples"
    """Queries of ``samples``, which ``ingest`` read, or of the generated ``scenes``."""

    def compute_sha256(self) -> str:
        """Compute a hash of the tables that hold the queries.

        Raises:
            UserError: the dataset was not ingested.
        """
        if self.source == "scenes":
            receipts = read_receipts(self.paths.scenes)
            hashes = [file.sha256 for receipt in receipts for role, file in receipt.files.items() if role == "queries"]
            return hashlib.sha256("".join(hashes).encode()).hexdigest()
        digest = hashlib.sha256()
        with self.check_exists(self.paths.queries, "ingest").open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
        return digest.hexdigest()

    def iterate_rows(self) -> Iterator[PlanRow]:
        """Yield a row for each query that has words."""
        tables: list[UPath] = [self.paths.queries]
        if self.source == "scenes":
            tables = [UPath(path) for path in list_verified_paths(self.paths.scenes, "queries")]
        for table in tables:
            for record in read_query_table(table):
                if any(character.isalnum() for character in record["text"]):
                    yield PlanRow(key=record["query_id"], payload={"text": record["text"]})


@dataclass(frozen=True, kw_only=True)
class ParsedQueries:
    """Queries and their priors in a finished run of the parse job, which stay on disk."""

    run: UPath
    sha256: str
    """Hash of the queries, the parser and the configuration, 64 hex digits."""

    def list_paths(self) -> list[str]:
        """Return the Parquet files of ``ParsedQuery``, in the order of the queries."""
        return list_verified_paths(self.run, "queries")

    def __iter__(self) -> Iterator[ParsedQuery]:
        for path in self.list_paths():
            for row in pq.read_table(path).to_pylist():
                yield ParsedQuery(**row)


def parse_queries(queries: Queries, prior: PriorConfig, executor: ExecutorConfig) -> ParsedQueries:
    """Run the parse job, unless it ran for these very queries and settings before.

    Raises:
        UserError: the dataset was not ingested.
    """
    settings = build_image_settings(prior)
    wording = [repr(prior.prompt), prior.num_plain_images, compute_parser_fingerprint()]
    identity = [queries.compute_sha256(), settings, *wording]
    sha256 = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    output = queries.paths.get_parsed_run(queries.source) / sha256[:16]
    job = Job(
        name="parse",
        fingerprint={"queries_and_settings": sha256},
        inputs=queries.iterate_rows,
        items_per_shard=5000,
        stages=[ParseStage(prior, settings)],
        sink=ParsedSink(),
    )
    run_job(job, output, executor)
    return ParsedQueries(run=output, sha256=sha256)


def list_appearance_words(prior: PriorConfig) -> tuple[str, ...]:
    """List the parser's words for what a prior shows; with garments, unless they are objects of the dataset."""
    garments = lex.GARMENTS if prior.prompt.garments_mean_wearers else frozenset[str]()
    return tuple(sorted(lex.COLORS | lex.PATTERNS | lex.MATERIALS | garments))
