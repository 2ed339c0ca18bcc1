"""Run stages on Ray: each stage, and the sink, is a bounded pool of actors, and a shard is one call.

The driver holds references only. A shard passes from pool to pool through Ray's object store. The number of shards in
flight is limited. If a worker or node dies, its shards start again at the first stage.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray

from pipeline.errors import PipelineError
from pipeline.executor import ExecutorConfig
from pipeline.plan import Plan
from pipeline.receipts import Receipt
from pipeline.shard_runner import ShardRunner, StageSpecs
from pipeline.shard_stages import ShardWork
from pipeline.stage import Resources, Sink, Stage
from pipeline.worker import StageHost, build_python_path

SINK_RESOURCES = Resources(num_cpus=0.5)
PATIENCE_S = 5.0
"""Seconds that a pool may be without actors before the other pools make room for it."""

MAX_TEMP_LENGTH = 36
"""Maximum length of a temporary folder for Ray: its sockets' paths are 70 longer, and Linux allows 107 characters."""

SHORT_TEMP_FOLDER = "/tmp/ray"
"""Ray's folder instead of one below a longer temporary folder, such as a batch system's; Ray's own default."""

# Patterns of .gitignore: the slash excludes only the top folders, not packages named data.
EXCLUDED_PATHS = [".git", ".venv", "/data", "/runs", "**/__pycache__"]


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """Result of a call for the driver; the shard itself stays in the object store."""

    receipt: Receipt | None = None
    error: str = ""
    trace: str = ""


class _Actor:
    """Worker of a pool."""

    def __init__(self, plan: Plan, stage_specs: StageSpecs, stage_host: bytes, config: ExecutorConfig) -> None:
        self._runner = ShardRunner(plan, stage_specs, stage_host, config)

    def is_ready(self) -> bool:
        return True

    def run(self, shard_id: str, work: ShardWork | None) -> tuple[_Outcome, ShardWork | None]:
        """Run this pool's step on a shard, from the plan or from the pool before."""
        try:
            done = self._runner.run(work or self._runner.begin(shard_id))
        except Exception as error:  # noqa: BLE001 - the worker's boundary; the driver raises it
            message = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
            return _Outcome(error=message, trace="".join(traceback.format_exception(error))), None
        return (_Outcome(receipt=done), None) if isinstance(done, Receipt) else (_Outcome(), done)


@dataclass(frozen=True, slots=True)
class _Call:
    shard_id: str
    work: Any
    """Reference to the shard's work after the pool before; None before the first."""


@dataclass(kw_only=True)
class _Pool:
    """Actors of one step, and the shards that wait for them."""

    name: str
    resources: Resources
    make: Callable[[], Any]
    """Function that returns the handle of a new actor."""

    starting: dict[Any, Any] = field(default_factory=dict)
    """Actors that must answer before use, new or after a loss, by the reference of ``is_ready``."""

    idle: list[Any] = field(default_factory=list)
    busy: dict[Any, tuple[Any, _Call, Any]] = field(default_factory=dict)
    """Actor, call and reference of the work, by the reference of the outcome."""

    queue: deque[_Call] = field(default_factory=deque)

    @property
    def num_live(self) -> int:
        return len(self.idle) + len(self.busy)

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.poll_actor(self.make())

    def poll_actor(self, actor: Any) -> None:
        """Use the actor again once it has answered."""
        self.starting[actor.is_ready.remote()] = actor

    def dispatch(self) -> None:
        while self.queue and self.idle:
            actor, call = self.idle.pop(), self.queue.popleft()
            outcome, work = actor.run.options(num_returns=2).remote(call.shard_id, call.work)
            self.busy[outcome] = (actor, call, work)

    def shrink(self) -> None:
        """Stop the actors without work, except one."""
        spare = self.idle if self.busy else self.idle[1:]
        for actor in (*self.starting.values(), *spare):
            ray.kill(actor)
        self.starting.clear()
        self.idle = [] if self.busy else self.idle[:1]

    def kill(self) -> None:
        for actor in (*self.starting.values(), *self.idle, *(actor for actor, _, _ in self.busy.values())):
            ray.kill(actor)


