"""The photographs that no scene may be made of: those of every split but ``train`` of every data set that was read."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from augmentation.composers.held_out import HeldOut
from pipeline.receipts import runs_below
from shards.reader import SampleReader
from workflows.cli.paths import DATA, DatasetFolders, folders, read_lines

TRAINING_SPLIT = "train"
_LEFT_IN = frozenset({"clipped_box", "bad_instance"})
"""Problems of a photograph that is among the samples all the same, under its split."""


def held_out_photographs(data: UPath = DATA) -> HeldOut:
    """By name and content those at hand, by name alone those whose photograph or boxes were left out by ``ingest``.

    ``problems.jsonl`` says of a whole photograph that was left out no split, so every such name is held out.

    Raises:
        PipelineError: the samples of a data set are incomplete or damaged.
    """
    found = HeldOut()
    for place in _datasets(data):
        reader = SampleReader(place.samples)
        chosen = (i for i, entry in enumerate(reader.index) if entry.split != TRAINING_SPLIT)
        photographs = ((sample.image_name, sample.image) for sample in map(reader.read, chosen))
        found |= HeldOut.of(photographs, names=_left_out(place))
    return found


def _datasets(data: UPath) -> Iterator[DatasetFolders]:
    """Those below a folder that ``ingest`` has read."""
    names = sorted(path.name for path in data.iterdir()) if data.is_dir() else []
    places = (folders(name, data) for name in names)
    return (place for place in places if runs_below(place.samples))


def _left_out(place: DatasetFolders) -> Iterator[str]:
    """Names of photographs that a data set has and its samples may lack, and that may not be of its training split."""
    if not place.problems.exists():
        return
    splits = {record["query_id"]: record["split"] for record in _records(place.queries)}
    for problem in _records(place.problems):
        is_of_training = splits.get(problem["query_id"]) == TRAINING_SPLIT
        if problem["rule"] not in _LEFT_IN and not is_of_training:
            yield problem["image"]


def _records(path: UPath) -> Iterator[dict[str, str]]:
    return read_lines(path) if path.exists() else iter(())
