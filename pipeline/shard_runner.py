"""Take shards through stages with one worker process, and commit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.commit import commit
from pipeline.plan import Plan, ShardItems
from pipeline.receipts import Receipt
from pipeline.shard_stages import ShardWork, run_stage
from pipeline.stage import Sink, Stage
from pipeline.worker import StageHost, Worker, WorkerLimits


@dataclass(frozen=True)
class StageSpecs:
    """Names and batch sizes of stages, without the stages themselves."""

    stages: Sequence[tuple[str, int]]
    """Name and batch size of each stage."""

    has_sink: bool

    @staticmethod
    def from_stages(stages: Sequence[Stage[Any, Any]], sink: Sink[Any] | None) -> StageSpecs:
        return StageSpecs([(stage.name, stage.batch_size) for stage in stages], sink is not None)


class ShardRunner:
    """Takes shards through stages with one worker process, and commits them if there is a sink."""

    def __init__(
        self, plan: Plan, stage_specs: StageSpecs, stage_host: StageHost | bytes, limits: WorkerLimits
    ) -> None:
        self._plan, self._stage_specs = plan, stage_specs
        self._items = ShardItems(plan)
        self._worker = Worker(stage_host, limits)

    def begin(self, shard_id: str) -> ShardWork:
        return ShardWork.begin(self._items, shard_id)

    def run(self, work: ShardWork) -> ShardWork | Receipt:
        for index, (name, batch_size) in enumerate(self._stage_specs.stages):
            run_stage(self._worker, index, name, batch_size, work)
        return commit(self._plan, self._worker, work) if self._stage_specs.has_sink else work

    def close(self) -> None:
        self._worker.close()