def execute_on_ray(
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any],
    shard_ids: Sequence[str],
    config: ExecutorConfig,
    is_stopping: Callable[[], bool],
) -> Generator[Receipt, None, None]:
    """Yield the receipts of shards, in any order, from this process's Ray session or a new one.

    Raises:
        PipelineError: a stage or the sink failed as a whole, workers died too often, or Ray did not start.
    """
    pools = [
        *(_build_pool(stage.name, stage.resources, plan, [stage], None, config) for stage in stages),
        _build_pool("commit", SINK_RESOURCES, plan, [], sink, config),
    ]
    with open_ray_session(config, [pool.resources for pool in pools]):
        _wait_for_resources(pools, config)
        try:
            yield from _Driver(pools, shard_ids, config, is_stopping).receipts()
        finally:
            for pool in pools:
                pool.kill()


def _build_pool(
    name: str,
    resources: Resources,
    plan: Plan,
    stages: Sequence[Stage[Any, Any]],
    sink: Sink[Any] | None,
    config: ExecutorConfig,
) -> _Pool:
    stage_specs, stage_host = StageSpecs.from_stages(stages, sink), StageHost(stages, sink).serialize()
    options = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus, "max_restarts": 0}
    actor = ray.remote(_Actor).options(**options)
    return _Pool(name=name, resources=resources, make=lambda: actor.remote(plan, stage_specs, stage_host, config))


