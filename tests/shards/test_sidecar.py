"""Priors beside the samples that they belong to."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import Item, Job, MapStage, PlanRow, Rejected, run_job
from shards.errors import SchemaError
from shards.reader import SampleReader
from shards.sidecar import SamplePriors, SidecarSink, describe_samples
from shards.sources.load_images import LoadImageStage
from shards.writer import SampleSink
from tests.shards.toy_samples import make_payload, make_png

KEYS = ("toy-train-0", "toy-train-1", "toy-val-0")


class _PriorStage(MapStage[Item, SamplePriors]):
    """Gives both queries of sample ``i`` the features i and i + 0.5; lacks the priors of ``toy-train-1``."""

    def process_item(self, item: Item) -> SamplePriors | Rejected:
        if item.key == "toy-train-1":
            return Rejected(key=item.key, reason="missing_prior")
        i = KEYS.index(item.key)
        features = np.array([[i] * 3, [i + 0.5] * 3], np.float16)
        return SamplePriors(key=item.key, prior_ids=(f"{i}-a", f"{i}-b"), features=features)


def _make_samples(folder: Path, dataset: str = "toy") -> Path:
    (folder / "a.png").write_bytes(make_png())
    rows = [PlanRow(key=key, payload=make_payload("a.png"), group=key.split("-")[1]) for key in KEYS]
    job = Job(
        name="ingest",
        fingerprint={"dataset": dataset},
        inputs=lambda: rows,
        items_per_shard=1,
        seed=0,
        stages=[LoadImageStage(folder)],
        sink=SampleSink(),
    )
    run_job(job, folder / "samples")
    return folder / "samples"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    samples = _make_samples(tmp_path)
    rows = [PlanRow(key=key, group=key.split("-")[1]) for key in KEYS]
    job = Job(
        name="pack",
        fingerprint=describe_samples(samples),
        inputs=lambda: rows,
        items_per_shard=10,
        seed=0,
        stages=[_PriorStage()],
        sink=SidecarSink(),
    )
    run_job(job, tmp_path / "packed")
    return tmp_path / "packed"


def test_a_packed_run_gives_the_samples_that_have_priors_with_these(packed: Path) -> None:
    reader, plain = SampleReader(packed), SampleReader(packed.parent / "samples")
    assert reader.has_priors and not plain.has_priors
    assert [sample.key for sample in reader] == ["toy-train-0", "toy-val-0"]
    assert reader.splits == ["train"]  # both toy queries are of train
    sample = reader.read(1)
    assert sample.image == plain.read(2).image
    assert sample.priors is not None
    assert sample.priors.tolist() == [[2, 2, 2], [2.5, 2.5, 2.5]]
    assert [query.prior_id for query in sample.queries] == ["2-a", "2-b"]
    assert [query["prior_id"] for query in reader.record(1)["queries"]] == ["2-a", "2-b"]


def test_a_packed_run_holds_no_image(packed: Path) -> None:
    names = {path.name.split(".", 2)[2] for path in (packed / "shards").iterdir()}
    assert names == {"index.parquet", "priors.npy", "ledger.jsonl"}


def test_other_samples_than_those_that_were_packed_are_refused(packed: Path) -> None:
    shutil.rmtree(packed.parent / "samples")
    with pytest.raises(SchemaError, match="samples, which does not exist"):
        SampleReader(packed)
    _make_samples(packed.parent, dataset="other")
    with pytest.raises(SchemaError, match=r"was made of other samples than .*samples holds now; run `make pack` again"):
        SampleReader(packed)


def test_a_data_folder_can_be_moved(packed: Path) -> None:
    moved = packed.parent.rename(packed.parent.with_name("moved"))
    assert len(SampleReader(moved / "packed")) == 2
