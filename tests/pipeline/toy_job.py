"""A job small enough to work out by hand, and a program that runs it: ``python toy_job.py RUN [options]``.

Items carry a number. Stage ``square`` raises for 13 and rejects multiples of ten; stage ``noise`` adds a number
from the item's seed; the sink writes a tar. The program can die at a chosen file operation.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import os
import random
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pipeline
from pipeline.executor import ExecutorConfig
from pipeline.plan import PlanRow
from pipeline.receipts import read_receipts, verified_path
from pipeline.run import Job, run_job
from pipeline.stage import Item, Rejected, Resources, Sink, Stage, Written


@dataclass(frozen=True, kw_only=True)
class Number:
    key: str
    seed: int
    value: int


class SquareStage(Stage[Item, Number]):
    resources = Resources(num_cpus=0.5)
    batch_size = 4

    def process(self, items: list[Item]) -> list[Number | Rejected]:
        return [self._square(item) for item in items]

    def _square(self, item: Item) -> Number | Rejected:
        number = item.payload["number"]
        if number == 13:
            raise ValueError(f"unlucky {number}")
        if number % 10 == 0:
            return Rejected(key=item.key, reason="round", detail=str(number))
        return Number(key=item.key, seed=item.seed, value=number**2)


class NoiseStage(Stage[Number, Number]):
    resources = Resources(num_cpus=0.5)
    batch_size = 3

    def setup(self) -> None:
        self._size = 1000

    def process(self, items: list[Number]) -> list[Number | Rejected]:
        return [
            Number(key=item.key, seed=item.seed, value=item.value * self._size + random.Random(item.seed).randrange(9))
            for item in items
        ]


class DyingStage(NoiseStage):
    """Kills its process at number 4, as often as the folder says."""

    def __init__(self, folder: Path, deaths: int) -> None:
        self._folder, self._deaths = folder, deaths

    def process(self, items: list[Number]) -> list[Number | Rejected]:
        died = len(list(self._folder.iterdir()))
        if died < self._deaths and any(item.key == "n004" for item in items):
            (self._folder / str(died)).touch()
            os._exit(1)
        return super().process(items)


class BrokenStage(NoiseStage):
    def setup(self) -> None:
        raise FileNotFoundError("no weights here")


class FullDiskSink(Sink[Number]):
    def write(self, items: list[Number], folder: Path) -> Written:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TarSink(Sink[Number]):
    def write(self, items: list[Number], folder: Path) -> Written:
        with tarfile.open(folder / "numbers.tar", "w") as tar:
            for item in items:
                content = str(item.value).encode()
                info = tarfile.TarInfo(f"{item.key}.txt")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        (folder / "keys.txt").write_text("\n".join(item.key for item in items))
        files = {"tar": folder / "numbers.tar", "keys": folder / "keys.txt"}
        checkout = str(Path(pipeline.__file__).resolve().parents[1])
        return Written(files=files, summary={"numbers": len(items), "checkout": checkout})


class BeginningStage(SquareStage):
    """Notes for each shard of one item how many others were begun and not yet written."""

    batch_size = 1

    def __init__(self, marks: Path) -> None:
        self._marks = marks

    def process(self, items: list[Item]) -> list[Number | Rejected]:
        begun = len(list(self._marks.glob("begun-*"))) + 1
        (self._marks / f"begun-{items[0].key}").write_text(str(begun - len(list(self._marks.glob("written-*")))))
        return [Number(key=item.key, seed=item.seed, value=1) for item in items]


class SlowSink(TarSink):
    def __init__(self, marks: Path) -> None:
        self._marks = marks

    def write(self, items: list[Number], folder: Path) -> Written:
        time.sleep(0.05)
        (self._marks / f"written-{items[0].key}").touch()
        return super().write(items, folder)


def rows(numbers: int) -> Iterator[PlanRow]:
    for number in range(numbers):
        group = "odd" if number % 2 else "even"
        yield PlanRow(key=f"n{number:03d}", payload={"number": number}, group=group)


def toy_job(**changes: Any) -> Job:
    """15 even and 15 odd numbers in shards of 6: even-00000 .. even-00002 and odd-00000 .. odd-00002."""
    job = Job(
        name="toy",
        fingerprint={"square": {"power": 2}, "numbers": 30},
        inputs=lambda: rows(30),
        items_per_shard=6,
        seed=7,
        stages=[SquareStage(), NoiseStage()],
        sink=TarSink(),
    )
    return replace(job, **changes)


def delivered(run: Path) -> dict[tuple[str, str], str]:
    """(shard, role) to the hash of the file as it lies on the disk."""
    return {
        (receipt.shard_id, role): hashlib.sha256(verified_path(run, receipt, role).read_bytes()).hexdigest()
        for receipt in read_receipts(run)
        for role in receipt.files
    }


def die_at(event: str, fragment: str, count: int) -> None:
    """Kill this process just before the ``count``-th audited operation whose first paths contain ``fragment``."""
    seen = 0

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if name == event and fragment in " ".join(str(argument) for argument in arguments[:2]):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--workers", type=int, default=0, help="0: in this process, else on Ray")
    parser.add_argument("--die-at", nargs=3, metavar=("EVENT", "FRAGMENT", "COUNT"))
    options = parser.parse_args()
    if options.die_at:
        die_at(options.die_at[0], options.die_at[1], int(options.die_at[2]))
    executor = ExecutorConfig(kind="ray", workers=options.workers) if options.workers else ExecutorConfig()
    run_job(toy_job(), options.run, executor)


if __name__ == "__main__":
    main()
