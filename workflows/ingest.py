"""Annotations and photographs to sample shards.

    make ingest                                                   # the miniature data set
    make ingest ARGS="--dataset refcoco --format refer --annotations refer/refcoco --split-by unc \\
                      --images refer/images --allow-missing-images"
    make ingest ARGS="--dataset mine --format table --annotations mine.csv --images photos"

Every image becomes one sample with all its queries and all its instances. Queries whose photograph is missing, or
whose box breaks a rule, are listed in ``problems.jsonl``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from upath import UPath

from pipeline.executor import ExecutorConfig
from pipeline.run import Job, PlanRow, run_job
from pipeline.storage import local
from shards.images import LoadImageStage
from shards.sources.refer import read_refer
from shards.sources.referit import read_referit
from shards.sources.screen import Problem, Screening, screen
from shards.sources.source import SourceSample
from shards.sources.table import Fields, read_table
from shards.sources.transvg import read_transvg
from shards.writer import SampleSink
from workflows.console import Executor, UserError, console, lies_in, run
from workflows.layout import DATA, folders, write_lines


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Which annotations, which photographs, and what to do where they do not fit."""

    dataset: str = "miniature"
    """Name of the data set; its output goes to ``<data>/<dataset>``."""

    format: Literal["refer", "transvg", "referit", "table"] = "refer"
    """``refer``: refs(<split by>).p, instances.json; ``transvg``: <name>_<split>.pth; ``referit``:
    ReferItGame's own referit_query_<split>.json and mask/; ``table``: JSON lines, CSV or Parquet, one query a row."""

    annotations: UPath = UPath("data/miniature/refer/miniature")
    """Folder of the annotations, or a prefix of an object store; for a table the file."""

    images: UPath = UPath("data/miniature/refer/images")
    """Folder of the photographs, or a prefix of an object store."""

    split_by: str = "miniature"
    """REFER: which refs(<split by>).p (unc, umd, google). TransVG: which name (unc, unc+, gref, gref_umd, referit,
    flickr). Table: the split of rows that do not say."""

    fields: Fields = field(default_factory=Fields)
    """Table: what the fields are called in it."""

    allow_missing_images: bool = False
    """Go on with the photographs that are there; otherwise missing ones stop the run before it begins."""

    data: UPath = DATA
    samples_per_shard: int = 250
    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {self.samples_per_shard}")


def read_annotations(config: IngestConfig) -> Iterator[SourceSample]:
    """The annotations in their format."""
    with _on_this_machine(config.annotations) as annotations:
        if config.format == "refer":
            yield from read_refer(annotations, config.split_by, config.dataset)
        elif config.format == "transvg":
            yield from read_transvg(annotations, config.split_by, config.dataset)
        elif config.format == "referit":
            yield from read_referit(annotations, config.dataset)
        else:
            yield from read_table(annotations, config.dataset, config.split_by, config.fields)


@contextmanager
def _on_this_machine(annotations: UPath) -> Iterator[Path]:
    """The annotations themselves, or those of an object store copied for as long as they are read."""
    if here := local(annotations):
        yield here
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / annotations.name
        annotations.fs.get(annotations.path, str(copy), recursive=annotations.is_dir())
        yield copy


def main(config: IngestConfig) -> None:
    """Read, screen, say what is missing, and write the shards."""
    if not config.images.is_dir():
        raise UserError(f"{config.images} is not a folder; give the folder of the photographs with --images")
    place = folders(config.dataset, config.data)
    every = list(read_annotations(config))
    screening = screen(every, config.images)
    write_lines(place.problems, screening.problems)
    write_lines(place.queries, _query_records(every))
    report(every, screening, place.problems)
    _stop_if_missing(screening, config, place.problems)
    if not screening.samples:
        raise UserError(f"no sample is left of {len(every)}; {place.problems} says why, one line each")
    job = Job(
        name="ingest",
        fingerprint=_fingerprint(config, screening),
        inputs=lambda: _rows(screening.samples),
        items_per_shard=config.samples_per_shard,
        seed=0,
        stages=[LoadImageStage(config.images)],
        sink=SampleSink(),
    )
    run_job(job, place.samples, config.executor)
    lies_in(f"{config.dataset} as sample shards", place.samples)


def _rows(samples: Iterable[SourceSample]) -> Iterator[PlanRow]:
    for sample in sorted(samples, key=lambda s: s.split):
        yield PlanRow(key=sample.key, payload=sample.to_payload(), group=sample.split)


def _fingerprint(config: IngestConfig, screening: Screening) -> dict[str, str | int]:
    digest = hashlib.sha256()
    for sample in screening.samples:
        digest.update(repr(sample).encode())
    return {
        "dataset": config.dataset,
        "format": config.format,
        "samples": digest.hexdigest(),
        "samples_per_shard": config.samples_per_shard,
    }


def _query_records(samples: Iterable[SourceSample]) -> Iterator[dict[str, str]]:
    for sample in samples:
        for query in sample.queries:
            if any(character.isalnum() for character in query.text):
                yield {"query_id": query.query_id, "text": query.text, "split": query.split}


def report(every: list[SourceSample], screening: Screening, problems: UPath) -> None:
    """Print what was read and what was found wrong with it."""
    queries = Counter(query.split for sample in every for query in sample.queries)
    counts = ", ".join(f"{split} {count:,}" for split, count in sorted(queries.items()))
    console.print(f"read {queries.total():,} queries on {len({s.image_name for s in every}):,} images ({counts})")
    for rule in sorted({problem.rule for problem in screening.problems}):
        console.print(
            f"  {rule}: {screening.count(rule):,} times, {screening.num_queries(rule):,} queries; listed in {problems}"
        )


def _stop_if_missing(screening: Screening, config: IngestConfig, problems: UPath) -> None:
    missing: list[Problem] = [problem for problem in screening.problems if problem.rule == "missing_image"]
    if missing and not config.allow_missing_images:
        raise UserError(
            f"{len(missing):,} photographs are not in {config.images} (the first is {missing[0].image}); all are "
            f"listed in {problems}. Complete the folder, or go on without them with --allow-missing-images"
        )


if __name__ == "__main__":
    run(main, IngestConfig, __doc__)
