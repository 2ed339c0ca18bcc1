"""One shard's way through the stages: every item ends as accepted, rejected or failed, with its reason."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import PipelineError
from pipeline.plan import ShardItems
from pipeline.stage import Rejected, Stage


class WrongResultError(Exception):
    """A stage broke its promise: as many results as items, in the same order, under the same keys."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """An item that was not accepted."""

    key: str
    outcome: Literal["rejected", "failed"]
    reason: str
    """The stage's own for rejected items, the exception's type for failed ones."""

    detail: str
    stage: str


@dataclass(kw_only=True)
class ShardWork:
    """One shard on its way; pickled from a worker of one stage to a worker of the next."""

    shard_id: str
    attempted: int
    items: list[Any]
    """What is still alive, in the plan's order: ``Item`` at first, then whatever the last stage gave."""

    ledger: list[LedgerRow] = field(default_factory=list)
    """The rest, by stage and then in the plan's order."""

    stage_seconds: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def begin(items: ShardItems, shard_id: str) -> ShardWork:
        """A shard before its first stage."""
        read = items.read(shard_id)
        return ShardWork(shard_id=shard_id, attempted=len(read), items=list(read))

    def count(self, outcome: Literal["rejected", "failed"]) -> dict[str, int]:
        """Reason to number of items."""
        return dict(sorted(Counter(row.reason for row in self.ledger if row.outcome == outcome).items()))


class StageRunner:
    """Takes shards through one stage; sets the stage up at the first one."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self._stage = stage
        self._is_set_up = False

    def run(self, work: ShardWork) -> ShardWork:
        """Process what is alive in the shard, batch by batch.

        Raises:
            PipelineError: the stage could not be set up.
        """
        if not self._is_set_up:
            self._set_up()
        started = time.perf_counter()
        alive: list[Any] = []
        size = self._stage.batch_size
        for start in range(0, len(work.items), size):
            for result in self._process(work.items[start : start + size]):
                if isinstance(result, LedgerRow):
                    work.ledger.append(result)
                else:
                    alive.append(result)
        work.items = alive
        work.stage_seconds[self._stage.name] = time.perf_counter() - started
        return work

    def _set_up(self) -> None:
        try:
            self._stage.setup()
        except Exception as error:
            message = f"stage {self._stage.name!r} could not be set up: {type(error).__name__}: {error}"
            raise PipelineError(message) from error
        self._is_set_up = True

    def _process(self, batch: list[Any]) -> list[Any]:
        """The results of a batch. If it raises, its items are tried one by one, so that only the guilty fail."""
        try:
            results = self._stage.process(list(batch))
            check_results(batch, results)
        except Exception as error:  # noqa: BLE001 - the boundary at which an item's failure becomes a row
            if len(batch) > 1:
                return [result for item in batch for result in self._process([item])]
            return [self._row(batch[0].key, "failed", type(error).__name__, _detail(error))]
        return [
            self._row(result.key, "rejected", result.reason, result.detail) if isinstance(result, Rejected) else result
            for result in results
        ]

    def _row(self, key: str, outcome: Literal["rejected", "failed"], reason: str, detail: str) -> LedgerRow:
        return LedgerRow(key=key, outcome=outcome, reason=reason, detail=detail, stage=self._stage.name)


def check_results(batch: list[Any], results: Any) -> None:
    """Insist on as many results as items, in the same order, under the same keys.

    Raises:
        WrongResultError: naming what differs.
    """
    if not isinstance(results, list) or len(results) != len(batch):
        got = f"{len(results)} results" if isinstance(results, list) else type(results).__name__
        raise WrongResultError(f"process must return a list of {len(batch)} results, got {got}")
    for position, (item, result) in enumerate(zip(batch, results, strict=True)):
        key = getattr(result, "key", None)
        if key != item.key:
            got = repr(key) if hasattr(result, "key") else f"a {type(result).__name__} without key"
            raise WrongResultError(f"result {position} must have the key of its item, {item.key!r}, got {got}")


def _detail(error: Exception) -> str:
    """The message and the line that raised it, free of memory addresses, which differ from run to run."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x...", str(error)) + where
