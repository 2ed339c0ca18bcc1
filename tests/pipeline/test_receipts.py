import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from toy_job import NoiseStage, Number, SquareStage, toy_job

from pipeline.errors import PipelineError
from pipeline.receipts import Receipt, get_verified_path, list_runs, read_attachments, read_ledger, read_receipts
from pipeline.run import run_job
from pipeline.stage import Item, Rejected
from pipeline.storage import resolve_location


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run_job(toy_job(), tmp_path / "run")
    return tmp_path / "run"


def receipt_of(run: Path, shard_id: str) -> Receipt:
    return next(receipt for receipt in read_receipts(run) if receipt.shard_id == shard_id)


def test_receipts_are_sorted_and_account_for_every_item(run: Path) -> None:
    receipts = read_receipts(run)
    shards = ["even-00000", "even-00001", "even-00002", "odd-00000", "odd-00001", "odd-00002"]
    assert [receipt.shard_id for receipt in receipts] == shards
    first, fifth = receipts[0], receipts[4]
    # 0, 2, 4, 6, 8, 10 hold two multiples of ten; 13, 15, .. 23 hold the unlucky number.
    assert (first.attempted, first.accepted, first.rejected, first.failed) == (6, 4, {"round": 2}, {})
    assert (fifth.attempted, fifth.accepted, fifth.rejected, fifth.failed) == (6, 5, {}, {"ValueError": 1})


def test_the_ledger_names_every_item_that_was_not_accepted(run: Path) -> None:
    rows = read_ledger(run, receipt_of(run, "even-00000"))
    assert [(row["key"], row["outcome"], row["reason"], row["detail"], row["stage"]) for row in rows] == [
        ("n000", "rejected", "round", "0", "square"),
        ("n010", "rejected", "round", "10", "square"),
    ]
    (failed,) = read_ledger(run, receipt_of(run, "odd-00001"))
    assert (failed["key"], failed["outcome"], failed["reason"]) == ("n013", "failed", "ValueError")
    assert failed["detail"].startswith("unlucky 13 (toy_job.py:")


class _AttachingStage(SquareStage):
    name = "square"

    def process(self, items: list[Item]) -> list[Number | Rejected]:
        return [
            replace(result, attachment=b"\0" + result.key.encode()) if isinstance(result, Rejected) else result
            for result in super().process(items)
        ]


def test_attachments_of_rejected_items_lie_beside_the_ledger(run: Path, tmp_path: Path) -> None:
    attached = tmp_path / "attached"
    run_job(toy_job(stages=[_AttachingStage(), NoiseStage()]), attached)
    assert read_attachments(attached, receipt_of(attached, "even-00000")) == [
        {"key": "n000", "reason": "round", "detail": "0", "attachment": b"\0n000"},
        {"key": "n010", "reason": "round", "detail": "10", "attachment": b"\0n010"},
    ]
    assert read_attachments(attached, receipt_of(attached, "odd-00001")) == []  # its only row failed
    assert "attachments" not in receipt_of(attached, "odd-00001").files
    for shard_id in ("even-00000", "odd-00001"):
        assert read_ledger(attached, receipt_of(attached, shard_id)) == read_ledger(run, receipt_of(run, shard_id))


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is not the folder of a run"):
        read_receipts(tmp_path / "nowhere")


def test_an_unfinished_run_is_refused_unless_asked_for(run: Path) -> None:
    (run / "receipts" / "odd-00001.json").unlink()
    with pytest.raises(PipelineError, match="is not finished: 1 of 6 shards are missing, the first is odd-00001"):
        read_receipts(run)
    assert len(read_receipts(run, allow_partial=True)) == 5


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_damaged_receipt_is_refused(run: Path) -> None:
    path = run / "receipts" / "odd-00001.json"
    good = path.read_text()
    path.write_text(good[:100])
    with pytest.raises(PipelineError, match=r"odd-00001\.json is damaged .* delete it and run the same command"):
        read_receipts(run)
    path.write_text(good)
    changed(path, accepted=6)
    with pytest.raises(PipelineError, match="6 items attempted, 7 accounted for"):
        read_receipts(run)
    changed(path, accepted=5, schema_version=9)
    with pytest.raises(PipelineError, match="has schema version 9, this code reads 2"):
        read_receipts(run)
    changed(path, schema_version=2, plan_hash="0")
    with pytest.raises(PipelineError, match="belongs to another plan"):
        read_receipts(run)
    for attempted in (5, 7):  # the plan has 6
        path.write_text(good)
        changed(path, attempted=attempted, accepted=attempted - 1)
        with pytest.raises(PipelineError, match="belongs to another plan"):
            read_receipts(run)
    path.write_text((run / "receipts" / "odd-00000.json").read_text())
    with pytest.raises(PipelineError, match=r"odd-00001\.json is the receipt of shard odd-00000; delete it"):
        read_receipts(run)
    path.write_text(good.replace("odd-00001.", "../odd-00001."))
    with pytest.raises(PipelineError, match=r"a file name must have no '/' and no '.' at its start, got '\.\./odd-"):
        read_receipts(run)


def test_a_delivered_file_that_is_gone_cut_or_changed_is_refused(run: Path) -> None:
    receipt = receipt_of(run, "odd-00001")
    path = get_verified_path(run, receipt, "tar")
    content = path.read_bytes()
    path.write_bytes(content[:512])
    with pytest.raises(PipelineError, match="has 512 bytes, not 10240"):
        get_verified_path(run, receipt, "tar")
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(PipelineError, match="has another hash than its receipt"):
        get_verified_path(run, receipt, "tar")
    path.unlink()
    with pytest.raises(PipelineError, match=r"is gone; delete .*odd-00001\.json and run the command"):
        get_verified_path(run, receipt, "tar")
    with pytest.raises(PipelineError, match=r"has files \['keys', 'ledger', 'tar'\], not 'index'"):
        get_verified_path(run, receipt, "index")


def test_runs_are_the_folder_itself_or_those_directly_in_it(run: Path, tmp_path: Path) -> None:
    assert list_runs(run) == [resolve_location(run)]
    (tmp_path / "another").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (run.parent / "below" / "deeper").mkdir(parents=True)
    shutil.copytree(run / "plan", tmp_path / "a-run" / "plan")
    assert list_runs(tmp_path) == [resolve_location(tmp_path / "a-run"), resolve_location(run)]
    assert list_runs(tmp_path / "another") == list_runs(tmp_path / "absent") == list_runs(tmp_path / "notes.txt") == []
