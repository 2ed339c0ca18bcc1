"""Commit each shard exactly once: an attempt writes under unique names, and the first receipt wins.

1. The sink writes into a staging folder: ``RUN/attempts/<shard>.<attempt>``, or a temporary one for object stores.
2. The files are flushed, hashed and published as ``RUN/shards/<shard>.<attempt>.<file name>``.
3. The receipt is created as ``RUN/receipts/<shard>.json``; an existing one is never overwritten.

If a process dies before step 3, readers ignore its files. A late process finds the receipt and removes its own files.
Files of dead attempts are removed only when their shard has a receipt: then no late attempt can win any more.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pipeline.errors import PipelineError
from pipeline.plan import Plan
from pipeline.receipts import ATTACHMENT_SCHEMA, PublishedFile, Receipt, make_damage_error, read_receipts
from pipeline.shard_stages import ShardWork
from pipeline.stage import SinkOutput
from pipeline.storage import (
    compute_sha256,
    create,
    get_local_path,
    list_sizes,
    make_staging_folder,
    publish_file,
    remove,
    sync,
)
from pipeline.worker import Worker


def commit(plan: Plan, worker: Worker, work: ShardWork) -> Receipt:
    """Write one shard with the worker's sink, and publish it.

    Returns:
        The receipt that counts: of this attempt, or of another one that was first.

    Raises:
        PipelineError: the sink failed, or the disk or the object store refused.
    """
    started = time.perf_counter()
    attempt = f"{work.shard_id}.{uuid4().hex[:12]}"
    try:
        staging = make_staging_folder(plan.run, attempt)
        try:
            paths, sink_output = _write(worker, work, staging)
            files = _publish(paths, plan.run / "shards", attempt)
            receipt = Receipt(
                shard_id=work.shard_id,
                plan_hash=plan.plan_hash,
                files=files,
                attempted=work.attempted,
                accepted=len(work.items),
                rejected=work.count("rejected"),
                failed=work.count("failed"),
                summary=dict(sink_output.summary),
                stage_seconds={**work.stage_seconds, "commit": time.perf_counter() - started},
                finished_at=time.time(),
            )
            return _create_receipt(plan.run, receipt)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise PipelineError(
            f"shard {work.shard_id} could not be committed to {plan.run}: {error}; "
            "fix the cause and run the same command again"
        ) from error


def recover(plan: Plan) -> list[Receipt]:
    """Remove files that dead attempts left at finished shards.

    Returns:
        The receipts of those shards.

    Raises:
        PipelineError: a receipt or a file that it names is damaged or gone.
    """
    receipts = read_receipts(plan.run, allow_partial=True)
    published = list_sizes(plan.run / "shards")
    for receipt in receipts:
        _check_published(plan.run, receipt, published)
    remove_orphans(plan, receipts, published)
    return receipts


def remove_orphans(plan: Plan, receipts: Iterable[Receipt], published: Iterable[str] | None = None) -> None:
    """Remove files of the given shards that their receipts do not name.

    Args:
        plan: plan of the run.
        receipts: receipts of finished shards.
        published: names of the files in ``RUN/shards``; listed if not given.
    """
    kept = {receipt.shard_id: {file.name for file in receipt.files.values()} for receipt in receipts}
    listed = list_sizes(plan.run / "shards") if published is None else published
    remove(plan.run / "shards", [name for name in listed if name not in kept.get(_get_shard_id(name), {name})])
    if get_local_path(plan.run):
        for folder in ("attempts", "receipts"):
            names = [name for name in list_sizes(plan.run / folder) if _get_shard_id(name) in kept]
            remove(plan.run / folder, [name for name in names if not name.endswith(".json")])
        for parent in (plan.run, plan.run / "plan"):
            remove(parent, [name for name in list_sizes(parent) if name.startswith(".") and name.endswith(".tmp")])


def _get_shard_id(name: str) -> str:
    """Return the shard id in the name of a published file, a staging folder or a draft."""
    return name.removeprefix(".").split(".", 1)[0]


def _write(worker: Worker, work: ShardWork, staging: Path) -> tuple[dict[str, Path], SinkOutput]:
    """Let the sink write, check its files, and add the ledger and the attachments of rejected items."""
    sink_output = worker.write(work.items, staging)
    for role, path in sink_output.files.items():
        if path.parent != staging or not path.is_file():
            raise PipelineError(
                f"the sink's file {role!r} must be in the folder that it got, {staging}, but it returned {path}"
            )
    ledger = staging / "ledger.jsonl"
    attachments = staging / "attachments.parquet"
    for path in (ledger, attachments):
        if path.stem in sink_output.files or path.exists():
            raise PipelineError(f"the role {path.stem!r} and the name {path.name} are reserved; rename the sink's file")
    rows = [asdict(row) for row in work.ledger]
    attached = [{name: row[name] for name in ATTACHMENT_SCHEMA.names} for row in rows if row["attachment"]]
    if attached:
        pq.write_table(pa.Table.from_pylist(attached, schema=ATTACHMENT_SCHEMA), attachments)
    lines = (json.dumps({name: row[name] for name in sorted(row) if name != "attachment"}) for row in rows)
    ledger.write_text("".join(f"{line}\n" for line in lines))
    files = {"ledger": ledger, **({"attachments": attachments} if attached else {})}
    return {**sink_output.files, **files}, sink_output


def _publish(paths: Mapping[str, Path], shards: UPath, attempt: str) -> dict[str, PublishedFile]:
    """Hash and publish the files of an attempt: all of them or none."""
    files: dict[str, PublishedFile] = {}
    try:
        for role, path in paths.items():
            name = f"{attempt}.{path.name}"
            files[role] = PublishedFile(name=name, size_bytes=path.stat().st_size, sha256=compute_sha256(path))
            publish_file(path, shards / name)
    except OSError:
        with suppress(OSError):
            remove(shards, [file.name for file in files.values()])
        raise
    if here := get_local_path(shards):
        sync(here)
    return files


def _create_receipt(run: UPath, receipt: Receipt) -> Receipt:
    """Create the receipt. If another attempt has created one, remove this attempt's files."""
    path = run / "receipts" / f"{receipt.shard_id}.json"
    if create(path, receipt.to_bytes()):
        return receipt
    remove(run / "shards", [file.name for file in receipt.files.values()])
    return Receipt.from_bytes(path.read_bytes(), str(path))


def _check_published(run: UPath, receipt: Receipt, published: Mapping[str, int]) -> None:
    """Check that the files of a receipt exist with their sizes."""
    # From one listing: to hash everything at each resume would take hours.
    for file in receipt.files.values():
        if file.name not in published:
            raise make_damage_error(run, receipt, file, "is gone")
        if published[file.name] != file.size_bytes:
            raise make_damage_error(run, receipt, file, f"has {published[file.name]} bytes, not {file.size_bytes}")
