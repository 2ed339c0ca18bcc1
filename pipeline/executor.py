"""Where and with how many workers a job runs. The bytes do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.worker import WorkerLimits


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
