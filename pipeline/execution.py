"""Run the shards of a plan: on this machine, or on Ray (``pipeline.ray_executor``). The bytes are the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from pipeline.executor import ExecutorConfig
from pipeline.plan import Plan
from pipeline.receipts import Receipt
from pipeline.shard_runner import ShardRunner, StageSpecs
from pipeline.stage import Sink, Stage
from pipeline.worker import StageHost


def execute(
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
    is_stopping: Callable[[], bool],
) -> Generator[Receipt, None, None]:
    """Run shards and yield the receipt of each as soon as it is committed, in any order.

    Args:
        plan: plan of the run.
        stages: stages of the job, in order.
        sink: sink of the job.
        shard_ids: shards to run.
        config: place and number of workers.
        is_stopping: returns whether to begin no further shard.

    Raises:
        PipelineError: a stage or the sink failed as a whole, or workers died too often.
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
