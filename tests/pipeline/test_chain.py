import errno
import pickle
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.shard_stages import MAX_ATTACHMENTS, LedgerRow, ShardWork, run_stage
from pipeline.stage import Item, Rejected, Stage
from pipeline.worker import StageHost, Worker, WorkerLimits, serialize_item

ITEMS = [Item(key=str(n), seed=0, payload={"number": n}) for n in range(6)]


class CalledStage(Stage[Item, Item]):
    """Hands a batch to a function and remembers the sizes of its batches."""

    batch_size = 4

    def __init__(self, function: Any) -> None:
        self._function = function
        self.batch_sizes: list[int] = []

    def process(self, items: list[Item]) -> Any:
        self.batch_sizes.append(len(items))
        return self._function(items)


def new_work() -> ShardWork:
    return ShardWork(shard_id="s", attempted=6, items=[serialize_item(item) for item in ITEMS])


def run(function: Any) -> tuple[ShardWork, CalledStage]:
    stage, work = CalledStage(function), new_work()
    run_stage(Worker(StageHost([stage], None), WorkerLimits(isolate=False)), 0, stage.name, stage.batch_size, work)
    return work, stage


def test_a_shard_is_cut_into_batches_of_its_own() -> None:
    stage = CalledStage(lambda items: items)
    worker = Worker(StageHost([stage], None), WorkerLimits(isolate=False))
    for _ in range(2):
        run_stage(worker, 0, stage.name, stage.batch_size, new_work())
    assert stage.batch_sizes == [4, 2, 4, 2]


def test_a_shard_keeps_the_first_attachments_of_each_reason() -> None:
    work = new_work()
    for number in range(MAX_ATTACHMENTS + 2):
        for reason in ("dark", "blurred"):
            row = LedgerRow(
                key=f"{reason}-{number}", outcome="rejected", reason=reason, detail="", stage="s", attachment=b"x"
            )
            work.add_to_ledger(row)
    kept = [row.key for row in work.ledger if row.attachment]
    assert len(work.ledger) == 2 * (MAX_ATTACHMENTS + 2)
    assert kept == [f"{reason}-{number}" for number in range(MAX_ATTACHMENTS) for reason in ("dark", "blurred")]


def test_an_item_that_raises_fails_alone() -> None:
    def halve(items: list[Item]) -> list[Item]:
        assert all(item.payload["number"] != 2 for item in items), "two is odd here"
        return items

    work, stage = run(halve)
    assert [item.key for item in work.items] == ["0", "1", "3", "4", "5"]
    assert stage.batch_sizes == [4, 2, 2, 1, 1, 2]
    row = work.ledger[0]
    assert (row.key, row.outcome, row.reason, row.stage) == ("2", "failed", "AssertionError", "called")
    assert row.detail.startswith("two is odd here") and "(test_chain.py:" in row.detail


@pytest.mark.parametrize(
    ("results_of", "detail"),
    [
        (lambda items: items[1:], "process must return a list of 1 results, got 0 results"),
        (lambda items: None, "process must return a list of 1 results, got NoneType"),
        (lambda items: [42 for _ in items], "result 0 must have the key of its item, '0', got a int without key"),
        (lambda items: [replace(item, key="x") for item in items], "must have the key of its item, '0', got 'x'"),
    ],
)
def test_a_wrong_result_is_a_failure_of_every_item_that_gets_one(results_of: Any, detail: str) -> None:
    work, _ = run(results_of)
    assert work.items == []
    assert work.count("failed") == {"WrongResultError": 6}
    assert detail in work.ledger[0].detail


def test_results_in_another_order_are_caught_and_each_item_is_still_delivered() -> None:
    work, stage = run(lambda items: items[::-1])
    assert [item.key for item in work.items] == ["0", "1", "2", "3", "4", "5"]
    assert stage.batch_sizes == [4, 2, 1, 1, 2, 1, 1, 2, 1, 1]


def test_rejected_items_leave_with_their_reason() -> None:
    def only_even(items: list[Item]) -> list[Item | Rejected]:
        return [Rejected(key=i.key, reason="odd", detail="!") if int(i.key) % 2 else i for i in items]

    work, _ = run(only_even)
    assert [item.key for item in work.items] == ["0", "2", "4"]
    assert work.count("rejected") == {"odd": 3}
    assert work.count("failed") == {}


def test_details_hold_no_memory_address_since_it_differs_from_run_to_run() -> None:
    def fail(items: list[Item]) -> list[Item]:
        raise KeyError("<object at 0x7f3a5c2b1d90>")

    work, _ = run(fail)
    assert "<object at 0x...>" in work.ledger[0].detail


def test_a_stage_is_set_up_once_and_its_error_names_it() -> None:
    class BrokenStage(CalledStage):
        def setup(self) -> None:
            raise FileNotFoundError("weights.safetensors")

    stage = BrokenStage(lambda items: items)
    with pytest.raises(PipelineError, match="stage 'broken' could not be set up: FileNotFoundError: weights"):
        run_stage(
            Worker(StageHost([stage], None), WorkerLimits(isolate=False)), 0, stage.name, stage.batch_size, new_work()
        )


def test_an_item_that_a_stage_changed_before_it_raised_is_tried_again_as_it_was() -> None:
    def spoil(items: list[Item]) -> list[Item]:
        for item in items:
            item.payload["number"] += 100  # type: ignore[index]
        assert len(items) == 1, "not all at once"
        return items

    work, _ = run(spoil)
    assert [pickle.loads(item.content).payload["number"] for item in work.items] == [100, 101, 102, 103, 104, 105]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ConnectionResetError("gone")])
def test_for_a_full_disk_or_a_lost_connection_no_item_is_blamed(error: OSError) -> None:
    def fail(items: list[Item]) -> list[Item]:
        raise error

    with pytest.raises(PipelineError, match=r"stage 'called': .*; fix the cause and run again"):
        run(fail)
