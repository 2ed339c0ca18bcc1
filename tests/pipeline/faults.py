"""The fault matrix: ``make faults`` breaks the toy job in every way we know, runs it again, and compares the bytes.

Each fault is one function that begins a run and lets it come to grief; then the same command is run until it
succeeds. Printed are the runs it took, items lost and duplicated, delivered bytes that differ from an uninterrupted
run's, and the seconds of the last run, which are what recovery costs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import toy_job
from loopback import free_port, s3_server, until
from rich.console import Console
from rich.table import Table
from toy_job import delivered
from upath import UPath

from pipeline.receipts import get_verified_path, read_ledger, read_receipts
from pipeline.storage import Location, list_sizes, resolve_location

KILLS = {
    "plan, half its items written": ("pyarrow.parquet.ParquetWriter.write_table", "", 3, "before"),
    "plan, before its header": ("os.link", "plan.json", 1, "before"),
    "plan, after its header": ("os.link", "plan.json", 1, "after"),
    "before write": ("pipeline.commit.make_staging_folder", "even-00001", 1, "before"),
    "before fsync": ("os.fsync", r"even-00001\..*numbers.tar", 1, "before"),
    "after fsync": ("os.fsync", r"even-00001\..*numbers.tar", 1, "after"),
    "between two files": ("pipeline.commit.publish_file", "keys.txt", 2, "before"),
    "before the receipt": ("os.link", "receipts/", 2, "before"),
    "after the receipt": ("os.link", "receipts/", 2, "after"),
    "while cleaning up": ("pipeline.run.remove_orphans", "", 1, "before"),
}
"""Function, part of an argument, which call, before or after it."""

WORKER_KILLS = {name: kill for name, kill in KILLS.items() if "plan" not in name and "cleaning" not in name}
REMOTE_KILLS = {
    "plan, before its header": ("pipeline.plan.create", "plan.json", 1, "before"),
    "before the first file": ("pipeline.commit.publish_file", "numbers.tar", 2, "before"),
    "between two files": ("pipeline.commit.publish_file", "keys.txt", 2, "before"),
    "before the receipt": ("pipeline.commit.create", "receipts/", 2, "before"),
    "after the receipt": ("pipeline.commit.create", "receipts/", 2, "after"),
}
SAMPLES = {
    "raises": ("raise", "RuntimeError"),
    "returns nonsense": ("nonsense", "WrongResultError"),
    "ends its process": ("exit", "WorkerDied"),
    "crashes its process (SIGSEGV)": ("segfault", "WorkerDied"),
    "runs for ever": ("forever", "TimedOut"),
    "takes too much memory": ("memory", "TooMuchMemory"),
}
TAR_DAMAGE = {
    "cut to nothing": lambda tar: b"",
    "cut in a header": lambda tar: tar[:100],
    "cut after a header": lambda tar: tar[:512],
    "cut in a content": lambda tar: tar[:513],
    "cut after a member": lambda tar: tar[:1024],
    "cut before the end marks": lambda tar: tar[: _end_of_members(tar)],
    "one byte short": lambda tar: tar[:-1],
    "bit flipped in a name": lambda tar: _flipped(tar, 0),
    "bit flipped in a size": lambda tar: _flipped(tar, 130),
    "bit flipped in a checksum": lambda tar: _flipped(tar, 150),
    "bit flipped in a content": lambda tar: _flipped(tar, 512),
    "bit flipped in padding": lambda tar: _flipped(tar, 1023),
    "bit flipped in the end marks": lambda tar: _flipped(tar, len(tar) - 1),
}


@dataclass
class Trial:
    """One fault's folder, and the commands that were run there."""

    folder: Path
    run: Location
    runs: list[int] = field(default_factory=list)
    """Exit statuses; negative: the signal."""

    errors: list[str] = field(default_factory=list)
    last_s: float = 0.0

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, toy_job.__file__, str(self.run), *options]
        return subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen[str]) -> int:
        started = time.monotonic()
        self.errors.append(process.communicate(timeout=300)[1])
        self.last_s = time.monotonic() - started
        self.runs.append(process.returncode)
        return process.returncode

    def go(self, *options: str) -> int:
        return self.finish(self.start(*options))


@dataclass(frozen=True, kw_only=True)
class Result:
    fault: str
    runs: int
    lost: int
    duplicated: int
    differing_bytes: int
    quarantined: str
    recovery_s: float


