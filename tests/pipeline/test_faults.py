"""The fault matrix as tests; ``make faults`` runs all of it, here those on Ray are a choice."""

from collections.abc import Iterator
from pathlib import Path

import faults
import psutil
import pytest
from loopback import s3_server, until

ON_RAY = [name for name in faults.ON_RAY if "half a tar" in name or "node" in name or "SIGTERM" in name]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in (*ON_RAY, *faults.ON_S3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, s3_server():
        patch.setenv("RESVG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run delivers."""
    folder = tmp_path_factory.mktemp("reference")
    trial = faults.Trial(folder, folder / "run")
    assert trial.go() == 0, trial.errors
    return folder / "run"


@pytest.mark.parametrize("name", [*faults.INLINE, *SLOW])
def test_after_a_fault_the_same_command_loses_doubles_and_changes_nothing(
    server: None, tmp_path: Path, reference: Path, name: str
) -> None:
    result = faults.try_fault(name, tmp_path, reference)
    assert (result.lost, result.duplicated, result.differing_bytes) == (0, 0, 0)


def test_the_judge_sees_what_is_lost_doubled_or_changed(server: None, tmp_path: Path, reference: Path) -> None:
    trial = faults.Trial(tmp_path, tmp_path / "run")
    assert trial.go() == 0
    theirs = faults.contents(reference)
    ours = faults.contents(trial.run)
    assert ours.files == theirs.files and len(ours.elements) == 26
    assert faults.judge("none", trial, reference).differing_bytes == 0
    (tmp_path / "run" / "shards" / "stray").write_text("x")
    with pytest.raises(AssertionError, match="left"):
        faults.judge("stray", trial, reference)


def test_a_dead_parent_takes_its_worker_process_along(tmp_path: Path) -> None:
    trial = faults.Trial(tmp_path, tmp_path / "run")
    process = trial.start("--sample", "forever", "--marks", str(tmp_path / "marks"))
    until(lambda: (tmp_path / "marks").is_dir() and any((tmp_path / "marks").iterdir()))
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    trial.finish(process)
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
