"""One Ray session for all tests here, started elsewhere, and with a temporary folder too long for its sockets."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_job import (
    ArmedConfig,
    BeginningStage,
    BrokenStage,
    CountedStage,
    FullDiskSink,
    Killer,
    NoiseStage,
    SlowSink,
    SquareStage,
    delivered,
    rows,
    toy_job,
)

import pipeline
from pipeline import ray_executor
from pipeline.errors import PipelineError
from pipeline.executor import ExecutorConfig
from pipeline.receipts import read_receipts
from pipeline.run import run_job
from pipeline.stage import Resources


def on_ray(workers: int) -> ExecutorConfig:
    return ExecutorConfig(executor="ray", workers=workers, max_restarts=1)


@pytest.fixture(scope="module")
def ray_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from pipeline.ray_executor import open_ray_session

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.delenv("RAY_TMPDIR", raising=False)
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("long" * 20)))
        with open_ray_session(on_ray(3), [Resources(num_cpus=1.5)]):
            yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What the executor in this process delivers."""
    run = tmp_path_factory.mktemp("inline")
    run_job(toy_job(), run)
    return delivered(run)


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_delivers_the_same_bytes_as_this_process(
    ray_here: None, tmp_path: Path, reference: dict[tuple[str, str], str], workers: int
) -> None:
    report = run_job(toy_job(), tmp_path, on_ray(workers))
    assert delivered(tmp_path) == reference
    assert (report.attempted, report.accepted, report.rejected.total(), report.failed.total()) == (30, 26, 3, 1)
    checkout = str(Path(pipeline.__file__).resolve().parents[1])
    assert {receipt.summary["checkout"] for receipt in read_receipts(tmp_path)} == {checkout}


@pytest.mark.slow
def test_a_run_begun_in_this_process_is_finished_by_three_workers(
    ray_here: None, tmp_path: Path, reference: dict[tuple[str, str], str]
) -> None:
    run_job(toy_job(), tmp_path)
    before = read_receipts(tmp_path)
    for shard_id in ("even-00001", "odd-00002"):
        (tmp_path / "receipts" / f"{shard_id}.json").unlink()
    run_job(toy_job(), tmp_path, on_ray(3))
    new = [a.shard_id for a, b in zip(before, read_receipts(tmp_path), strict=True) if a != b]
    assert new == ["even-00001", "odd-00002"]
    assert delivered(tmp_path) == reference


@pytest.mark.slow
@pytest.mark.parametrize("function", ["pipeline.commit.publish_file", "pipeline.commit.create"])
def test_a_worker_that_dies_once_is_replaced_and_nothing_is_lost(
    ray_here: None, tmp_path: Path, reference: dict[tuple[str, str], str], function: str
) -> None:
    killer = Killer(function=function, fragment="even-00001", when="after", mark=tmp_path / "killed")
    run_job(toy_job(), tmp_path / "run", ArmedConfig(**vars(on_ray(2)), killer=killer))
    assert killer.mark.exists()
    assert delivered(tmp_path / "run") == reference


@pytest.mark.slow
def test_a_shard_whose_worker_dies_again_and_again_stops_the_run_with_one_line(ray_here: None, tmp_path: Path) -> None:
    killer = Killer(function="pipeline.commit.publish_file", fragment="even-00001", mark=tmp_path / "no" / "folder")
    with pytest.raises(
        PipelineError, match=r"^shard even-00001 was lost 2 times with its Ray worker or node: .* run the"
    ):
        run_job(toy_job(), tmp_path / "run", ArmedConfig(**vars(on_ray(1)), killer=killer))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [SquareStage(), BrokenStage()]}, "^stage 'broken' could not be set up: FileNotFoundError: no wei"),
        ({"sink": FullDiskSink()}, "could not be committed to .* No space left on device; fix the cause"),
    ],
)
def test_an_error_of_a_worker_reaches_the_driver_as_one_line(
    ray_here: None, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PipelineError, match=message) as error:
        run_job(toy_job(**changes), tmp_path, on_ray(1))
    assert len(str(error.value).splitlines()) == 1
    assert read_receipts(tmp_path, allow_partial=True) == []


def test_each_actor_loads_its_stage_once(ray_here: None, tmp_path: Path) -> None:
    loads = tmp_path / "loads"
    loads.mkdir()
    job = toy_job(stages=[SquareStage(), CountedStage(loads)], inputs=lambda: rows(60), items_per_shard=2)
    run_job(job, tmp_path / "run", on_ray(2))
    assert 1 <= len(list(loads.iterdir())) <= 2


@pytest.mark.slow
@pytest.mark.parametrize(("given", "limit"), [(2, 2), (None, 6)])
def test_shards_in_flight_are_bounded_whatever_the_size_of_the_job(
    ray_here: None, tmp_path: Path, given: int | None, limit: int
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    job = toy_job(
        stages=[BeginningStage(marks), NoiseStage()], sink=SlowSink(marks), inputs=lambda: rows(40), items_per_shard=1
    )
    run_job(job, tmp_path / "run", replace(on_ray(1), max_shards_in_flight=given))
    in_flight = [int(path.read_text()) for path in marks.glob("begun-*")]
    assert len(in_flight) == 40
    assert 2 <= max(in_flight) <= limit


def test_more_gpus_than_there_are_is_refused_at_once(ray_here: None, tmp_path: Path) -> None:
    greedy = SquareStage()
    greedy.resources = Resources(num_gpus=64)
    with pytest.raises(PipelineError, match="one worker of each stage needs 64 GPU in all, the Ray session has 0"):
        run_job(toy_job(stages=[greedy]), tmp_path, on_ray(1))


def test_a_local_ray_that_starts_too_slowly_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def start_never(**_: object) -> None:
        tries.append("init")
        raise Exception("The current node timed out during startup.")

    def start(**_: object) -> None:
        if len(tries) < 2:
            start_never()
        tries.append("init")

    monkeypatch.setattr(ray_executor.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_executor.ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_executor.ray, "init", start)
    with ray_executor.open_ray_session(ExecutorConfig(executor="ray"), []):
        assert len(tries) == 3
    tries[:] = []
    monkeypatch.setattr(ray_executor.ray, "init", start_never)
    with (
        pytest.raises(PipelineError, match=r"no Ray session at address 'local': .*timed out during startup"),
        ray_executor.open_ray_session(ExecutorConfig(executor="ray"), []),
    ):
        pass
    assert len(tries) == 3
    tries[:] = []
    monkeypatch.setattr(ray_executor.ray, "init", lambda **_: tries.append("init") or 1 / 0)
    with pytest.raises(ZeroDivisionError), ray_executor.open_ray_session(ExecutorConfig(executor="ray"), []):
        pass
    assert len(tries) == 1
