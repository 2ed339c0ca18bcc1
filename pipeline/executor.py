"""Where shards are worked on: on this machine, or on Ray (``pipeline.ray_executor``). The bytes are the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.commit import commit
from pipeline.plan import Plan, ShardItems
from pipeline.receipts import Receipt
from pipeline.shard_stages import ShardWork, run_stage
from pipeline.stage import Sink, Stage
from pipeline.worker import StageHost, Worker, WorkerLimits


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig(WorkerLimits):
    """Where and with how many workers a job runs; never changes its bytes."""

    executor: Literal["inline", "ray"] = "inline"
    """``inline``: one worker process on this machine. ``ray``: every stage is a pool of Ray actors."""

    workers: int = 1
    """Most Ray actors of each stage, and of the sink."""

    ray_address: str | None = None
    """A cluster's address, or ``auto``; without it Ray is started on this machine."""

    working_dir: Path | None = None
    """A checkout to ship to the nodes of a cluster; without it they must share this one's path."""

    max_restarts: int = 2
    """How often a shard whose Ray worker or node died is tried again before the run stops."""

    max_shards_in_flight: int | None = None
    """Most shards that are begun and not yet committed on Ray: what bounds memory, whatever the size of the job.
    Where not given, one for each worker of each stage and of the sink, and one waiting for each of them."""

    start_timeout_s: float = 300.0
    """How long to wait until a cluster has room for one worker of each stage."""

    grace_s: float = 20.0
    """After SIGTERM, how long the shards in flight may take to finish before they are given up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_shards_in_flight is not None and self.max_shards_in_flight < 1:
            raise ValueError(f"max_shards_in_flight must be at least 1, got {self.max_shards_in_flight}")
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.max_restarts < 0:
            raise ValueError(f"max_restarts must be at least 0, got {self.max_restarts}")
        if self.grace_s <= 0 or self.start_timeout_s <= 0:
            raise ValueError("grace_s and start_timeout_s must be positive")
        if self.executor == "inline" and (self.workers > 1 or self.ray_address):
            raise ValueError("the inline executor has one worker and no cluster; choose --executor ray")


@dataclass(frozen=True)
class StageSpecs:
    """What one who watches over a bench knows of it."""

    stages: Sequence[tuple[str, int]]
    """Name and batch size."""

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


def execute(
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
    is_stopping: Callable[[], bool],
) -> Generator[Receipt, None, None]:
    """Work on shards and yield each one's receipt as soon as it is committed, in any order.

    Args:
        is_stopping: once true, no further shard is begun.
    """
    if config.executor == "inline" or not shard_ids:
        return _execute_inline(plan, stages, sink, shard_ids, config, is_stopping)
    from pipeline.ray_executor import execute_on_ray  # Ray takes seconds to import

    return execute_on_ray(plan, stages, sink, shard_ids, config, is_stopping)


def _execute_inline(
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
    is_stopping: Callable[[], bool],
) -> Generator[Receipt, None, None]:
    if not shard_ids:
        return
    runner = ShardRunner(plan, StageSpecs.from_stages(stages, sink), StageHost(stages, sink), config)
    try:
        for shard_id in shard_ids:
            if is_stopping():
                return
            receipt = runner.run(runner.begin(shard_id))
            assert isinstance(receipt, Receipt)
            yield receipt
    finally:
        runner.close()
