from pathlib import Path

import pytest
from upath import UPath

from pipeline import ExecutorConfig, Item, Job, Limits, MapStage, PlanRow, Rejected, Sink, SinkOutput, run_job
from workflows import status
from workflows.cli.console import UserError


class HalveStage(MapStage[Item, Item]):
    """Seven raises, other odd numbers are rejected."""

    def process_item(self, item: Item) -> Item | Rejected:
        number = item.payload["number"]
        if number == 7:
            raise ValueError("seven [red]")
        return Rejected(key=item.key, reason="odd") if number % 2 else item


class CountSink(Sink[Item]):
    def write(self, items: list[Item], folder: Path) -> SinkOutput:
        (folder / "count").write_text(str(len(items)))
        return SinkOutput(files={"count": folder / "count"}, summary={"numbers": len(items)})


@pytest.fixture
def run(tmp_path: Path) -> UPath:
    job = Job(
        name="halve",
        fingerprint={},
        inputs=lambda: (PlanRow(key=f"n{n}", payload={"number": n}) for n in range(12)),
        items_per_shard=4,
        seed=0,
        stages=[HalveStage()],
        sink=CountSink(),
    )
    run_job(job, tmp_path / "run", ExecutorConfig(isolate=False), Limits(max_failure_rate=0.2))
    return UPath(tmp_path / "run")


def test_status_tells_what_the_run_itself_reported(run: UPath, capsys: pytest.CaptureFixture[str]) -> None:
    status.main(status.StatusConfig(run=run))
    told = capsys.readouterr().out
    assert told.startswith("halve: 3/3 shards, 12/12 samples, ")
    assert "6 accepted, 5 rejected, 1 failed" in told
    assert "rejected        5  odd" in told and "failed          1  ValueError" in told and "numbers 6" in told


def test_status_of_an_unfinished_run_says_when_the_last_shard_came(
    run: UPath, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "receipts" / "00002.json").unlink()
    status.main(status.StatusConfig(run=run))
    told = capsys.readouterr().out
    assert "2/3 shards, 8/12 samples" in told and "the last shard was finished 0 s ago" in told


def test_failures_are_listed_with_stage_reason_and_detail(run: UPath, capsys: pytest.CaptureFixture[str]) -> None:
    status.main(status.StatusConfig(run=run, failures=True))
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if "n7" in line)
    assert all(part in line for part in ("00001", "halve", "ValueError", "seven [red] (test_status.py:"))
    assert "n5" not in told
    status.main(status.StatusConfig(run=run, rejected=True, limit=2))
    told = capsys.readouterr().out
    assert "n1" in told and "n3" in told and "n5 " not in told and "3 more; raise --limit" in told


def test_a_folder_of_runs_is_refused_and_its_runs_are_named(run: UPath) -> None:
    with pytest.raises(UserError, match=r"is not a run; pass one of .*/run$"):
        status.main(status.StatusConfig(run=run.parent))


def test_limits_are_checked(run: UPath) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        status.StatusConfig(run=run, limit=0)
