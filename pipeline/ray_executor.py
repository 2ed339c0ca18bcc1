"""The chain of stages on Ray Data: a row is a shard, a stage is a bounded pool of actors.

Between stages a shard flows pickled; the last operator runs the sink and commits, and only a receipt flows out.
A worker's error flows out the same way and is raised in the driver, as one line instead of Ray's page.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle as pickle
from ray.data import ActorPoolStrategy, DataContext, Dataset

from pipeline.chain import ShardReader, ShardWork, StageRunner
from pipeline.commit import commit
from pipeline.errors import PipelineError
from pipeline.executor import ExecutorConfig
from pipeline.plan import Plan
from pipeline.receipts import Receipt
from pipeline.stage import Resources, Sink, Stage

Row = dict[str, Any]
"""``shard``: its id; ``work``: the pickled ``ShardWork``, at the end the receipt's JSON; ``error``, ``trace``."""

CHECKOUT = Path(__file__).resolve().parents[1]
SINK_RESOURCES = Resources(num_cpus=0.5)
LEFT_OUT = [".git", ".venv", "data", "runs", "**/__pycache__"]


def execute_on_ray(
    plan: Plan, stages: Sequence[Stage[Any, Any]], sink: Sink[Any], shard_ids: Sequence[str], config: ExecutorConfig
) -> Generator[Receipt, None, None]:
    """As ``pipeline.executor.execute``. Uses the Ray session of this process if there is one.

    Raises:
        PipelineError: a stage or the sink failed as a whole, workers died too often, or Ray is not there.
    """
    pools = [*(stage.resources for stage in stages), SINK_RESOURCES]
    with ray_session(config, pools):
        _check_resources(pools)
        _quiet()
        dataset = _dataset(plan, stages, sink, shard_ids, config)
        try:
            for row in _rows(dataset):
                if row["error"]:
                    raise _raised_by_worker(row)
                yield Receipt.from_bytes(row["work"], f"the receipt of shard {row['shard']}")
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
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    options["runtime_env"] = {"env_vars": {"PYTHONPATH": _python_path()}}
    if config.working_dir:
        options["runtime_env"] |= {"working_dir": str(config.working_dir), "excludes": LEFT_OUT}
    if config.ray_address:
        options |= {"address": config.ray_address}
    else:
        # These CPUs are tickets, not cores: with fewer of them than pools ask for, the pools would wait for ever.
        num_cpus = 1 + math.ceil(config.workers * sum(pool.num_cpus for pool in pools))
        options |= {"address": "local", "_node_ip_address": "127.0.0.1", "num_cpus": num_cpus}
        options |= {"include_dashboard": False}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"at {config.ray_address}" if config.ray_address else "on this machine"
        message = f"no Ray session {where}: {_one_line(error)}; check the address and `ray status`"
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


class _Worker:
    """What one actor does with a row; an error travels on in the row."""

    def __init__(self, plan: Plan) -> None:
        self._reader = ShardReader(plan)

    def __call__(self, row: Row) -> Row:
        if row["error"]:
            return row
        try:
            work = pickle.loads(row["work"]) if row["work"] else self._reader.read(row["shard"])
            return {**row, "work": self.work_on(work)}
        except Exception as error:  # noqa: BLE001 - the worker's boundary; the driver raises it
            message = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
            return {**row, "work": b"", "error": message or type(error).__name__, "trace": trace}

    def work_on(self, work: ShardWork) -> bytes:
        raise NotImplementedError


class _StageWorker(_Worker):
    def __init__(self, plan: Plan, stage: Stage[Any, Any]) -> None:
        super().__init__(plan)
        self._runner = StageRunner(stage)

    def work_on(self, work: ShardWork) -> bytes:
        pickled: bytes = pickle.dumps(self._runner.run(work))
        return pickled


class _SinkWorker(_Worker):
    def __init__(self, plan: Plan, sink: Sink[Any]) -> None:
        super().__init__(plan)
        self._plan, self._sink = plan, sink

    def work_on(self, work: ShardWork) -> bytes:
        return commit(self._plan, work, self._sink).to_bytes()


def _dataset(
    plan: Plan, stages: Sequence[Stage[Any, Any]], sink: Sink[Any], shard_ids: Sequence[str], config: ExecutorConfig
) -> Dataset:
    """A block per shard, so that a shard is what is scheduled, retried and handed on."""
    rows = [{"shard": shard_id, "work": b"", "error": "", "trace": ""} for shard_id in shard_ids]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))

    def pool(dataset: Dataset, worker: Callable[..., _Worker], resources: Resources, *arguments: Any) -> Dataset:
        return dataset.map(
            worker,
            fn_constructor_args=(plan, *arguments),
            compute=ActorPoolStrategy(
                min_size=1, max_size=config.workers, initial_size=config.workers, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            max_restarts=config.max_restarts,
            max_task_retries=config.max_restarts,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bounds on restarts have no named parameter in this version of Ray
        for stage in stages:
            dataset = pool(dataset, _StageWorker, stage.resources, stage)
        return pool(dataset, _SinkWorker, SINK_RESOURCES, sink)


def _rows(dataset: Dataset) -> Iterator[Row]:
    """Rows as they come; nothing is fetched ahead, so that progress is live."""
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def _quiet() -> None:
    """One voice in the terminal, ours; and a slow shard is no reason to stop."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _raised_by_worker(row: Row) -> PipelineError:
    error = PipelineError(row["error"])
    error.add_note(f"raised by the worker of shard {row['shard']}:\n{row['trace']}")
    return error


def _one_line(error: Exception) -> str:
    """The first line, which says what happened, and the last, which says why."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines() or [type(error).__name__]
    return " ... ".join(dict.fromkeys(line.strip() for line in (lines[0], lines[-1])))
