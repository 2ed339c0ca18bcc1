"""The plan of a run: an immutable list of all its shards and their inputs, made once before any work.

``RUN/plan/plan.json`` is the header: schema version, name, fingerprint, seed, counts, and the hash of the items.
``RUN/plan/items.<hash>.parquet`` has one row group per shard, so a worker reads only its own shard. The header is
created last and never overwritten: without it there is no plan, and the first of two planners wins.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pipeline.database import create_view, divide_by_hash, open_database
from pipeline.errors import PipelineError
from pipeline.limits import LimitedConfig, PositiveInt
from pipeline.stage import Item
from pipeline.storage import (
    Location,
    compute_sha256,
    create,
    fetch_local_copy,
    get_local_path,
    publish_file,
    remove_tree,
    resolve_location,
    sync,
)

SCHEMA_VERSION = 2

_ITEMS = pa.schema([("key", pa.string()), ("payload", pa.string())])
_NOTHING = type("Nothing", (), {"__repr__": lambda self: "nothing"})()
_GROUP = re.compile(r"[A-Za-z0-9_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """One input of a job."""

    key: str
    """Name of the item, unique within the plan."""

    payload: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the stages."""

    group: str = ""
    """Group, such as a split: shards never mix groups. Letters, digits, ``_`` and ``-``; empty by default."""


@dataclass(frozen=True, kw_only=True)
class PlanSettings(LimitedConfig):
    """Settings that decide a run's bytes. They never change in a run folder."""

    name: str
    fingerprint: Mapping[str, Any]
    """Configuration, inputs, code and models, as JSON values."""

    seed: int
    items_per_shard: PositiveInt

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, as a plan read from disk has them (tuples become lists)."""
        record: dict[str, Any] = json.loads(json.dumps({**vars(self), "fingerprint": dict(self.fingerprint)}))
        return record


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Header of a plan on disk; ``ShardItems`` reads the items shard by shard."""

    run: UPath
    settings: PlanSettings
    shards: Mapping[str, int]
    """Shard id to number of items, in the order of the row groups."""

    items_sha256: str
    """Hash of the Parquet file of items, a part of its name."""

    plan_hash: str
    """SHA-256 of the header, and so of the whole plan; every receipt has it."""

    @property
    def num_items(self) -> int:
        return sum(self.shards.values())

    @property
    def items(self) -> UPath:
        return self.run / "plan" / f"items.{self.items_sha256[:16]}.parquet"


