"""Exactly once: an attempt writes under names of its own, and the first receipt wins.

1. The sink writes into ``RUN/attempts/<shard>.<attempt>/files``.
2. Its files are flushed, hashed and renamed to ``RUN/shards/<shard>.<attempt>.<file name>``.
3. The receipt is linked, never overwriting, from the attempt's folder to ``RUN/receipts/<shard>.json``.

A process that dies before 3 leaves files that no reader looks at; one that comes late finds the receipt taken
and deletes its own. ``recover`` removes what the dead left. It first renames their folders: step 3 links from
there, so an attempt that was given up but still lives can no longer commit, and its files can go without a race.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.chain import ShardWork
from pipeline.durable import sha256_of, sync, write_synced
from pipeline.errors import PipelineError
from pipeline.plan import Plan
from pipeline.receipts import PublishedFile, Receipt, damaged_file, read_receipts
from pipeline.stage import Sink, Written


def commit(plan: Plan, sink: Sink[Any], work: ShardWork) -> Receipt:
    """Write and publish one shard.

    Returns:
        The receipt that counts: this attempt's, or that of another which came first.

    Raises:
        PipelineError: the sink failed, the disk refused, or another run gave this attempt up.
    """
    try:
        return _commit(plan, sink, work)
    except OSError as error:
        raise PipelineError(
            f"shard {work.shard_id} could not be committed to {plan.run}: {error}; "
            "mend that and run the same command again"
        ) from error


def recover(plan: Plan) -> list[Receipt]:
    """Clean up what dead attempts left.

    Returns:
        The receipts of the shards that are done.

    Raises:
        PipelineError: a receipt or a file that it names is damaged or gone.
    """
    shards, attempts = plan.run / "shards", plan.run / "attempts"
    for folder in (shards, attempts, plan.run / "receipts"):
        folder.mkdir(exist_ok=True)
    published = {entry.name: entry.stat().st_size for entry in os.scandir(shards)}
    for attempt in attempts.iterdir():
        attempt.rename(attempts / f"{uuid4().hex[:12]}.dead")
    receipts = read_receipts(plan.run, allow_partial=True)
    for receipt in receipts:
        _check_published(plan.run, receipt, published)
    delivered = {file.name for receipt in receipts for file in receipt.files.values()}
    for name in published.keys() - delivered:
        (shards / name).unlink(missing_ok=True)
    for dead in attempts.glob("*.dead"):
        shutil.rmtree(dead)
    for draft in plan.run.glob(".*.tmp"):
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
    return receipts


def _commit(plan: Plan, sink: Sink[Any], work: ShardWork) -> Receipt:
    started = time.perf_counter()
    attempt = plan.run / "attempts" / f"{work.shard_id}.{uuid4().hex[:12]}"
    folder = attempt / "files"
    folder.mkdir(parents=True)
    written = _write(sink, work, folder)
    ledger = folder / "ledger.jsonl"
    ledger.write_text("".join(json.dumps(asdict(row), sort_keys=True) + "\n" for row in work.ledger))
    files = _publish({**written.files, "ledger": ledger}, plan.run / "shards", attempt.name)
    receipt = Receipt(
        shard_id=work.shard_id,
        plan_hash=plan.plan_hash,
        files=files,
        attempted=work.attempted,
        accepted=len(work.items),
        rejected=work.count("rejected"),
        failed=work.count("failed"),
        summary=dict(written.summary),
        stage_seconds={**work.stage_seconds, "commit": time.perf_counter() - started},
    )
    winner = _link_receipt(plan.run, attempt, receipt)
    shutil.rmtree(attempt)
    return winner


def _write(sink: Sink[Any], work: ShardWork, folder: Path) -> Written:
    """Let the sink write, and check what it says it wrote."""
    where = f"{type(sink).__name__} for shard {work.shard_id}"
    try:
        written = sink.write(work.items, folder)
    except (OSError, PipelineError):
        raise
    except Exception as error:
        raise PipelineError(f"{where} could not write: {type(error).__name__}: {error}") from error
    for role, path in written.files.items():
        if path.parent != folder or not path.is_file():
            raise PipelineError(f"{where}: file {role!r} must lie in the folder it was given, got {path}")
    if "ledger" in written.files or (folder / "ledger.jsonl").exists():
        raise PipelineError(f"{where}: the role 'ledger' and the name ledger.jsonl belong to the engine")
    return written


def _publish(paths: Mapping[str, Path], shards: Path, attempt: str) -> dict[str, PublishedFile]:
    """Flush, hash and rename the files of an attempt."""
    files = {}
    for role, path in paths.items():
        sync(path)
        file = PublishedFile(name=f"{attempt}.{path.name}", size_bytes=path.stat().st_size, sha256=sha256_of(path))
        path.rename(shards / file.name)
        files[role] = file
    sync(shards)
    return files


def _link_receipt(run: Path, attempt: Path, receipt: Receipt) -> Receipt:
    """Commit, unless another attempt has; then delete this one's files."""
    draft, final = attempt / "receipt.json", run / "receipts" / f"{receipt.shard_id}.json"
    write_synced(draft, receipt.to_bytes())
    try:
        os.link(draft, final)
    except FileExistsError:
        for file in receipt.files.values():
            (run / "shards" / file.name).unlink()
        return Receipt.from_bytes(final.read_bytes(), str(final))
    sync(final.parent)
    return receipt


def _check_published(run: Path, receipt: Receipt, published: Mapping[str, int]) -> None:
    """Names and sizes only, from one listing: hashing everything at every resume would take hours."""
    for file in receipt.files.values():
        if file.name not in published:
            raise damaged_file(run, receipt, file, "is gone")
        if published[file.name] != file.size_bytes:
            raise damaged_file(run, receipt, file, f"has {published[file.name]} bytes, not {file.size_bytes}")
