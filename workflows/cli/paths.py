"""Where objects lie: one folder for each data set, one store of priors for each image encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from upath import UPath

from pipeline import Location, resolve_location, write_atomic

DATA = UPath("data")


@dataclass(frozen=True, kw_only=True)
class DatasetPaths:
    """The runs of one data set below ``data/<name>``."""

    root: UPath

    @property
    def samples(self) -> UPath:
        """Run of ``ingest``: annotated images."""
        return self.root / "samples"

    @property
    def queries(self) -> UPath:
        """Parquet table of all queries that ``ingest`` read, also of those whose image is missing."""
        return self.root / "queries.parquet"

    @property
    def problems(self) -> UPath:
        """JSON lines of what ``ingest`` left out or clipped."""
        return self.root / "problems.jsonl"

    @property
    def scenes(self) -> UPath:
        """Run of ``augment``: generated scenes, chosen from those of all rounds."""
        return self.root / "scenes"

    @property
    def scene_rounds(self) -> UPath:
        """A run of ``augment`` for each round and composer, and what became of all their scenes."""
        return self.root / "scenes-rounds"

    @property
    def prior_config(self) -> UPath:
        """JSON of how the priors of the data set are made."""
        return self.root / "prior.json"

    def get_parsed_run(self, source: str) -> UPath:
        """Run that reads attributes and prompts out of queries of the data set or of its scenes."""
        return self.root / f"parsed-{source}"

    def get_packed_run(self, source: str) -> UPath:
        """Return the run of ``pack``: priors of the ``samples`` or ``scenes``, beside these."""
        return self.root / f"packed-{source}"

    def get_self_contained_run(self, source: str) -> UPath:
        """Return the run of ``pack --self-contained``: ``samples`` or ``scenes`` together with their priors."""
        return self.root / f"self-contained-{source}"

    @property
    def evaluated(self) -> UPath:
        """Samples to ask networks about: with priors where they are packed, else as they were read."""
        run = self.get_packed_run("samples")
        return run if run.is_dir() else self.samples


def get_dataset_paths(dataset: str, data: UPath = DATA) -> DatasetPaths:
    return DatasetPaths(root=data / dataset)


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
