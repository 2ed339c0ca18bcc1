"""Where things lie: one folder for each data set, one store of priors for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DATA = Path("data")


@dataclass(frozen=True, kw_only=True)
class DatasetFolders:
    """The runs of one data set below ``data/<name>``."""

    root: Path

    @property
    def samples(self) -> Path:
        """Run of ``ingest``: annotated photographs."""
        return self.root / "samples"

    @property
    def queries(self) -> Path:
        """JSON lines of all sound queries, with or without a photograph at hand."""
        return self.root / "queries.jsonl"

    @property
    def problems(self) -> Path:
        """JSON lines of what ``ingest`` left out or clipped."""
        return self.root / "problems.jsonl"

    @property
    def scenes(self) -> Path:
        """Run of ``augment``: generated scenes."""
        return self.root / "scenes"

    @property
    def prior_config(self) -> Path:
        """JSON of how the priors of the data set are made."""
        return self.root / "prior.json"

    def parsed(self, of: str) -> Path:
        """Run that reads attributes and prompts out of queries of the data set or of its scenes."""
        return self.root / f"parsed-{of}"

    def packed(self, of: str) -> Path:
        """Training shards of ``samples`` or of ``scenes``."""
        return self.root / f"packed-{of}"


def folders(dataset: str, data: Path = DATA) -> DatasetFolders:
    return DatasetFolders(root=data / dataset)


def prior_store(data: Path = DATA) -> Path:
    """Holds one run for each time that priors were missing."""
    return data / "priors"


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """Write dataclasses or dictionaries as JSON lines, whole or not at all."""
    values = (record if isinstance(record, dict) else asdict(record) for record in records)
    write_whole(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