def judge(name: str, trial: Trial, reference: Path, quarantined: str = "") -> Result:
    """Compare a finished run with an uninterrupted one."""
    ours, theirs = contents(trial.run), contents(reference)
    bad = {row["key"] for row in ledger(trial.run)} - {row["key"] for row in ledger(reference)}
    known = Counter([*ours.elements, *(row["key"] for row in ledger(trial.run))])
    expected = {*theirs.elements, *(row["key"] for row in ledger(reference))}
    if bad:
        differing = sum(ours.elements[key] != theirs.elements[key] for key in theirs.elements.keys() - bad)
    else:
        differing = sum(_differing(ours.files.get(name, b""), content) for name, content in theirs.files.items())
    reasons = ", ".join(sorted(row["reason"] for row in ledger(trial.run) if row["key"] in bad))
    assert reasons == quarantined, f"{name}: quarantined for {reasons or 'nothing'}, not {quarantined or 'nothing'}"
    named = {file.name for receipt in read_receipts(trial.run) for file in receipt.files.values()}
    assert list_sizes(resolve_location(trial.run) / "shards").keys() == named, (
        f"{name}: left {list_sizes(resolve_location(trial.run) / 'shards')}"
    )
    return Result(
        fault=name,
        runs=len(trial.runs),
        lost=len(expected - known.keys()),
        duplicated=sum(count - 1 for count in known.values()),
        differing_bytes=differing,
        quarantined=reasons,
        recovery_s=round(trial.last_s, 2),
    )


@dataclass
class Contents:
    files: dict[str, bytes]
    """Shard and role to content."""

    elements: dict[str, bytes]
    """Key to content, over all tars."""


def contents(run: Location) -> Contents:
    found = Contents({}, {})
    for receipt in read_receipts(run):
        for role in receipt.files:
            found.files[f"{receipt.shard_id}/{role}"] = get_verified_path(run, receipt, role).read_bytes()
        with tarfile.open(get_verified_path(run, receipt, "tar")) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                assert member.name not in found.elements, f"{member.name} comes twice"
                found.elements[member.name.removesuffix(".txt")] = content.read()
    return found


def ledger(run: Location) -> list[dict[str, str]]:
    return [row for receipt in read_receipts(run) for row in read_ledger(run, receipt)]


Fault = Callable[[Trial], None]


def killed(kill: tuple[str, str, int, str], *options: str) -> Fault:
    def fault(trial: Trial) -> None:
        function, fragment, count, when = kill
        arming = ["--kill", function, fragment, str(count), when, "--marks", str(trial.folder / "marks")]
        status = trial.go(*arming, *options)
        assert status == -signal.SIGKILL or (options and status == 0), trial.errors
        assert (trial.folder / "marks" / "killed").exists(), "the fault never happened"
        if status:
            trial.go(*options)

    return fault


def half_tar(victim: str, *options: str) -> Fault:
    def fault(trial: Trial) -> None:
        status = trial.go("--half-tar", victim, "--marks", str(trial.folder / "marks"), *options)
        if victim == "itself" or options:  # its supervisor, or the driver, tries again by itself
            assert status == 0, trial.errors
        else:
            assert status == -signal.SIGKILL, trial.errors
            trial.go()
        assert len(list((trial.folder / "marks").iterdir())) == 1, "the fault never happened"

    return fault


def bad_sample(kind: str, *options: str) -> Fault:
    def fault(trial: Trial) -> None:
        limit = ("--batch-time-limit-s", "1") if kind == "forever" else ()
        command = ("--sample", kind, "--marks", str(trial.folder / "marks"), *limit, *options)
        assert trial.go(*command) == 0, trial.errors
        healing_s = trial.last_s
        assert trial.go(*command) == 0, trial.errors
        trial.last_s = healing_s

    return fault


def worker_killed_once(*options: str) -> Fault:
    def fault(trial: Trial) -> None:
        marks = str(trial.folder / "marks")
        assert trial.go("--sample", "kill", "--times", "1", "--marks", marks, *options) == 0, trial.errors
        assert len(list((trial.folder / "marks").iterdir())) == 1, "the fault never happened"

    return fault


def full_disk(trial: Trial) -> None:
    assert trial.go("--max-file-bytes", "5000") == 1
    assert "File too large" in trial.errors[-1] and "fix the cause and run" in trial.errors[-1], trial.errors
    assert not list(Path(trial.run, "attempts").iterdir()), "half a shard was left on the full disk"
    trial.go()


def two_writers(trial: Trial) -> None:
    slow = ("--sample", "slow", "--times", "2", "--marks", str(trial.folder / "marks"))
    first = trial.start(*slow)
    until(lambda: (trial.folder / "marks").is_dir() and any((trial.folder / "marks").iterdir()))
    if isinstance(trial.run, Path):
        (trial.run / ".lock").unlink(missing_ok=True)  # as on a file system without locks; object stores have none
    second = trial.start(*slow)
    assert trial.finish(second) == 0, trial.errors
    assert trial.finish(first) == 0, trial.errors


