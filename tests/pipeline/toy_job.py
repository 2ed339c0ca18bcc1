"""A job small enough to work out by hand, and a program that runs it: ``python toy_job.py RUN [options]``.

Items carry a number. Stage ``square`` raises for 13 and rejects multiples of ten; stage ``noise`` adds a number
from the item's seed; the sink writes a tar. The program can kill itself or one of its workers at a chosen call of a
chosen function, and its number 4 can be as bad as a sample gets.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import itertools
import os
import pkgutil
import random
import re
import resource
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from upath import UPath

import pipeline
from pipeline.errors import PipelineError
from pipeline.executor import ExecutorConfig
from pipeline.plan import PlanRow
from pipeline.receipts import get_verified_path, read_receipts
from pipeline.run import Job, Limits, run_job
from pipeline.stage import Item, Rejected, Resources, Sink, SinkOutput, Stage
from pipeline.storage import Location


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


@dataclass(frozen=True, kw_only=True)
class Killer:
    """Kills its process, once, at a call of a function."""

    function: str
    """Such as ``os.link``."""

    fragment: str
    """Pattern of an argument; a file descriptor counts as the path of its file."""

    count: int = 1
    """Which of the matching calls."""

    when: str = "before"
    """Or ``after``."""

    mark: Path
    """A file that it leaves, and which keeps it from killing again; where its folder is missing nothing does."""

    def arm(self) -> None:
        """Wrap the function in this process."""
        module, name = self.function.rsplit(".", 1)
        owner = pkgutil.resolve_name(module)
        wrapped, seen = getattr(owner, name), itertools.count(1)

        def deadly(*arguments: Any, **named: Any) -> Any:
            chosen = (
                any(re.search(self.fragment, _text(argument)) for argument in arguments) and next(seen) == self.count
            )
            if chosen and self.when == "before":
                self._kill()
            result = wrapped(*arguments, **named)
            if chosen:
                self._kill()
            return result

        setattr(owner, name, deadly)

    def _kill(self) -> None:
        if not self.mark.exists():
            if self.mark.parent.is_dir():
                self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def _text(argument: object) -> str:
    return str(Path(f"/proc/self/fd/{argument}").readlink()) if type(argument) is int else str(argument)


class DyingStage(NoiseStage):
    """Treats its sample as ``kind`` says, at most so many times as files fit into the folder."""

    name = "noise"

    def __init__(self, kind: str, folder: Path, times: int = 10**9, key: str = "n004") -> None:
        self._kind, self._folder, self._times, self._key = kind, folder, times, key

    def process(self, items: list[Number]) -> list[Number | Rejected]:
        done = len(list(self._folder.iterdir()))
        if done < self._times and any(item.key == self._key for item in items):
            (self._folder / str(done)).touch()
            nonsense = getattr(self, f"_{self._kind}")()
            if nonsense is not None:
                return nonsense
        return super().process(items)

    def _raise(self) -> None:
        raise RuntimeError("bad sample")

    def _nonsense(self) -> Any:
        return ["nonsense"]

    def _exit(self) -> None:
        os._exit(3)

    def _segfault(self) -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    def _forever(self) -> None:
        time.sleep(10**6)

    def _memory(self) -> None:
        held = []
        while True:
            held.append(bytearray(50_000_000))
            time.sleep(0.05)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _slow(self) -> None:
        time.sleep(1.5)


class BrokenStage(NoiseStage):
    def setup(self) -> None:
        raise FileNotFoundError("no weights here")


class CountedStage(NoiseStage):
    """Leaves a file for each process that loads it."""

    name = "noise"

    def __init__(self, loads: Path) -> None:
        self._loads = loads

    def setup(self) -> None:
        super().setup()
        (self._loads / str(os.getpid())).touch()


class FullDiskSink(Sink[Number]):
    def write(self, items: list[Number], folder: Path) -> SinkOutput:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TarSink(Sink[Number]):
    def write(self, items: list[Number], folder: Path) -> SinkOutput:
        assert not any(folder.iterdir()), "a sink is promised an empty folder"
        with tarfile.open(folder / "numbers.tar", "w") as tar:
            for item in items:
                content = str(item.value).encode()
                info = tarfile.TarInfo(f"{item.key}.txt")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        (folder / "keys.txt").write_text("\n".join(item.key for item in items))
        files = {"tar": folder / "numbers.tar", "keys": folder / "keys.txt"}
        checkout = str(Path(pipeline.__file__).resolve().parents[1])
        return SinkOutput(files=files, summary={"numbers": len(items), "checkout": checkout})


@dataclass(frozen=True, kw_only=True)
class ArmedConfig(ExecutorConfig):
    """Arms a killer wherever it is unpickled: in each Ray actor."""

    killer: Killer

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.killer.arm()


class HalfTarSink(TarSink):
    """Writes half a tar and kills the one that asked for it, or itself; once."""

    def __init__(self, folder: Path, victim: str) -> None:
        self._folder, self._victim = folder, victim

    def write(self, items: list[Number], folder: Path) -> SinkOutput:
        if items[0].key == "n012" and not any(self._folder.iterdir()):
            (self._folder / "0").touch()
            (folder / "numbers.tar").write_bytes(b"half a tar" * 100)
            os.kill(os.getpid() if self._victim == "itself" else os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return super().write(items, folder)


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

    def write(self, items: list[Number], folder: Path) -> SinkOutput:
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


def delivered(run: Location) -> dict[tuple[str, str], str]:
    """(shard, role) to the hash of the file as it lies on the disk."""
    return {
        (receipt.shard_id, role): hashlib.sha256(get_verified_path(run, receipt, role).read_bytes()).hexdigest()
        for receipt in read_receipts(run)
        for role in receipt.files
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=UPath)
    parser.add_argument("--workers", type=int, default=0, help="0: inline, else on Ray")
    parser.add_argument("--ray-address")
    parser.add_argument("--kill", nargs=4, metavar=("FUNCTION", "FRAGMENT", "COUNT", "WHEN"))
    parser.add_argument("--half-tar", choices=["itself", "parent"])
    parser.add_argument(
        "--sample", choices=["raise", "nonsense", "exit", "segfault", "forever", "memory", "kill", "slow"]
    )
    parser.add_argument("--times", type=int, default=10**9)
    parser.add_argument("--marks", type=Path, help="folder for what must happen only so often")
    parser.add_argument("--max-file-bytes", type=int)
    parser.add_argument("--batch-time-limit-s", type=float, default=60)
    parser.add_argument("--grace-s", type=float, default=20)
    parser.add_argument("--max-shards-in-flight", type=int)
    options = parser.parse_args()
    job = toy_job()
    if options.marks:
        options.marks.mkdir(exist_ok=True, parents=True)
    if options.kill:
        function, fragment, count, when = options.kill
        mark = options.marks / "killed"
        killer = Killer(function=function, fragment=fragment, count=int(count), when=when, mark=mark)
        if not options.workers:
            killer.arm()
    if options.half_tar:
        job = replace(job, sink=HalfTarSink(options.marks, options.half_tar))
    if options.sample:
        job = replace(job, stages=[SquareStage(), DyingStage(options.sample, options.marks, options.times)])
    if options.max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.max_file_bytes, options.max_file_bytes))
    executor = ExecutorConfig(
        executor="ray" if options.workers else "inline",
        workers=max(1, options.workers),
        ray_address=options.ray_address,
        batch_time_limit_s=options.batch_time_limit_s,
        memory_limit_gb=0.5,
        grace_s=options.grace_s,
        max_shards_in_flight=options.max_shards_in_flight,
    )
    if options.kill and options.workers:
        executor = ArmedConfig(**vars(executor), killer=killer)
    try:
        run_job(job, options.run, executor, Limits(max_failure_rate=0.2))
    except PipelineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
