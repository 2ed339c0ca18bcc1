"""A job of twenty slow shards, with the commands' own options: ``python -m slow_job RUN --executor ray ...``."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from upath import UPath

from pipeline import ExecutorConfig, Item, Job, PlanRow, Rejected, Resources, Sink, SinkOutput, Stage, run_job
from workflows.cli.console import Executor, UserError, run


@dataclass(frozen=True, kw_only=True)
class SlowConfig:
    run: Annotated[UPath, tyro.conf.Positional]
    seconds: float = 0.1
    fail: bool = False
    executor: Executor = field(default_factory=ExecutorConfig)


class SlowStage(Stage[Item, Item]):
    resources = Resources(num_cpus=1)
    batch_size = 1

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def process(self, items: list[Item]) -> list[Item | Rejected]:
        time.sleep(self._seconds)
        return list(items)


class CountSink(Sink[Item]):
    def write(self, items: list[Item], folder: Path) -> SinkOutput:
        (folder / "count").write_text(str(len(items)))
        return SinkOutput(files={"count": folder / "count"})


def main(config: SlowConfig) -> None:
    if config.fail:
        raise UserError("as asked for")
    job = Job(
        name="slow",
        fingerprint={},
        inputs=lambda: (PlanRow(key=str(n)) for n in range(20)),
        items_per_shard=1,
        seed=0,
        stages=[SlowStage(config.seconds)],
        sink=CountSink(),
    )
    run_job(job, config.run, config.executor)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import slow_job  # not __main__, so that worker processes can import the stage

    run(slow_job.main, slow_job.SlowConfig, __doc__)
