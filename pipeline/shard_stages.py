"""Take one shard through the stages: every item ends as accepted, rejected or failed, with its reason."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.plan import ShardItems
from pipeline.stage import Rejected
from pipeline.worker import ItemError, SerializedItem, Worker, serialize_item

MAX_ATTACHMENTS = 12
"""Attachments of rejected items that a shard keeps per reason, the first in the plan's order; others are dropped."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Item that was not accepted."""

    key: str
    outcome: Literal["rejected", "failed"]
    reason: str
    """Reason that the stage gave; for failed items the exception's type, or the way the process ended."""

    detail: str
    stage: str
    attachment: bytes = field(default=b"", repr=False)


@dataclass(kw_only=True)
class ShardWork:
    """Items of one shard between two stages."""

    shard_id: str
    attempted: int
    items: list[SerializedItem]
    """Remaining items in the plan's order: ``Item`` at first, then the results of the last stage."""

    ledger: list[LedgerRow] = field(default_factory=list)
    """Other items, by stage and then in the plan's order."""

    stage_seconds: dict[str, float] = field(default_factory=dict)
    num_attachments: Counter[str] = field(default_factory=Counter)
    """Attachments in the ledger by reason."""

    @staticmethod
    def begin(items: ShardItems, shard_id: str) -> ShardWork:
        """Return a shard before its first stage."""
        read = [serialize_item(item) for item in items.read(shard_id)]
        return ShardWork(shard_id=shard_id, attempted=len(read), items=read)

    def add_to_ledger(self, row: LedgerRow) -> None:
        """Record an item that was not accepted; its attachment is kept if the reason has fewer than the limit."""
        if row.attachment and self.num_attachments[row.reason] == MAX_ATTACHMENTS:
            row = replace(row, attachment=b"")
        self.num_attachments[row.reason] += bool(row.attachment)
        self.ledger.append(row)

    def count(self, outcome: Literal["rejected", "failed"]) -> dict[str, int]:
        """Return the number of items by reason."""
        return dict(sorted(Counter(row.reason for row in self.ledger if row.outcome == outcome).items()))


def run_stage(worker: Worker, index: int, name: str, batch_size: int, work: ShardWork) -> None:
    """Process the remaining items of a shard by a stage, batch by batch.

    Args:
        worker: process that has the stage.
        index: index of the stage in the worker.
        name: name of the stage.
        batch_size: maximum number of items of a batch.
        work: shard, which is changed.

    Raises:
        PipelineError: the stage could not be set up, or the machine is to blame.
    """
    started = time.perf_counter()
    alive: list[SerializedItem] = []
    for start in range(0, len(work.items), batch_size):
        for result in _process(worker, index, name, work.items[start : start + batch_size]):
            if isinstance(result, LedgerRow):
                work.add_to_ledger(result)
            else:
                alive.append(result)
    work.items = alive
    work.stage_seconds[name] = time.perf_counter() - started


def _process(worker: Worker, index: int, name: str, batch: list[SerializedItem]) -> list[SerializedItem | LedgerRow]:
    """Return the results of a batch. If it fails, try its halves, so that only the failing items are quarantined."""
    try:
        results = worker.process(index, batch)
    except ItemError as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            return [r for half in (batch[:middle], batch[middle:]) for r in _process(worker, index, name, half)]
        row = LedgerRow(key=batch[0].key, outcome="failed", reason=error.reason, detail=error.detail, stage=name)
        return [row]
    return [
        LedgerRow(
            key=result.key,
            outcome="rejected",
            reason=result.reason,
            detail=result.detail,
            stage=name,
            attachment=result.attachment,
        )
        if isinstance(result, Rejected)
        else result
        for result in results
    ]
