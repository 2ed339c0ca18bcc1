import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from toy_job import rows, toy_job

from pipeline.errors import PipelineError
from pipeline.plan import PlanRow, PlanSettings, ShardItems, open_or_make_plan, open_plan

SETTINGS = PlanSettings(name="toy", fingerprint={"render": {"steps": 20}, "model": "a"}, seed=7, items_per_shard=6)


def test_a_plan_has_one_row_group_per_shard_and_shards_never_mix_groups(tmp_path: Path) -> None:
    plan = open_or_make_plan(tmp_path, SETTINGS, rows(30))
    # Groups alternate, so both shards of six fill at their sixth number; the rest of three each comes last.
    sizes = {"even-00000": 6, "odd-00000": 6, "even-00001": 6, "odd-00001": 6, "even-00002": 3, "odd-00002": 3}
    assert plan.shards == sizes
    parquet = pq.ParquetFile(plan.items)
    assert [parquet.metadata.row_group(i).num_rows for i in range(6)] == list(sizes.values())
    keys = [item.key for item in ShardItems(plan).read("odd-00001")]
    assert keys == ["n013", "n015", "n017", "n019", "n021", "n023"]


def test_shards_without_a_group_are_numbered(tmp_path: Path) -> None:
    plan = open_or_make_plan(tmp_path, SETTINGS, (PlanRow(key=str(n)) for n in range(13)))
    assert plan.shards == {"00000": 6, "00001": 6, "00002": 1}


def test_the_header_counts_and_hashes(tmp_path: Path) -> None:
    open_or_make_plan(tmp_path, SETTINGS, rows(30))
    header = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert (header["schema_version"], header["num_items"], header["num_shards"]) == (2, 30, 6)
    assert header["settings"]["fingerprint"] == {"render": {"steps": 20}, "model": "a"}


def test_the_seed_of_an_item_is_the_hash_of_seed_name_and_key(tmp_path: Path) -> None:
    item = ShardItems(open_or_make_plan(tmp_path, SETTINGS, rows(30))).read("even-00000")[1]
    # printf 7/toy/n002 | sha256sum begins with 515ac42a71d1c533
    assert (item.key, item.seed) == ("n002", 0x515AC42A71D1C533 >> 1)


def test_the_same_inputs_make_the_same_plan(tmp_path: Path) -> None:
    plans = [open_or_make_plan(tmp_path / name, SETTINGS, rows(30)) for name in ("a", "b")]
    assert plans[0].plan_hash == plans[1].plan_hash


def test_a_plan_is_made_once_and_then_only_read(tmp_path: Path) -> None:
    first = open_or_make_plan(tmp_path, SETTINGS, rows(30))
    again = open_or_make_plan(tmp_path, SETTINGS, rows(4))
    assert again == first == open_plan(tmp_path)


def test_a_plan_of_another_fingerprint_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    open_or_make_plan(tmp_path, SETTINGS, rows(30))
    before = (tmp_path / "plan" / "plan.json").read_bytes()
    other = PlanSettings(name="toy", fingerprint={"render": {"steps": 50}, "lora": "b"}, seed=8, items_per_shard=6)
    with pytest.raises(PipelineError) as error:
        open_or_make_plan(tmp_path, other, rows(30))
    assert (
        "fingerprint.render.steps: 20 in the plan, 50 now; fingerprint.model: 'a' in the plan, nothing now; "
        "fingerprint.lora: nothing in the plan, 'b' now; seed: 7 in the plan, 8 now. "
        "Run the same command with --replace to remove that run"
    ) in str(error.value)
    assert (tmp_path / "plan" / "plan.json").read_bytes() == before


def test_a_digest_that_differs_is_named_without_its_digits(tmp_path: Path) -> None:
    settings = [PlanSettings(name="toy", fingerprint={"rows": c * 64}, seed=0, items_per_shard=6) for c in "ab"]
    open_or_make_plan(tmp_path, settings[0], rows(4))
    with pytest.raises(
        PipelineError, match=r"other settings: fingerprint\.rows \(a SHA-256 of content\) differs\. Run"
    ):
        open_or_make_plan(tmp_path, settings[1], rows(4))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "job 'toy' has no items"),
        ([PlanRow(key="b"), PlanRow(key="a"), PlanRow(key="b")], "keys must be unique, 'b' comes 2 times"),
        ([PlanRow(key="")], "keys must not be empty"),
        ([PlanRow(key="a", payload={"path": Path("x")})], "item a: its payload must hold JSON values only"),
        ([PlanRow(key="a", payload={"score": float("nan")})], "item a: its payload must hold JSON values only"),
        ([PlanRow(key="a", group="../x")], "item a: a group may hold only a-z, A-Z, 0-9, _ and -, got '../x'"),
    ],
)
def test_bad_inputs_are_refused_and_leave_no_plan(tmp_path: Path, inputs: list[PlanRow], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        open_or_make_plan(tmp_path, SETTINGS, inputs)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", b'{"schema_version": 2, "settings"', "plan.json is damaged"),
        ("plan.json", b'{"schema_version": 1}', "has schema version 1, this code reads 2"),
        ("items.*.parquet", b"PAR1", r"items\.\w+\.parquet is missing or not what its plan.json says"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    open_or_make_plan(tmp_path, SETTINGS, rows(30))
    next((tmp_path / "plan").glob(name)).write_bytes(content)
    with pytest.raises(PipelineError, match=message):
        open_or_make_plan(tmp_path, SETTINGS, rows(30))


def test_a_header_without_its_items_is_refused(tmp_path: Path) -> None:
    open_or_make_plan(tmp_path, SETTINGS, rows(30)).items.unlink()
    with pytest.raises(PipelineError, match=r"is missing or not what its plan\.json says; remove"):
        open_or_make_plan(tmp_path, SETTINGS, rows(30))


def test_stages_of_a_job_need_distinct_names() -> None:
    stages = toy_job().stages
    with pytest.raises(ValueError, match="distinct names"):
        toy_job(stages=[stages[0], stages[0]])
