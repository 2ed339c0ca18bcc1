"""Receipts: proof of the delivery of each shard. Readers use receipts alone, never the names in a folder.

``RUN/receipts/<shard>.json`` names the files of the attempt that counts, with their sizes and hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pipeline.errors import PipelineError
from pipeline.plan import Plan, open_plan
from pipeline.storage import Location, compute_sha256, fetch_local_copy, list_sizes, read_files, resolve_location

SCHEMA_VERSION = 2

ATTACHMENT_SCHEMA = pa.schema(
    [("key", pa.string()), ("reason", pa.string()), ("detail", pa.string()), ("attachment", pa.binary())]
)
"""Columns of the role ``attachments``: one row for each rejected item whose attachment was kept."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file in ``RUN/shards``."""

    name: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if "/" in self.name or self.name.startswith("."):
            raise ValueError(f"a file name must have no '/' and no '.' at its start, got {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Delivery of one shard. It accounts for every item of the plan."""

    shard_id: str
    plan_hash: str
    files: Mapping[str, PublishedFile]
    """Role to file: the sink's roles, ``ledger`` (one JSON line for each item not accepted), and ``attachments`` if any
    rejected item has one."""

    attempted: int
    accepted: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Number of rejected items by reason."""

    failed: Mapping[str, int] = field(default_factory=dict)
    """Number of failed items by the exception's type, or by the way the process ended."""

    summary: Mapping[str, int | float | str] = field(default_factory=dict)
    """Figures of the sink."""

    stage_seconds: Mapping[str, float] = field(default_factory=dict)

    finished_at: float
    """Time of the commit in seconds since 1970, by the clock of that machine."""

    def __post_init__(self) -> None:
        accounted = self.accepted + sum(self.rejected.values()) + sum(self.failed.values())
        if accounted != self.attempted:
            raise ValueError(f"shard {self.shard_id}: {self.attempted} items attempted, {accounted} accounted for")

    def to_bytes(self) -> bytes:
        """Return the JSON file that ``from_bytes`` reads."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1).encode()

    @staticmethod
    def from_bytes(content: bytes, origin: str) -> Receipt:
        """Parse the content that ``to_bytes`` returned.

        Raises:
            PipelineError: the content is damaged or of another schema version; names ``origin``.
        """
        try:
            record: dict[str, Any] = json.loads(content)
            version = record.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise PipelineError(
                    f"{origin} has schema version {version}, this code reads {SCHEMA_VERSION}; "
                    "make the run again in a new folder"
                )
            files = {role: PublishedFile(**file) for role, file in record.pop("files").items()}
            return Receipt(files=files, **record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PipelineError(
                f"{origin} is damaged ({error}); delete it and run the same command again to redo its shard"
            ) from error


def read_receipts(run: Location, *, allow_partial: bool = False) -> list[Receipt]:
    """Read the receipts of a run, sorted by shard id.

    Args:
        run: folder, or prefix of an object store.
        allow_partial: accept a run that is not finished.

    Raises:
        PipelineError: the run is missing, unfinished, or damaged.
    """
    plan = open_plan(run)
    folder = plan.run / "receipts"
    names = [name for name in list_sizes(folder) if name.endswith(".json")]
    receipts = [_parse_receipt(folder / name, content, plan) for name, content in read_files(folder, names).items()]
    if len(receipts) < len(plan.shards) and not allow_partial:
        missing = sorted(plan.shards.keys() - {receipt.shard_id for receipt in receipts})
        raise PipelineError(
            f"{run} is not finished: {len(missing)} of {len(plan.shards)} shards are missing, the first is "
            f"{missing[0]}; run the command that made it again to finish it"
        )
    return sorted(receipts, key=lambda receipt: receipt.shard_id)


def list_runs(root: Location) -> list[UPath]:
    """Return the runs directly in a folder, by name; the folder itself if it is a run."""
    root = resolve_location(root)
    if (root / "plan" / "plan.json").exists():
        return [root]
    try:
        return sorted((run for run in root.iterdir() if (run / "plan" / "plan.json").exists()), key=str)
    except (FileNotFoundError, NotADirectoryError):
        return []


def get_verified_path(run: Location, receipt: Receipt, role: str) -> Path:
    """Return a local path of a published file, after a check of its size and hash.

    Raises:
        PipelineError: the shard has no such role, or the file is gone or was changed.
    """
    if role not in receipt.files:
        raise PipelineError(
            f"shard {receipt.shard_id} of {run} has files {sorted(receipt.files)}, not {role!r}; "
            "if an earlier version wrote the run, make it again"
        )
    file, run = receipt.files[role], resolve_location(run)
    try:
        path = fetch_local_copy(run / "shards" / file.name, file.sha256)
        size_bytes = path.stat().st_size
    except FileNotFoundError as error:
        raise make_damage_error(run, receipt, file, "is gone") from error
    if size_bytes != file.size_bytes:
        raise make_damage_error(run, receipt, file, f"has {size_bytes} bytes, not {file.size_bytes}")
    if compute_sha256(path) != file.sha256:
        raise make_damage_error(run, receipt, file, "has another hash than its receipt")
    return path


def list_verified_paths(run: Location, role: str, *, allow_partial: bool = False) -> list[str]:
    """Return local paths of the files of one role, in the order of the shards, after their hashes were checked.

    Args:
        run: folder or prefix of the run.
        role: name of the files in their receipts, such as ``index``.
        allow_partial: accept a run that is not finished.

    Raises:
        PipelineError: the run is missing, unfinished or damaged, or a shard has no such file.
    """
    receipts = read_receipts(run, allow_partial=allow_partial)
    return [str(get_verified_path(run, receipt, role)) for receipt in receipts]


def read_ledger(run: Location, receipt: Receipt) -> list[dict[str, str]]:
    """Read a row for each item that was not accepted: key, outcome, reason, detail, stage."""
    lines = get_verified_path(run, receipt, "ledger").read_text().splitlines()
    return [json.loads(line) for line in lines]


def read_attachments(run: Location, receipt: Receipt) -> list[dict[str, Any]]:
    """Read the kept attachments of a shard's rejected items: key, reason, detail, attachment (bytes)."""
    if "attachments" not in receipt.files:
        return []
    rows: list[dict[str, Any]] = pq.read_table(get_verified_path(run, receipt, "attachments")).to_pylist()
    return rows


def make_damage_error(run: Location, receipt: Receipt, file: PublishedFile, what: str) -> PipelineError:
    """Return the error for a published file that differs from its receipt."""
    return PipelineError(
        f"{run / 'shards' / file.name} {what}; delete {run / 'receipts' / receipt.shard_id}.json "
        "and run the command that made it again to redo this shard"
    )


def _parse_receipt(path: UPath, content: bytes, plan: Plan) -> Receipt:
    receipt = Receipt.from_bytes(content, str(path))
    if receipt.plan_hash != plan.plan_hash or plan.shards.get(receipt.shard_id) != receipt.attempted:
        raise PipelineError(f"{path} belongs to another plan than {plan.run / 'plan'}; remove {plan.run}, run again")
    if path.stem != receipt.shard_id:
        raise PipelineError(f"{path} is the receipt of shard {receipt.shard_id}; delete it and run again")
    return receipt
