import fcntl
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_job as toy
from loopback import free_port
from rich.console import Console
from toy_job import delivered, toy_job

from pipeline.errors import PipelineError
from pipeline.plan import PlanRow
from pipeline.receipts import read_receipts
from pipeline.run import ExecutorConfig, Limits, run_job
from pipeline.stage import Item, Rejected


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What an uninterrupted run delivers."""
    run = tmp_path_factory.mktemp("reference")
    run_job(toy_job(), run)
    return delivered(run)


def test_a_report_accounts_for_every_item(tmp_path: Path) -> None:
    report = run_job(toy_job(), tmp_path)
    assert (report.attempted, report.accepted, report.rejected, report.failed) == (
        30,
        26,
        {"round": 3},  # 0, 10, 20
        {"ValueError": 1},  # 13
    )
    assert report.summary == {"numbers": 26}
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["attempted"], written["accepted"], written["is_complete"]) == (30, 26, True)


def test_a_report_adds_up_the_time_of_the_calls_that_delivered_shards(tmp_path: Path) -> None:
    first = run_job(toy_job(), tmp_path)
    assert first.timed_shards == 6 and first.estimated_seconds == first.wall_seconds > 0
    assert run_job(toy_job(), tmp_path).wall_seconds == first.wall_seconds  # nothing was left to do
    (tmp_path / "receipts" / "odd-00002.json").unlink()
    second = run_job(toy_job(), tmp_path)
    assert second.timed_shards == 7 and second.wall_seconds > first.wall_seconds
    assert second.estimated_seconds == pytest.approx(second.wall_seconds * 6 / 7)


def test_a_run_of_other_settings_is_replaced_on_request_and_one_of_the_same_resumed(
    tmp_path: Path, reference: dict[tuple[str, str], str]
) -> None:
    run_job(toy_job(seed=8), tmp_path)
    with pytest.raises(PipelineError, match=r"seed: 8 in the plan, 7 now\. Run the same command with --replace"):
        run_job(toy_job(), tmp_path)
    output = io.StringIO()
    run_job(toy_job(), tmp_path, ExecutorConfig(replace=True), console=Console(file=output, width=500))
    assert f"removed {tmp_path} and starts again (seed: 8 in the plan, 7 now)" in output.getvalue()
    assert delivered(tmp_path) == reference
    assert run_job(toy_job(), tmp_path, ExecutorConfig(replace=True)).timed_shards == 6  # nothing was done again


def test_only_shards_without_a_receipt_run_again_and_inputs_are_not_read(tmp_path: Path) -> None:
    worked_on = []

    class WatchedStage(toy.SquareStage):
        name = "square"

        def process(self, items: list[Item]) -> list[toy.Number | Rejected]:
            worked_on.extend(item.payload["number"] for item in items)
            return super().process(items)

    def unreadable() -> Iterator[PlanRow]:
        raise AssertionError("read again")

    run_job(toy_job(), tmp_path)
    before = {receipt.shard_id: receipt for receipt in read_receipts(tmp_path)}
    (tmp_path / "receipts" / "odd-00002.json").unlink()
    job = toy_job(inputs=unreadable, stages=[WatchedStage(), toy.NoiseStage()])
    report = run_job(job, tmp_path, ExecutorConfig(isolate=False))
    after = {receipt.shard_id: receipt for receipt in read_receipts(tmp_path)}
    assert worked_on == [25, 27, 29]
    assert [shard_id for shard_id in before if before[shard_id] != after[shard_id]] == ["odd-00002"]
    assert report.attempted == 30
    assert len(list((tmp_path / "shards").iterdir())) == 6 * 3


def test_a_run_of_another_fingerprint_refuses_and_says_what_differs(
    tmp_path: Path, reference: dict[tuple[str, str], str]
) -> None:
    run_job(toy_job(), tmp_path)
    with pytest.raises(PipelineError, match=r"fingerprint\.square\.power: 2 in the plan, 3 now\. Run the same"):
        run_job(toy_job(fingerprint={"square": {"power": 3}, "numbers": 30}), tmp_path)
    assert delivered(tmp_path) == reference


def test_a_lost_file_stops_the_resume_and_the_remedy_in_the_message_works(
    tmp_path: Path, reference: dict[tuple[str, str], str]
) -> None:
    run_job(toy_job(), tmp_path)
    next((tmp_path / "shards").glob("odd-00001.*.numbers.tar")).unlink()
    with pytest.raises(PipelineError, match=r"numbers.tar is gone; delete .*receipts/odd-00001.json and run"):
        run_job(toy_job(), tmp_path)
    (tmp_path / "receipts" / "odd-00001.json").unlink()
    run_job(toy_job(), tmp_path)
    assert delivered(tmp_path) == reference


def test_above_the_failure_limit_the_run_stops_and_names_the_worst_reason(tmp_path: Path) -> None:
    # even-00000 .. even-00002, odd-00000 and odd-00001 come first: 27 items, one of them failed, that is 3.7 %.
    with pytest.raises(PipelineError, match=r"1 of 27 items failed, .* limit of 1.0%; .* is ValueError \(1 items\)"):
        run_job(toy_job(), tmp_path, limits=Limits(max_failure_rate=0.01, min_attempted=1))
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["is_complete"], report["shards_done"]) == (False, 5)


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match="another process is running into"):
            run_job(toy_job(), tmp_path)


def test_an_output_that_cannot_be_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"run .*file/run stopped: .*Not a directory.*; fix the cause and run"):
        run_job(toy_job(), tmp_path / "file" / "run")


def test_progress_is_plain_lines_without_a_terminal_and_a_bar_with_one(tmp_path: Path) -> None:
    plain, live = io.StringIO(), io.StringIO()
    run_job(toy_job(), tmp_path / "plain", console=Console(file=plain))
    run_job(toy_job(), tmp_path / "live", console=Console(file=live, force_terminal=True, width=100))
    assert plain.getvalue().startswith("toy: 0/6 shards, 0/30 samples, ")
    assert "30 attempted = 26 accepted + 3 rejected + 1 failed" in plain.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "━" in live.getvalue()
    assert "rejected        3  round" in live.getvalue().split("finished")[0]
    assert "\x1b[?25l" in live.getvalue()


def test_executor_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="the inline executor has one worker"):
        ExecutorConfig(executor="inline", workers=2)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        ExecutorConfig(executor="ray", workers=0)
    with pytest.raises(ValueError, match="batch_time_limit_s must be positive, got 0"):
        ExecutorConfig(batch_time_limit_s=0)


def test_a_run_stops_when_every_item_kills_its_process(tmp_path: Path) -> None:
    class DeadlyStage(toy.NoiseStage):
        def process(self, items: list[toy.Number]) -> list[toy.Number | Rejected]:
            os._exit(9)

    with pytest.raises(PipelineError, match=r"5 items in a row ended their worker process, the last by WorkerDied"):
        run_job(toy_job(stages=[toy.SquareStage(), DeadlyStage()]), tmp_path)


def test_items_that_kill_their_process_do_not_stop_a_run_while_others_between_them_succeed(tmp_path: Path) -> None:
    class DeadlyStage(toy.NoiseStage):
        batch_size = 1

        def process(self, items: list[toy.Number]) -> list[toy.Number | Rejected]:
            return list(items) if items[0].key in ("n008", "n009") else os._exit(9)

    # 2, 4, 6 end it, 8 does not; 1, 3, 5, 7 end it, 9 does not: seven deaths, at most four in a row
    job = toy_job(inputs=lambda: toy.rows(10), stages=[toy.SquareStage(), DeadlyStage()])
    report = run_job(job, tmp_path, limits=Limits(max_failure_rate=0.9))
    assert (report.accepted, report.rejected, report.failed) == (2, {"round": 1}, {"WorkerDied": 7})


def test_a_process_that_does_not_survive_loading_stops_the_run(tmp_path: Path) -> None:
    class HeavyStage(toy.NoiseStage):
        def setup(self) -> None:
            os._exit(9)

    with pytest.raises(PipelineError, match=r"did not survive the loading of a stage: WorkerDied \(exit status 9\)"):
        run_job(toy_job(stages=[toy.SquareStage(), HeavyStage()]), tmp_path)


def test_a_stage_that_cannot_travel_is_one_clear_line(tmp_path: Path) -> None:
    stage = toy.NoiseStage()
    stage.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(PipelineError, match=r"cannot be sent to a worker process \(cannot pickle .*belongs into setup"):
        run_job(toy_job(stages=[toy.SquareStage(), stage]), tmp_path)


def test_numerical_libraries_get_the_same_number_of_threads_everywhere(tmp_path: Path) -> None:
    class ThreadsStage(toy.NoiseStage):
        def process(self, items: list[toy.Number]) -> list[toy.Number | Rejected]:
            (tmp_path / "threads").write_text(os.environ["OMP_NUM_THREADS"])
            return list(items)

    for threads in (1, 3):
        job = toy_job(stages=[toy.SquareStage(), ThreadsStage()])
        run_job(job, tmp_path / str(threads), ExecutorConfig(threads=threads))
        assert (tmp_path / "threads").read_text() == str(threads)


def test_a_stage_is_loaded_once_for_all_shards(tmp_path: Path) -> None:
    (tmp_path / "loads").mkdir()
    run_job(toy_job(stages=[toy.SquareStage(), toy.CountedStage(tmp_path / "loads")]), tmp_path / "run")
    assert len(list((tmp_path / "loads").iterdir())) == 1


def test_an_address_at_which_nothing_answers_is_refused_at_once(tmp_path: Path) -> None:
    config = ExecutorConfig(executor="ray", ray_address=f"127.0.0.1:{free_port()}")
    with pytest.raises(PipelineError, match=r"nothing answers at the Ray address 127\.0\.0\.1:\d+: .*check it with"):
        run_job(toy_job(), tmp_path, config)
    assert read_receipts(tmp_path, allow_partial=True) == []
