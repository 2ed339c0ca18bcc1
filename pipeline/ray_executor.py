"""The chain of stages on Ray Data: a row is a shard, a stage is a bounded pool of actors.

Between stages a shard flows pickled; the last operator runs the sink and commits, and only a receipt flows out.
Ray Data alone would stage as many shards as its object store holds, so a gate lets no more in than the set limit.
A worker's error flows out the same way and is raised in the driver, as one line instead of Ray's page.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle as pickle
from ray.data import ActorPoolStrategy, DataContext, Dataset

from pipeline.chain import ShardWork
from pipeline.errors import PipelineError
from pipeline.executor import ExecutorConfig, Step
from pipeline.plan import Plan, ShardItems
from pipeline.receipts import Receipt
from pipeline.stage import Resources

Row = dict[str, Any]
"""``shard``: its id; ``state``: pickled ``ShardWork``, at the end ``Receipt``; ``error`` and ``trace``: text."""

CHECKOUT = Path(__file__).resolve().parents[1]
SINK_RESOURCES = Resources(num_cpus=0.5)
LEFT_OUT = [".git", ".venv", "data", "runs", "**/__pycache__"]


def execute_on_ray(
    plan: Plan,
    steps: Sequence[Step],
    resources: Sequence[Resources],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
) -> Generator[Receipt, None, None]:
    """Yield the receipts of shards. Uses the Ray session of this process if there is one.

    Args:
        steps: the stages' and, at the end, the sink's.
        resources: the stages'.

    Raises:
        PipelineError: a stage or the sink failed as a whole, workers died too often, or Ray is not there.
    """
    pools = [*resources, SINK_RESOURCES]
    with ray_session(config, pools):
        _check_resources(pools)
        dataset = _dataset(plan, steps, pools, shard_ids, config)
        try:
            # Nothing is fetched ahead, so that progress is live.
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    yield _receipt(row)
        except ray.exceptions.RayError as error:
            raise PipelineError(
                f"Ray gave up, after {config.max_restarts} restarts of a worker: {_one_line(error)}; "
                "run the same command again to go on"
            ) from error


@contextmanager
def ray_session(config: ExecutorConfig, pools: Sequence[Resources]) -> Iterator[None]:
    """A Ray session that can hold all pools; ends with the block, unless it was there before."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a false alarm for every pool (ray issue 57733)
    runtime_env: dict[str, Any] = {"env_vars": {"PYTHONPATH": _python_path()}}
    if config.working_dir:
        runtime_env |= {"working_dir": str(config.working_dir), "excludes": LEFT_OUT}
    where: dict[str, Any] = {"address": config.ray_address}
    if config.ray_address is None:
        # These CPUs are tickets, not cores: with fewer of them than pools ask for, the pools would wait for ever.
        num_cpus = 1 + math.ceil(config.workers * sum(pool.num_cpus for pool in pools))
        where = {"address": "local", "_node_ip_address": "127.0.0.1", "num_cpus": num_cpus}
        where |= {"include_dashboard": False}
    try:
        ray.init(**where, runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        message = f"no Ray session at address {where['address']!r}: {_one_line(error)}; check it with `ray status`"
        raise PipelineError(message) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(pools: Sequence[Resources]) -> None:
    """One worker of every pool must fit at the same time, or the run would wait for ever."""
    has = ray.cluster_resources()
    for name, needed in (("CPU", sum(p.num_cpus for p in pools)), ("GPU", sum(p.num_gpus for p in pools))):
        if needed > has.get(name, 0):
            raise PipelineError(
                f"one worker of each stage needs {needed:g} {name} in all, the Ray session has "
                f"{has.get(name, 0):g}; ask for less in the stages' resources, or use a larger machine"
            )


def _python_path() -> str:
    """Workers import what the driver can, whatever folder it was started from; Python's own folders are theirs."""
    own = (sys.prefix, sys.base_prefix)
    paths = [str(CHECKOUT), *(path for path in sys.path if path and not path.startswith(own))]
    return os.pathsep.join(dict.fromkeys(paths))


class _Gate:
    """Counts the shards in flight; whoever brings one more than the limit waits. Both calls may be repeated."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: set[str] = set()
        self._changed = asyncio.Condition()

    async def enter(self, shard_id: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: shard_id in self._inside or len(self._inside) < self._limit)
            self._inside.add(shard_id)

    async def leave(self, shard_id: str) -> None:
        async with self._changed:
            self._inside.discard(shard_id)
            self._changed.notify_all()


class _Worker:
    """One actor: takes shards through one step. Its errors travel on in the row.

    Args:
        gate: handle of a ``_Gate``; the first step's workers enter it, the last step's leave it.
    """

    def __init__(self, plan: Plan, step: Step, gate: Any, is_first: bool, is_last: bool) -> None:
        self._items = ShardItems(plan)
        self._step = step
        self._gate, self._is_first, self._is_last = gate, is_first, is_last

    def __call__(self, row: Row) -> Row:
        if self._is_first:
            ray.get(self._gate.enter.remote(row["shard"]))
        done = self._done(row)
        if self._is_last:
            ray.get(self._gate.leave.remote(row["shard"]))
        return done

    def _done(self, row: Row) -> Row:
        if row["error"]:
            return row
        try:
            state = row["state"]
            work = pickle.loads(state) if state else ShardWork.begin(self._items, row["shard"])
            return {**row, "state": pickle.dumps(self._step(work))}
        except Exception as error:  # noqa: BLE001 - the worker's boundary; the driver raises it
            message = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
            return {**row, "state": b"", "error": message, "trace": trace}


def _dataset(
    plan: Plan,
    steps: Sequence[Step],
    pools: Sequence[Resources],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
) -> Dataset:
    """A block per shard, so that a shard is what is scheduled, retried and handed on."""
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a slow shard is no reason to stop
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")  # max_restarts has no other way
    rows = [{"shard": shard_id, "state": b"", "error": "", "trace": ""} for shard_id in shard_ids]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    size = {"min_size": 1, "max_size": config.workers, "initial_size": config.workers}
    gate_options = {"num_cpus": 0, "max_restarts": config.max_restarts, "max_task_retries": -1}
    limit = config.max_shards_in_flight or 2 * config.workers * len(steps)
    gate = ray.remote(_Gate).options(max_concurrency=10_000, **gate_options).remote(limit)
    for number, (step, resources) in enumerate(zip(steps, pools, strict=True)):
        dataset = dataset.map(
            _Worker,
            fn_constructor_args=(plan, step, gate, number == 0, number == len(steps) - 1),
            compute=ActorPoolStrategy(**size, max_tasks_in_flight_per_actor=2),
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            max_restarts=config.max_restarts,
            max_task_retries=config.max_restarts,
        )
    return dataset


def _receipt(row: Row) -> Receipt:
    """What the last step made of a shard, or the error of any step."""
    if row["error"]:
        error = PipelineError(row["error"])
        error.add_note(f"raised by the worker of shard {row['shard']}:\n{row['trace']}")
        raise error
    receipt: Receipt = pickle.loads(row["state"])
    return receipt


def _one_line(error: Exception) -> str:
    """The first line, which says what happened, and the last, which says why."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines() or [type(error).__name__]
    return " ... ".join(dict.fromkeys(line.strip() for line in (lines[0], lines[-1])))
