"""Where shards are worked on: in this process, or on Ray (``pipeline.ray_executor``). The bytes are the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pipeline.chain import ShardWork, StageRunner
from pipeline.commit import commit
from pipeline.plan import Plan, ShardItems
from pipeline.receipts import Receipt
from pipeline.stage import Sink, Stage


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig:
    """Where and with how many workers a job runs; never changes its bytes."""

    kind: Literal["inline", "ray"] = "inline"
    """``inline``: in this process, one shard after another. ``ray``: every stage is a pool of Ray actors."""

    workers: int = 1
    """Most Ray actors of each stage, and of the sink."""

    ray_address: str | None = None
    """A cluster's address, or ``auto``; without it Ray is started on this machine."""

    working_dir: Path | None = None
    """A checkout to ship to the nodes of a cluster; without it they must share this one's path."""

    max_restarts: int = 2
    """How often a Ray worker that died is started again, and its shard tried again, before the run stops."""

    max_shards_in_flight: int | None = None
    """Most shards that are begun and not yet committed on Ray: what bounds memory, whatever the size of the job.
    Where not given, one for each worker of each stage and of the sink, and one waiting for each of them."""

    def __post_init__(self) -> None:
        if self.max_shards_in_flight is not None and self.max_shards_in_flight < 1:
            raise ValueError(f"max_shards_in_flight must be at least 1, got {self.max_shards_in_flight}")
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.max_restarts < 0:
            raise ValueError(f"max_restarts must be at least 0 (-1 would be for ever), got {self.max_restarts}")
        if self.kind == "inline" and (self.workers > 1 or self.ray_address):
            raise ValueError("the inline executor has one worker and no cluster; choose kind ray")


Step = Callable[[ShardWork], ShardWork | Receipt]
"""What one kind of worker does with a shard; the last step commits it."""


def execute(
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
) -> Generator[Receipt, None, None]:
    """Work on shards and yield each one's receipt as soon as it is committed, in any order."""
    runners = [StageRunner(stage) for stage in stages]
    steps: list[Step] = [*(runner.run for runner in runners), partial(commit, plan, sink)]
    if config.kind == "inline" or not shard_ids:
        return _execute_inline(plan, steps, shard_ids)
    from pipeline.ray_executor import execute_on_ray  # Ray takes seconds to import

    return execute_on_ray(plan, steps, [stage.resources for stage in stages], shard_ids, config)


def _execute_inline(plan: Plan, steps: list[Step], shard_ids: Sequence[str]) -> Generator[Receipt, None, None]:
    items = ShardItems(plan)
    for shard_id in shard_ids:
        state: Any = ShardWork.begin(items, shard_id)
        for step in steps:
            state = step(state)
        yield state
