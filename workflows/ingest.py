"""Annotations and images to sample shards.

    make ingest                                                   # the miniature data set
    make ingest ARGS="--dataset refcoco --annotations refer/refcoco --split-by unc --images train2014"
    make ingest ARGS="--dataset mine --format table --annotations mine.csv --images photos"

Every image becomes one sample with all its queries and all its instances. Queries whose image is missing, or
whose box breaks a rule, are listed in ``problems.jsonl``. docs/datasets.md has the command for each data set.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rich.markup import escape
from upath import UPath

from pipeline import ExecutorConfig, Job, PlanRow, PositiveInt, Share, compute_rows_sha256, read_ledger, read_receipts
from shards.query_table import write_query_table
from shards.sources.load_images import LoadImageStage
from shards.sources.sample import Problem, SourceSample
from shards.sources.screening import Screening, screen_dataset
from shards.sources.validation import ValidationResult
from shards.writer import SampleSink
from workflows.cli.annotation_options import DEFAULT_MAX_DROPPED, AnnotationsConfig, read, validate_annotations
from workflows.cli.console import Executor, UserError, console, print_path, run
from workflows.cli.paths import write_lines
from workflows.reports.run_report import run_and_plot_job


@dataclass(frozen=True, kw_only=True)
class IngestConfig(AnnotationsConfig):
    """Which annotations, which images, and what to do where they do not fit."""

    allow_missing_images: bool = False
    """Go on with the images that are there; otherwise missing ones stop the run before it begins."""

    max_dropped: Share = DEFAULT_MAX_DROPPED
    """Largest share of the queries that may be left out for their box or text, or for a damaged image, 0 to 1. More of
    them stop the run before it begins, since their boxes are probably read in a wrong way."""

    samples_per_shard: PositiveInt = 500
    """Number of samples of a shard, the unit of work."""

    executor: Executor = field(default_factory=ExecutorConfig)


def main(config: IngestConfig) -> None:
    """Read, screen, say what is missing, and write the shards."""
    paths = config.paths
    samples, validation = read_and_screen(config)

    def iterate_rows() -> Iterator[PlanRow]:
        for sample in sorted(validation.samples, key=lambda sample: sample.split):
            yield PlanRow(key=sample.key, payload=sample.to_payload(), group=sample.split)

    num_queries = Counter(query.split for sample in validation.samples for query in sample.queries)
    source = {"dataset": config.dataset, "format": config.format, "num_queries": dict(sorted(num_queries.items()))}
    job = Job(
        name="ingest",
        fingerprint={"rows": compute_rows_sha256(iterate_rows()), **source},
        inputs=iterate_rows,
        items_per_shard=config.samples_per_shard,
        stages=[LoadImageStage(config.images)],
        sink=SampleSink(),
    )
    run_and_plot_job(job, paths.samples, config.executor)
    write_lines(paths.problems, [*validation.problems, *_iterate_broken_images(paths.samples, validation.samples)])
    records = (
        {"sample": sample.key, "query_id": query.query_id, "text": query.text, "split": query.split}
        for sample in samples
        for query in sample.queries
    )
    write_query_table(paths.queries, records)
    print_path(f"{config.dataset} as sample shards", paths.samples)


def read_and_screen(config: IngestConfig) -> tuple[list[SourceSample], ValidationResult]:
    """Read the annotations, and print what was read and what looks wrong.

    Returns:
        The samples as they were read, and those that are left.

    Raises:
        UserError: images are missing, too much is left out, or the boxes were read in a wrong way.
        SourceError: the annotations are missing or malformed.
    """
    problems = config.paths.problems
    samples = read(config)
    validation = validate_annotations(config, samples)
    if not samples:
        raise UserError(f"{config.annotations} holds no query")
    print_report(samples, validation, problems)
    _stop_if_missing(validation, config, problems)
    _stop_if_unusable(screen_dataset(samples, validation, config.table_box_format), validation, config)
    if not validation.samples:
        write_lines(problems, validation.problems)
        first = validation.problems[0]
        raise UserError(
            f"no sample is left of {len(samples)}; {problems} says why, one line each. "
            f"{_suggest_image(config.images, first.image)}The first: {first.detail}"
        )
    return samples, validation


def _iterate_broken_images(run: UPath, samples: list[SourceSample]) -> Iterator[Problem]:
    """Yield a problem for each image that broke while it was read to its end."""
    by_key = {sample.key: sample for sample in samples}
    for receipt in read_receipts(run):
        for row in read_ledger(run, receipt):
            sample = by_key[row["key"]]
            yield Problem(
                rule=row["reason"], image=sample.image_name, num_queries=len(sample.queries), detail=row["detail"]
            )


def print_report(samples: list[SourceSample], validation: ValidationResult, problems: UPath) -> None:
    """Print what was read and what was found wrong with it."""
    queries = Counter(query.split for sample in samples for query in sample.queries)
    counts = escape(", ".join(f"{split} {count:,}" for split, count in sorted(queries.items())))
    console.print(f"read {queries.total():,} queries on {len({s.image_name for s in samples}):,} images ({counts})")
    if "train" in queries and "val" not in queries:
        console.print("there is no split val, which `make train` needs; hold images out with --val-share 0.1")
    for rule in sorted({problem.rule for problem in validation.problems}):
        console.print(
            f"  {rule}: {validation.count(rule):,} times, {validation.count_queries(rule):,} queries; listed "
            f"in {problems}"
        )


def _stop_if_unusable(screening: Screening, validation: ValidationResult, config: IngestConfig) -> None:
    """Raise an error if the dataset as a whole was read in a wrong way; print what only looks like it."""
    fault = screening.find_fault(config.max_dropped)
    if not fault:
        for cause in screening.causes:
            console.print(f"[yellow]warning:[/] {escape(cause)}")
        return
    write_lines(config.paths.problems, validation.problems)
    if screening.is_fractional or screening.repeated_id is not None:  # no share of the queries would be right
        raise UserError(f"{config.annotations}: {fault}")
    raise UserError(
        f"{config.annotations}: {fault}; all are listed in {config.paths.problems}. Correct the file, or allow it with "
        "--max-dropped 1"
    )


def _suggest_image(folder: UPath, image: str) -> str:
    """Return a question about a file whose name differs in folders, case, accents' encoding or suffix alone."""

    def simplify(name: str) -> str:
        return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).stem).casefold()

    found = next((path for path in folder.rglob("*") if simplify(path.name) == simplify(image)), None)
    return f"Is it {found}? Then correct the names in the annotations, or --images. " if found else ""


def _stop_if_missing(validation: ValidationResult, config: IngestConfig, problems: UPath) -> None:
    missing = [problem for problem in validation.problems if problem.rule == "missing_image"]
    if missing and not config.allow_missing_images:
        write_lines(problems, validation.problems)
        hint = _suggest_image(config.images, missing[0].image)
        raise UserError(
            f"{len(missing):,} images are not in {config.images} (the first is {missing[0].image}); all are "
            f"listed in {problems}. {hint}Complete the folder, or go on "
            "without them with --allow-missing-images"
        )


if __name__ == "__main__":
    run(main, IngestConfig, __doc__)
