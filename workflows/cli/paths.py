"""Paths of runs: one folder for each dataset, and one prior store for each image encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from upath import UPath

from pipeline import LimitedConfig, Location, resolve_location, write_atomic
from workflows.cli.console import UserError

DATA = UPath("data")


class DatasetPaths:
    """Runs and files of one dataset.

    Args:
        root: folder of the dataset, or prefix of an object store.
    """

    def __init__(self, root: UPath) -> None:
        self.root = root
        self.samples = root / "samples"
        """Run of ``ingest``: annotated images."""

        self.queries = root / "queries.parquet"
        """Parquet table of all queries that ``ingest`` read, also of those whose image is missing."""

        self.problems = root / "problems.jsonl"
        """JSON lines of all that ``ingest`` excluded or clipped."""

        self.scenes = root / "scenes"
        """Run of ``augment``: generated scenes, selected from those of all rounds."""

        self.scene_rounds = root / "scenes-rounds"
        """Runs of ``augment`` for each round and composer, and the yield of all their scenes."""

        self.prior_config = root / "prior.json"
        """JSON of the configuration of the dataset's priors."""

    def get_parsed_run(self, source: str) -> UPath:
        """Return the run that parses the queries of the ``samples`` or ``scenes``."""
        return self.root / f"parsed-{source}"

    def get_packed_run(self, source: str) -> UPath:
        """Return the run of ``pack``: priors of the ``samples`` or ``scenes``, beside these."""
        return self.root / f"packed-{source}"

    def get_self_contained_run(self, source: str) -> UPath:
        """Return the run of ``pack --self-contained``: ``samples`` or ``scenes`` together with their priors."""
        return self.root / f"self-contained-{source}"

    def get_crop_features_run(self, source: str) -> UPath:
        """Return the run of ``crop-features``: features of the instances in the ``samples`` or ``scenes``."""
        return self.root / ("crop_features" if source == "samples" else f"crop_features_{source}")

    @property
    def evaluated(self) -> UPath:
        """Return the samples that networks are evaluated on: with priors if they are packed."""
        run = self.get_packed_run("samples")
        return run if run.is_dir() else self.samples


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(LimitedConfig):
    """Dataset of a command."""

    dataset: str = "miniature"
    """Name of the dataset, whose runs are in ``<data>/<dataset>``."""

    data: UPath = DATA
    """Folder of all datasets and prior stores, or prefix of an object store."""

    @property
    def paths(self) -> DatasetPaths:
        """Return the runs and files of the dataset."""
        return get_dataset_paths(self.dataset, self.data)

    def check_exists(self, path: UPath, targets: str) -> UPath:
        """Return the path of a run or file of the dataset.

        Args:
            path: path.
            targets: targets of ``make`` that write it.

        Raises:
            UserError: it does not exist; names the command, and the datasets that there are.
        """
        if path.exists():
            return path
        arguments = "" if self.dataset == "miniature" else f' ARGS="--dataset {self.dataset}"'
        if targets == "ingest" and arguments:
            arguments = f' ARGS="--dataset {self.dataset} --format ... --annotations ... --images ..."'
        names = sorted(run.parent.name for run in self.data.glob("*/samples")) if self.data.is_dir() else []
        raise UserError(
            f"{path} does not exist; run `make {targets}{arguments}` first "
            f"(datasets in {self.data}: {', '.join(names) or 'none'})"
        )


def get_dataset_paths(dataset: str, data: UPath = DATA) -> DatasetPaths:
    return DatasetPaths(data / dataset)


def get_prior_store_path(encoder: str, data: UPath = DATA) -> UPath:
    """Return the folder of an encoder's priors; it holds one run for each time that priors were missing.

    Args:
        encoder: ``generation.priors.config.encoder_fingerprint``; features of two encoders do not compare.
        data: folder of all datasets.
    """
    kind, _, digest = encoder.partition(":")
    name = digest[:16] if kind == "sha256" else encoder
    return data / "priors" / re.sub(r"[^\w.@-]+", "--", name)


def write_lines(path: Location, records: Iterable[Any]) -> None:
    """Write dataclasses or dictionaries as JSON lines, whole or not at all."""
    values = (record if isinstance(record, dict) else asdict(record) for record in records)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    write_atomic(path, "".join(encode(value) + "\n" for value in values))


def read_lines(path: Location) -> Iterator[dict[str, Any]]:
    """Read what ``write_lines`` wrote."""
    # Not splitlines, since a text may hold its other ends of a line.
    return map(json.loads, filter(None, resolve_location(path).read_text(encoding="utf-8").split("\n")))
