"""Where and with how many workers a job runs. The bytes do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.limits import NotNegativeInt, PositiveFloat, PositiveInt
from pipeline.worker import WorkerLimits


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig(WorkerLimits):
    """Place and number of workers of a job. They never change its bytes."""

    executor: Literal["inline", "ray"] = "inline"
    """Place of the work: ``inline``, one worker process on this machine, or ``ray``, a pool of actors per stage."""

    workers: PositiveInt = 1
    """Maximum number of Ray actors of each stage, and of the sink."""

    ray_address: str | None = None
    """Address of a cluster, or ``auto``; by default Ray is started on this machine."""

    working_dir: Path | None = None
    """Checkout to copy to the nodes of a cluster; by default they must have it under the same path."""

    max_restarts: NotNegativeInt = 2
    """Number of times that a shard is tried again after its Ray worker or node died; then the run stops."""

    max_shards_in_flight: PositiveInt | None = None
    """Maximum number of shards on Ray that are begun and not committed; it bounds memory, whatever the size of the job.
    By default two for each worker of each stage and of the sink: one in work and one waiting."""

    start_timeout_s: PositiveFloat = 300.0
    """Seconds to wait until a cluster has room for one worker of each stage."""

    grace_s: PositiveFloat = 20.0
    """Seconds that the shards in flight may take to finish after SIGTERM; then they are given up."""

    replace: bool = False
    """Flag to remove a run that was made of other inputs or settings, and to start again; by default it is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.executor == "inline" and (self.workers > 1 or self.ray_address):
            raise ValueError("the inline executor has one worker and no cluster; choose --executor ray")
