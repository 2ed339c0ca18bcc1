"""Held-out images: those of every split but ``train`` of all ingested datasets."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from augmentation.composers.held_out import HeldOut
from pipeline import list_runs
from shards.query_table import read_query_table
from shards.reader import SampleReader
from workflows.cli.paths import DATA, DatasetPaths, get_dataset_paths, read_lines

TRAINING_SPLIT = "train"
_KEPT_PROBLEMS = frozenset({"clipped_box", "bad_instance"})
"""Rules of ``problems.jsonl`` whose images stay among the samples, under their split."""


def find_held_out_images(data: UPath = DATA) -> HeldOut:
    """Find the held-out images: available ones by name and content, those that ``ingest`` excluded by name alone.

    ``problems.jsonl`` has no split for an excluded image, so every such name is held out.

    Raises:
        PipelineError: the samples of a dataset are incomplete or damaged.
    """
    held_out = HeldOut()
    names = sorted(path.name for path in data.iterdir()) if data.is_dir() else []
    for paths in (get_dataset_paths(name, data) for name in names):
        if not list_runs(paths.samples):
            continue
        reader = SampleReader(paths.samples)
        chosen = (i for i, entry in enumerate(reader.index) if entry.split != TRAINING_SPLIT)
        images = ((sample.image_name, sample.image) for sample in map(reader.read, chosen))
        held_out |= HeldOut.from_images(images, names=_iterate_left_out(paths))
    return held_out


def _iterate_left_out(paths: DatasetPaths) -> Iterator[str]:
    """Yield the names of excluded images that may belong to another split than training."""
    if not paths.problems.exists():
        return
    queries = read_query_table(paths.queries) if paths.queries.exists() else iter(())
    splits = {record["query_id"]: record["split"] for record in queries}
    for problem in read_lines(paths.problems):
        is_of_training = splits.get(problem["query_id"]) == TRAINING_SPLIT
        if problem["rule"] not in _KEPT_PROBLEMS and not is_of_training:
            yield problem["image"]