def preempted(trial: Trial, *, grace_s: float = 20.0, options: tuple[str, ...] = ()) -> None:
    slow = ("--sample", "slow", "--times", "1", "--marks", str(trial.folder / "marks"))
    process = trial.start(*slow, "--grace-s", str(grace_s), *options)
    until(lambda: (trial.folder / "marks").is_dir() and any((trial.folder / "marks").iterdir()))
    process.send_signal(signal.SIGTERM)
    assert trial.finish(process) == 1, trial.errors
    assert "was asked to stop" in trial.errors[-1], trial.errors
    done = len(read_receipts(trial.run, allow_partial=True))
    assert done >= 1 if grace_s > 10 else done == 0, f"{done} shards within {grace_s} s"
    trial.go(*options)


def damaged_input(damage: Callable[[bytes], bytes]) -> Fault:
    """The delivered tar of an earlier run is what this one reads; its receipt says what it must be."""

    def fault(trial: Trial) -> None:
        assert trial.go() == 0
        tar = get_verified_path(trial.run, read_receipts(trial.run)[1], "tar")
        content = tar.read_bytes()
        damaged = damage(content)
        assert damaged != content
        tar.write_bytes(damaged)
        copy = [sys.executable, str(Path(toy_job.__file__).with_name("copy_job.py")), str(trial.run), "copy"]
        refused = subprocess.run(copy, cwd=trial.folder, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "even-00001" in refused.stderr and "delete" in refused.stderr, refused.stderr
        Path(trial.run, "receipts", "even-00001.json").unlink()  # the remedy that the message names
        assert trial.go() == 0
        subprocess.run(copy, cwd=trial.folder, check=True, capture_output=True)
        with tarfile.open(get_verified_path(trial.run, read_receipts(trial.run)[1], "tar")) as tar_file:
            assert tar_file.getnames(), "empty"
        copied = contents(trial.folder / "copy").elements
        assert copied == contents(trial.run).elements, "the copy differs"

    return fault


def node_killed(trial: Trial) -> None:
    """A head and a second node; the job is submitted with ``ray job submit``; the second node dies in the middle."""
    with ray_cluster(trial.folder) as cluster:
        marks = trial.folder / "marks"
        job = ["--sample", "slow", "--times", "6", "--marks", str(marks), "--workers", "3", "--ray-address", "auto"]
        command = [sys.executable, toy_job.__file__, str(trial.run), *job]
        submitted = cluster.submit(command)
        until(lambda: len(read_quietly(trial.run)) >= 1, 300)
        cluster.kill_second_node()
        started = time.monotonic()
        output = submitted.communicate(timeout=240)[0]
        trial.last_s = time.monotonic() - started
        trial.runs.append(submitted.returncode)
        assert submitted.returncode == 0, output


def read_quietly(run: Location) -> list[object]:
    return list(Path(run, "receipts").glob("*.json")) if Path(run, "receipts").is_dir() else []


class Cluster:
    """Two Ray nodes on this machine, with a token."""

    def __init__(self, folder: Path) -> None:
        self._env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
        self._env["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray", dir="/tmp")
        self._port, self._dashboard = free_port(), free_port()
        self._ray = [str(Path(sys.executable).with_name("ray"))]
        self._start("--head", f"--port={self._port}", f"--dashboard-port={self._dashboard}", "--include-dashboard=true")
        before = _raylets()
        self._start(f"--address=127.0.0.1:{self._port}")
        (self._second,) = _raylets() - before

    def _start(self, *options: str) -> None:
        shared = ["--node-ip-address=127.0.0.1", "--num-cpus=2", "--object-store-memory=80000000"]
        shared += ["--min-worker-port=0", "--max-worker-port=0"]
        command = [*self._ray, "start", *shared, *options]
        subprocess.run(command, env=self._env, check=True, capture_output=True, text=True, timeout=120)

    def submit(self, command: list[str]) -> subprocess.Popen[str]:
        address = f"http://127.0.0.1:{self._dashboard}"
        submit = [*self._ray, "job", "submit", "--address", address, "--", *command]
        return subprocess.Popen(submit, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill_second_node(self) -> None:
        """The raylet dies first, so that it cannot end its workers in order; then they do."""
        raylet = psutil.Process(self._second)
        workers = raylet.children(recursive=True)
        assert any("pipeline.worker_process" in process.cmdline() for process in workers), "the second node got no work"
        for process in [raylet, *workers]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def stop(self) -> None:
        subprocess.run([*self._ray, "stop", "--force"], env=self._env, check=False, capture_output=True)
        shutil.rmtree(self._env["RAY_TMPDIR"], ignore_errors=True)


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()


def _raylets() -> set[int]:
    return {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "raylet"}


def _end_of_members(tar: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        return max(member.offset_data + 512 for member in file)


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def _differing(ours: bytes, theirs: bytes) -> int:
    return sum(a != b for a, b in zip(ours, theirs, strict=False)) + abs(len(ours) - len(theirs))


RAY = ("--workers", "1")

INLINE: dict[str, tuple[Fault, str]] = {
    **{f"driver killed: {name}": (killed(kill), "") for name, kill in KILLS.items()},
    "driver killed: half a tar": (half_tar("parent"), ""),
    "worker process killed: half a tar": (half_tar("itself"), ""),
    "worker process killed: in a stage": (worker_killed_once(), ""),
    "two writers": (two_writers, ""),
    "full disk": (full_disk, ""),
    "SIGTERM, shards finish": (preempted, ""),
    "SIGTERM, grace too short": (lambda trial: preempted(trial, grace_s=0.3), ""),
    **{f"sample {name}": (bad_sample(kind), reason) for name, (kind, reason) in SAMPLES.items()},
    **{f"input tar {name}": (damaged_input(damage), "") for name, damage in TAR_DAMAGE.items()},
}
ON_RAY: dict[str, tuple[Fault, str]] = {
    **{
        f"Ray worker killed: {n}": (killed(k, *RAY), "")
        for n, k in KILLS.items()
        if k[0] != "pipeline.run.remove_orphans" and "plan" not in n
    },
    "Ray worker killed: half a tar": (half_tar("parent", *RAY), ""),
    "Ray: worker process killed in a stage": (worker_killed_once(*RAY), ""),
    "Ray: sample crashes its process (SIGSEGV)": (bad_sample("segfault", *RAY), "WorkerDied"),
    "Ray: sample runs for ever": (bad_sample("forever", *RAY), "TimedOut"),
    "Ray: SIGTERM, shards finish": (lambda trial: preempted(trial, options=(*RAY, "--max-shards-in-flight", "2")), ""),
    "Ray node killed, job by ray job submit": (node_killed, ""),
}
ON_S3: dict[str, tuple[Fault, str]] = {
    **{f"s3://, driver killed: {name}": (killed(kill), "") for name, kill in REMOTE_KILLS.items()},
    "s3://, driver killed: half a tar": (half_tar("parent"), ""),
    "s3://, two writers": (two_writers, ""),
    "s3://, Ray worker killed: before the receipt": (killed(REMOTE_KILLS["before the receipt"], *RAY), ""),
}


def try_fault(name: str, folder: Path, reference: Path) -> Result:
    """Let one fault happen in an empty folder, and judge what came of it."""
    fault, quarantined = {**INLINE, **ON_RAY, **ON_S3}[name]
    folder.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    trial = Trial(folder, UPath(f"s3://bucket/{place}") if name in ON_S3 else folder / "run")
    fault(trial)
    assert trial.runs[-1] == 0, trial.errors[-1]
    return judge(name, trial, reference, quarantined)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--output", type=Path, default=Path("runs/faults.json"))
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130)
    results, failures = [], []
    with tempfile.TemporaryDirectory() as scratch, s3_server():
        os.environ["RESVG_CACHE"] = str(Path(scratch, "cache"))
        reference = Path(scratch, "reference")
        Trial(Path(scratch), reference).go()
        assert delivered(reference)
        names = [name for name in {**INLINE, **ON_RAY, **ON_S3} if options.only in name]
        for number, name in enumerate(names):
            console.print(f"{number + 1}/{len(names)} {name}", highlight=False)
            try:
                results.append(try_fault(name, Path(scratch, str(number)), reference))
            except (AssertionError, subprocess.SubprocessError) as error:
                failures.append(f"{name}: {error}")
    table = Table("fault", "runs", "lost", "duplicated", "differing bytes", "quarantined", "recovery, s")
    for result in results:
        table.add_row(*(f"{value}" for value in asdict(result).values()))
    console.print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    wrong = [r.fault for r in results if r.lost or r.duplicated or r.differing_bytes]
    for failure in failures:
        console.print(f"FAILED {failure}", markup=False)
    console.print(f"{len(results)} faults survived, {len(wrong) + len(failures)} not; figures: {options.output}")
    sys.exit(bool(wrong or failures))


if __name__ == "__main__":
    main()