def open_plan(run: Location) -> Plan:
    """Read the header of the plan in the folder of a run.

    Raises:
        PipelineError: the folder has no plan, a damaged one, or one of another schema version.
    """
    run = resolve_location(run)
    path = run / "plan" / "plan.json"
    try:
        content = path.read_bytes()
        record = json.loads(content)
        if record["schema_version"] != SCHEMA_VERSION:
            raise PipelineError(
                f"{path} has schema version {record['schema_version']}, this code reads {SCHEMA_VERSION}; "
                "run the job in a new folder"
            )
        settings = PlanSettings(**record["settings"])
        shards, items_sha256 = dict(record["shards"]), str(record["items_sha256"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PipelineError(f"{run} is not the folder of a run: {path} does not exist") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path} is damaged ({error!r}); remove {run} and run again") from error
    plan_hash = hashlib.sha256(content).hexdigest()
    return Plan(run=run, settings=settings, shards=shards, items_sha256=items_sha256, plan_hash=plan_hash)


def open_or_make_plan(run: Location, settings: PlanSettings, rows: Iterable[PlanRow]) -> Plan:
    """Return the plan of a run: make it of ``rows`` at the first call, read and check it at later ones.

    Args:
        run: folder, or prefix of an object store.
        settings: settings that decide the bytes.
        rows: inputs in order, unused if there is a plan.

    Raises:
        PipelineError: the folder holds the plan of other settings (they are named) or a damaged one, or
            ``rows`` are empty, repeat a key, or hold values that are not JSON.
    """
    run = resolve_location(run)
    if not (run / "plan" / "plan.json").exists():
        _publish_plan(run, settings, rows)
    plan = open_plan(run)
    if changed := list_changes(plan, settings):
        raise PipelineError(
            f"{run} was planned with other settings: {'; '.join(changed)}. Run the same command with --replace to "
            "remove that run and start again, or restore those settings"
        )
    get_verified_items(plan)
    return plan


def list_changes(plan: Plan, settings: PlanSettings) -> list[str]:
    """Return ``render.steps: 20 in the plan, 50 now`` for each value that differs from that in the plan."""
    return _list_differences(plan.settings.to_json(), settings.to_json())


def remove_run(run: Location) -> None:
    """Remove a run with all its files."""
    run = resolve_location(run)
    (run / "plan" / "plan.json").unlink(missing_ok=True)  # first: a folder without it is no run
    remove_tree(run)


def get_verified_items(plan: Plan) -> Path:
    """Return a local path of the plan's items, after a check of their hash.

    Raises:
        PipelineError: they are missing or damaged.
    """
    try:
        path = fetch_local_copy(plan.items, plan.items_sha256)
        if compute_sha256(path) == plan.items_sha256:
            return path
    except FileNotFoundError:
        pass
    raise PipelineError(f"{plan.items} is missing or not what its plan.json says; remove {plan.run} and run again")


class ShardItems:
    """Reader of the items of one shard at a time; it keeps the file open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def _row_groups(self) -> dict[str, int]:
        return {shard_id: index for index, shard_id in enumerate(self._plan.shards)}

    @cached_property
    def _file(self) -> Any:
        return pq.ParquetFile(
            fetch_local_copy(self._plan.items, self._plan.items_sha256), page_checksum_verification=True
        )

    def read(self, shard_id: str) -> list[Item]:
        """Return the items of a shard, in the plan's order."""
        table = self._file.read_row_group(self._row_groups[shard_id])
        keys, payloads = table["key"].to_pylist(), table["payload"].to_pylist()
        return [
            Item(key=key, seed=compute_item_seed(self._plan.settings, key), payload=json.loads(payload))
            for key, payload in zip(keys, payloads, strict=True)
        ]


def compute_item_seed(settings: PlanSettings, key: str) -> int:
    """Compute ``sha256(seed, name, key)`` as 63 bits; it does not depend on worker, batch or order."""
    digest = hashlib.sha256(f"{settings.seed}/{settings.name}/{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def compute_rows_sha256(rows: Iterable[PlanRow]) -> str:
    """Compute the SHA-256 of rows in their order, as 64 hex digits, while they stream by."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.key}\0{row.group}\0{_format_payload(row)}\n".encode())
    return digest.hexdigest()


def _publish_plan(run: UPath, settings: PlanSettings, rows: Iterable[PlanRow]) -> None:
    """Write the items, then create the header."""
    folder = run / "plan"
    here = get_local_path(folder)
    if here:
        here.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=here, prefix=".items.", suffix=".tmp") as name:
        draft = Path(name) / "items.parquet"
        shards = _write_items(draft, settings, rows)
        items_sha256 = compute_sha256(draft)
        publish_file(draft, folder / f"items.{items_sha256[:16]}.parquet")
        if here:
            sync(here)
    header = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.to_json(),
        "num_items": sum(shards.values()),
        "num_shards": len(shards),
        "items_sha256": items_sha256,
        "shards": shards,
    }
    create(folder / "plan.json", json.dumps(header, indent=1).encode())


def _write_items(path: Path, settings: PlanSettings, rows: Iterable[PlanRow]) -> dict[str, int]:
    """Stream rows to Parquet, a row group per shard, and return shard id to number of items."""
    shards: dict[str, int] = {}
    options = {"use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    with pq.ParquetWriter(path, _ITEMS, compression="zstd", **options) as writer:
        for shard_id, shard in _split_into_shards(_check_rows(rows), settings.items_per_shard):
            columns = [[row.key for row in shard], [_format_payload(row) for row in shard]]
            writer.write_table(pa.table(columns, schema=_ITEMS), row_group_size=len(shard))
            shards[shard_id] = len(shard)
    if not shards:
        raise PipelineError(f"job {settings.name!r} has no items; check its inputs")
    _refuse_repeated_keys(path)
    return shards


def _check_rows(rows: Iterable[PlanRow]) -> Iterator[PlanRow]:
    for row in rows:
        if not row.key:
            raise PipelineError(f"keys must not be empty, got {row}")
        if not _GROUP.fullmatch(row.group):
            raise PipelineError(f"item {row.key}: a group may hold only a-z, A-Z, 0-9, _ and -, got {row.group!r}")
        yield row


def _refuse_repeated_keys(items: Path) -> None:
    """Raise an error if the file of items holds a key more than once; name the key."""
    with open_database() as database:
        create_view(database, "items", [str(items)], {"key": "VARCHAR"})
        for part in divide_by_hash(database, "items", "key"):
            query = (
                f"SELECT key, count(*) FROM items WHERE {part} GROUP BY key HAVING count(*) > 1 "
                "ORDER BY count(*) DESC, key LIMIT 1"
            )
            for key, count in database.execute(query).fetchall():
                raise PipelineError(f"keys must be unique, {key!r} comes {count} times")


def _split_into_shards(rows: Iterable[PlanRow], items_per_shard: int) -> Iterator[tuple[str, list[PlanRow]]]:
    """Divide rows into shards of one group each, with at most one unfinished shard per group in memory."""
    open_shards: dict[str, list[PlanRow]] = {}
    num_shards: dict[str, int] = {}

    def close(group: str) -> tuple[str, list[PlanRow]]:
        index = num_shards.get(group, 0)
        num_shards[group] = index + 1
        return f"{group}-{index:05d}" if group else f"{index:05d}", open_shards.pop(group)

    for row in rows:
        shard = open_shards.setdefault(row.group, [])
        shard.append(row)
        if len(shard) == items_per_shard:
            yield close(row.group)
    for group in sorted(open_shards):
        yield close(group)


def _format_payload(row: PlanRow) -> str:
    try:
        return json.dumps(row.payload, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise PipelineError(f"item {row.key}: its payload must hold JSON values only ({error})") from error


def _list_differences(planned: Any, now: Any, where: str = "") -> list[str]:
    if planned == now:
        return []
    if isinstance(planned, dict) and isinstance(now, dict):
        keys = [*planned, *(key for key in now if key not in planned)]
        pairs = [(key, planned.get(key, _NOTHING), now.get(key, _NOTHING)) for key in keys]
        return [line for key, a, b in pairs for line in _list_differences(a, b, f"{where}.{key}".lstrip("."))]
    if all(isinstance(value, str) and _SHA256.fullmatch(value) for value in (planned, now)):
        return [f"{where} (a SHA-256 of content) differs"]
    return [f"{where}: {planned!r} in the plan, {now!r} now"]