class _Driver:
    """Scheduler that passes shards from pool to pool and restarts lost ones."""

    def __init__(
        self,
        pools: Sequence[_Pool],
        shard_ids: Sequence[str],
        config: ExecutorConfig,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._pools, self._config, self._is_stopping = pools, config, is_stopping
        self._todo = deque(shard_ids)
        self._in_flight: set[str] = set()
        self._limit = config.max_shards_in_flight or 2 * config.workers * len(pools)
        self._losses: dict[str, int] = {}
        self._complete_since = time.monotonic()
        self._last_loss = ""

    def receipts(self) -> Generator[Receipt, None, None]:
        while self._in_flight or (self._todo and not self._is_stopping()):
            while self._todo and len(self._in_flight) < self._limit and not self._is_stopping():
                shard_id = self._todo.popleft()
                self._in_flight.add(shard_id)
                self._pools[0].queue.append(_Call(shard_id, None))
            self._resize_pools()
            waiting = [reference for pool in self._pools for reference in (*pool.starting, *pool.busy)]
            ready, _ = ray.wait(waiting, num_returns=1, timeout=1.0)
            if ready:
                ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
            for pool, next_pool in zip(self._pools, [*self._pools[1:], None], strict=True):
                for reference in ready:
                    if reference in pool.starting:
                        self._handle_started(pool, reference)
                    elif reference in pool.busy:
                        yield from self._handle_done(pool, next_pool, reference)

    def _resize_pools(self) -> None:
        """Start actors: first one for each pool; while a pool has none, the others do not grow."""
        for pool in self._pools:
            pool.dispatch()
        lacking = [pool for pool in self._pools if not pool.num_live]
        if not lacking:
            self._complete_since = time.monotonic()
        lacking_s = time.monotonic() - self._complete_since
        if lacking_s > self._config.start_timeout_s:
            names = ", ".join(
                f"{pool.name} ({pool.resources.num_cpus:g} CPU, {pool.resources.num_gpus:g} GPU)" for pool in lacking
            )
            raise PipelineError(
                f"no worker could be started within {self._config.start_timeout_s:g} s for {names}; "
                f"has the cluster lost a node? {self._last_loss} Run the same command again to resume"
            )
        for pool in self._pools:
            if pool in lacking:
                pool.grow(0 if pool.starting else 1)
            elif lacking_s > PATIENCE_S:
                pool.shrink()
            elif not lacking:
                size = pool.num_live + len(pool.starting)
                pool.grow(max(0, min(len(pool.queue) - len(pool.starting), self._config.workers - size)))

    def _handle_started(self, pool: _Pool, reference: Any) -> None:
        actor = pool.starting.pop(reference)
        try:
            ray.get(reference)
            pool.idle.append(actor)
        except ray.exceptions.RayTaskError as error:  # its constructor raised
            raise PipelineError(f"a worker of {pool.name} could not start: {_format_error(error)}") from error
        except ray.exceptions.RayError as error:  # it died unused; another takes its place when needed
            self._last_loss = f"The last worker was lost by: {_format_error(error)}."

    def _handle_done(self, pool: _Pool, next_pool: _Pool | None, reference: Any) -> Generator[Receipt, None, None]:
        actor, call, work = pool.busy.pop(reference)
        try:
            outcome: _Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._handle_lost(pool, actor, call, error)
            return
        pool.idle.append(actor)
        if outcome.error:
            problem = PipelineError(outcome.error)
            problem.add_note(f"raised by the worker of shard {call.shard_id}:\n{outcome.trace}")
            raise problem
        if next_pool is not None:
            next_pool.queue.append(_Call(call.shard_id, work))
        elif outcome.receipt is not None:
            self._in_flight.discard(call.shard_id)
            yield outcome.receipt

    def _handle_lost(self, pool: _Pool, actor: Any, call: _Call, error: Exception) -> None:
        """Start the shard again. A whole node may be gone, so each idle actor must answer before use."""
        losses = self._losses[call.shard_id] = self._losses.get(call.shard_id, 0) + 1
        if losses > self._config.max_restarts:
            raise PipelineError(
                f"shard {call.shard_id} was lost {losses} times with its Ray worker or node: {_format_error(error)}; "
                "run the same command again to resume"
            ) from error
        pool.poll_actor(actor)
        for other in self._pools:
            idle, other.idle = other.idle, []
            for waiting in idle:
                other.poll_actor(waiting)
        self._pools[0].queue.append(_Call(call.shard_id, None))


def _start_ray(init_options: dict[str, Any]) -> None:
    """Start or join Ray; a local node that is not up after Ray's fixed 30 seconds gets two more tries.

    Raises:
        RuntimeError: it is not up after the last one.
    """
    for tries_left in (2, 1, 0):
        try:
            ray.init(**init_options, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises it without a class of its own
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if not tries_left:
                raise RuntimeError(str(error)) from error
        else:
            return


@contextmanager
def open_ray_session(config: ExecutorConfig, needs: Sequence[Resources]) -> Iterator[None]:
    """Open a Ray session that can hold all pools; it ends with the block, unless it was open before."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a false alarm for every pool (ray issue 57733)
    runtime_env: dict[str, Any] = {"env_vars": {"PYTHONPATH": build_python_path()}}
    if config.working_dir:
        runtime_env |= {"working_dir": str(config.working_dir), "excludes": EXCLUDED_PATHS}
    init_options: dict[str, Any] = {"address": config.ray_address}
    if config.ray_address is None:
        # These CPUs are tokens, not cores: with fewer than the pools need, the pools would wait for each other.
        num_cpus = 1 + math.ceil(config.workers * sum(need.num_cpus for need in needs))
        init_options = {"address": "local", "_node_ip_address": "127.0.0.1", "num_cpus": num_cpus}
        init_options |= {"include_dashboard": False}
        if "RAY_TMPDIR" not in os.environ and len(tempfile.gettempdir()) > MAX_TEMP_LENGTH:
            init_options |= {"_temp_dir": SHORT_TEMP_FOLDER}
    _refuse_silent_address(config.ray_address)
    try:
        on_sigterm = signal.getsignal(signal.SIGTERM)
        _start_ray({**init_options, "runtime_env": runtime_env})
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise PipelineError(
            f"no Ray session at address {init_options['address']!r}: {_format_error(error)}; check it with "
            "`ray status`. Where `ray start` made a token, set RAY_AUTH_MODE=token. If a path is too long or cannot be "
            "written, set RAY_TMPDIR or HOME to a short folder, such as /tmp"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray put its own in its place
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent_address(address: str | None) -> None:
    """Refuse an address that does not answer; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise PipelineError(
            f"nothing answers at the Ray address {address}: {error}; check it with `ray status`, or start a head there"
        ) from error


def _wait_for_resources(pools: Sequence[_Pool], config: ExecutorConfig) -> None:
    """Wait until one worker of every pool fits at the same time, since a cluster may still be growing."""
    deadline = time.monotonic() + (config.start_timeout_s if config.ray_address else 0)
    while shortage := _describe_shortage([pool.resources for pool in pools]):
        if time.monotonic() > deadline:
            raise PipelineError(f"one worker of each stage needs {shortage}; request less, or use a larger machine")
        time.sleep(1)


def _describe_shortage(needs: Sequence[Resources]) -> str:
    has = ray.cluster_resources()
    for name, needed in (("CPU", sum(n.num_cpus for n in needs)), ("GPU", sum(n.num_gpus for n in needs))):
        if needed > has.get(name, 0):
            return f"{needed:g} {name} in all, the Ray session has {has.get(name, 0):g}"
    return ""


def _format_error(error: Exception) -> str:
    """Return the first line of an error, the event, and the last line, the cause."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines() or [type(error).__name__]
    return " ... ".join(dict.fromkeys(line.strip() for line in (lines[0], lines[-1])))
