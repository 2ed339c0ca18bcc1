import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_job import Number, TarSink, rows

from pipeline.commit import commit, recover, remove_orphans
from pipeline.errors import PipelineError
from pipeline.plan import Plan, PlanSettings, open_or_make_plan
from pipeline.receipts import read_attachments, read_receipts
from pipeline.shard_stages import LedgerRow, ShardWork
from pipeline.stage import Sink, SinkOutput
from pipeline.worker import StageHost, Worker, WorkerLimits, serialize_item


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    settings = PlanSettings(name="toy", fingerprint={}, seed=1, items_per_shard=6)
    plan = open_or_make_plan(tmp_path, settings, rows(6))
    for folder in ("shards", "attempts", "receipts"):
        (plan.run / folder).mkdir()
    return plan


def work() -> ShardWork:
    items = [serialize_item(Number(key=f"n00{n}", seed=0, value=n)) for n in (0, 2, 4)]
    return ShardWork(shard_id="even-00000", attempted=3, items=items)


def with_sink(sink: Sink[Number]) -> Worker:
    return Worker(StageHost([], sink), WorkerLimits(isolate=False))


def files(plan: Plan, folder: str) -> set[str]:
    return {path.name for path in (plan.run / folder).iterdir()}


def test_of_four_writers_of_one_shard_one_receipt_counts_and_only_its_files_stay(plan: Plan) -> None:
    all_wrote = threading.Barrier(4)

    class MeetingSink(TarSink):
        def write(self, items: list[Number], folder: Path) -> SinkOutput:
            written = super().write(items, folder)
            all_wrote.wait(timeout=10)
            return written

    receipts = []
    writers = [
        threading.Thread(target=lambda: receipts.append(commit(plan, with_sink(MeetingSink()), work()))) for _ in "1234"
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(receipts) == 4
    assert receipts.count(receipts[0]) == 4
    assert read_receipts(plan.run, allow_partial=True) == receipts[:1]
    assert files(plan, "shards") == {file.name for file in receipts[0].files.values()}
    assert files(plan, "attempts") == set()


def test_a_late_writer_does_not_replace_what_was_delivered(plan: Plan) -> None:
    first = commit(plan, with_sink(TarSink()), work())
    assert set(first.files) == {"tar", "keys", "ledger"}
    late = work()
    late.items = late.items[:1]
    late.attempted = 1
    assert commit(plan, with_sink(TarSink()), late) == first
    assert files(plan, "shards") == {file.name for file in first.files.values()}


def test_a_receipt_tells_the_seconds_of_the_commit_beside_those_of_the_stages(plan: Plan) -> None:
    timed = work()
    timed.stage_seconds = {"square": 7.0}
    before = time.perf_counter()
    receipt = commit(plan, with_sink(TarSink()), timed)
    assert receipt.stage_seconds["square"] == 7.0
    assert 0 < receipt.stage_seconds["commit"] <= time.perf_counter() - before


@pytest.mark.parametrize("attachment", [b"", b"pixels"])
def test_rejected_items_are_lines_of_the_ledger_and_their_attachments_rows_of_a_table(
    plan: Plan, attachment: bytes
) -> None:
    shard = work()
    shard.attempted = 4
    row = {"key": "n006", "reason": "round", "detail": "6"}
    shard.add_to_ledger(LedgerRow(**row, outcome="rejected", stage="square", attachment=attachment))
    receipt = commit(plan, with_sink(TarSink()), shard)
    assert receipt.rejected == {"round": 1}
    (line,) = (plan.run / "shards" / receipt.files["ledger"].name).read_text().splitlines()
    assert json.loads(line) == {**row, "outcome": "rejected", "stage": "square"}
    assert read_attachments(plan.run, receipt) == ([{**row, "attachment": attachment}] if attachment else [])
    assert set(receipt.files) - {"attachments"} == {"tar", "keys", "ledger"}
    assert ("attachments" in receipt.files) is bool(attachment)


def call_before_link(function: Callable[[], object]) -> None:
    """Audit hooks cannot be taken away, so this one works once."""
    armed = [True]

    def hook(name: str, arguments: object) -> None:
        if name == "os.link" and armed:
            armed.clear()
            function()

    sys.addaudithook(hook)


def test_an_attempt_at_work_while_another_run_cleans_up_still_commits_whole(plan: Plan) -> None:
    # The worst moment: its files are delivered, its receipt is not.
    call_before_link(lambda: recover(plan))
    receipt = commit(plan, with_sink(TarSink()), work())
    assert recover(plan) == [receipt]
    assert files(plan, "shards") == {file.name for file in receipt.files.values()}


def test_a_late_attempt_whose_folder_another_run_removes_meanwhile_is_no_error(plan: Plan) -> None:
    first = commit(plan, with_sink(TarSink()), work())
    call_before_link(lambda: recover(plan))
    assert commit(plan, with_sink(TarSink()), work()) == first
    assert files(plan, "shards") == {file.name for file in first.files.values()}


def test_what_dead_attempts_left_goes_once_their_shard_is_delivered_and_not_before(plan: Plan) -> None:
    for shard_id in ("even-00000", "odd-00000"):
        (plan.run / "shards" / f"{shard_id}.dead.numbers.tar").write_bytes(b"half")
        (plan.run / "attempts" / f"{shard_id}.dead").mkdir()
        (plan.run / "receipts" / f".{shard_id}.json.dead.tmp").write_bytes(b"{")
    for folder in (plan.run, plan.run / "plan"):
        for name in (".plan.json.dead.tmp", ".lock", "notes.tmp"):
            (folder / name).write_bytes(b"")
    receipt = commit(plan, with_sink(TarSink()), work())
    assert recover(plan) == [receipt]
    named = {file.name for file in receipt.files.values()}
    assert files(plan, "shards") == named | {"odd-00000.dead.numbers.tar"}
    assert files(plan, "attempts") == {"odd-00000.dead"}
    assert files(plan, "receipts") == {"even-00000.json", ".odd-00000.json.dead.tmp"}
    assert not files(plan, ".") & {".plan.json.dead.tmp"} and files(plan, ".") >= {".lock", "notes.tmp"}
    assert not files(plan, "plan") & {".plan.json.dead.tmp"} and files(plan, "plan") >= {
        ".lock",
        "notes.tmp",
        "plan.json",
    }


def test_orphans_are_searched_in_the_folder_or_among_the_names_that_are_given(plan: Plan) -> None:
    receipt = commit(plan, with_sink(TarSink()), work())
    orphans = {"even-00000.dead.numbers.tar", "even-00000.dead.keys.txt"}
    for name in orphans:
        (plan.run / "shards" / name).write_bytes(b"half")
    remove_orphans(plan, [receipt], ["even-00000.dead.keys.txt"])
    assert files(plan, "shards") & orphans == {"even-00000.dead.numbers.tar"}
    remove_orphans(plan, [receipt])
    assert files(plan, "shards") == {file.name for file in receipt.files.values()}


def test_a_delivered_file_of_another_size_or_none_stops_the_resume(plan: Plan) -> None:
    receipt = commit(plan, with_sink(TarSink()), work())
    path = Path(plan.run / "shards" / receipt.files["tar"].name)
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) + 1):
        path.write_bytes((content + b"x")[:size])
        with pytest.raises(
            PipelineError, match=rf"{path.name} has {size} bytes, not {len(content)}; delete .*000\.json"
        ):
            recover(plan)
    path.unlink()
    with pytest.raises(PipelineError, match=rf"{path.name} is gone; delete .*even-00000\.json"):
        recover(plan)
    path.write_bytes(content)
    assert recover(plan) == [receipt]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (lambda folder: {"tar": folder / "absent.tar"}, "file 'tar' must be in the folder"),
        (lambda folder: {"tar": folder.parents[1] / "plan" / "plan.json"}, "file 'tar' must be in the folder"),
        (lambda folder: {"tar": folder / "sub" / "x"}, "file 'tar' must be in the folder"),
        (
            lambda folder: {"tar": Path(shutil.copy(folder / "x", folder.parents[1]))},
            "file 'tar' must be in the folder",
        ),
        (lambda folder: {"tar": (folder / "x").rename(folder / "ledger.jsonl")}, "the name ledger.jsonl are reserved"),
        (
            lambda folder: {"ledger": folder / "x"},
            "the role 'ledger' and the name ledger.jsonl are reserved; rename",
        ),
        (lambda folder: {"tar": 1 / 0}, "BadSink: ZeroDivisionError: division by zero"),
    ],
)
def test_a_sink_that_breaks_its_promise_commits_nothing(
    plan: Plan, written: Callable[[Path], dict[str, Path]], message: str
) -> None:
    class BadSink(Sink[Number]):
        def write(self, items: list[Number], folder: Path) -> SinkOutput:
            (folder / "sub").mkdir()
            for path in (folder / "x", folder / "sub" / "x"):
                path.write_text("x")
            return SinkOutput(files=written(folder))

    with pytest.raises(PipelineError, match=message):
        commit(plan, with_sink(BadSink()), work())
    assert files(plan, "receipts") == files(plan, "shards") == files(plan, "attempts") == set()
