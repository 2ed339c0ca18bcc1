"""Samples as they are written to shards and read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from pipeline import Job, MapStage, PipelineError, PlanRow, run_job
from shards.errors import SchemaError
from shards.reader import SampleReader
from shards.schema import Sample
from shards.sources.load_images import LoadImageStage
from shards.writer import SampleSink, decode_npy, encode_npy
from tests.shards.toy_samples import make_payload, make_png, make_sample
from workflows.export import ExportConfig, Format
from workflows.export import main as export


def _run(tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / "a.png").write_bytes(make_png())
    rows = [
        PlanRow(key=f"toy-{split}-{i}", payload=make_payload("a.png"), group=split)
        for split in ("train", "val")
        for i in range(3)
    ]
    job = Job(
        name="ingest",
        fingerprint={"data": "toy"},
        inputs=lambda: rows,
        items_per_shard=2,
        seed=0,
        stages=[LoadImageStage(tmp_path)],
        sink=SampleSink(),
    )
    run_job(job, tmp_path / name)
    return tmp_path / name


def test_a_reader_gives_back_what_was_written(tmp_path: Path) -> None:
    reader = SampleReader(_run(tmp_path))
    assert [sample.key for sample in reader] == [f"toy-{split}-{i}" for split in ("train", "val") for i in range(3)]
    assert reader.num_queries == 12
    assert not reader.has_priors
    assert reader.read(3) == make_sample("toy-val-0")


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    def contents(run: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted((run / "shards").glob("*.tar"))]

    first = contents(_run(tmp_path, "first"))
    assert len(first) == 4
    assert contents(_run(tmp_path, "second")) == first


def test_priors_are_read_back_in_half_precision(tmp_path: Path) -> None:
    priors = np.array([[0.5, 1.5], [2.5, -1]], np.float16)
    job = Job(
        name="pack",
        fingerprint={},
        inputs=lambda: [PlanRow(key="toy-1", payload={})],
        items_per_shard=1,
        seed=0,
        stages=[],
        sink=_WithPriors(priors),
    )
    run_job(job, tmp_path / "run")
    reader = SampleReader(tmp_path / "run")
    assert reader.has_priors
    read = reader.read(0).priors
    assert read is not None
    assert read.dtype == np.float16
    assert read.tolist() == priors.tolist()


class _WithPriors(SampleSink):
    def __init__(self, priors: Any) -> None:
        self._priors = priors

    def write(self, items: list[Any], folder: Path) -> Any:
        return super().write([make_sample(item.key, priors=self._priors) for item in items], folder)


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    run = _run(tmp_path)
    with pytest.raises(SchemaError, match="no split 'test'; it has train"):
        SampleReader(run, "test")


def test_a_truncated_tar_is_noticed(tmp_path: Path) -> None:
    run = _run(tmp_path)
    tar = sorted((run / "shards").glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(PipelineError, match="bytes"):
        list(SampleReader(run))


def test_a_shard_from_elsewhere_is_checked_before_it_is_read(tmp_path: Path) -> None:
    run = _run(tmp_path)
    tar = sorted((run / "shards").glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes().replace(b"toy-train-0.png", b"../train-0.png\0"))
    receipt = next(path for path in (run / "receipts").glob("*.json") if tar.name in path.read_text())
    record = json.loads(receipt.read_text())
    record["files"]["tar"]["sha256"] = hashlib.sha256(tar.read_bytes()).hexdigest()  # as a stranger would
    receipt.write_text(json.dumps(record))
    with pytest.raises(SchemaError, match=r"member '\.\./train-0\.png'"):
        list(SampleReader(run))


def test_a_header_that_claims_more_numbers_than_follow_is_refused() -> None:
    content = encode_npy(np.ones((2, 3), np.float16))
    np.testing.assert_array_equal(decode_npy(content), np.ones((2, 3), np.float16))
    huge = content.replace(b"(2, 3), }" + b" " * 12, b"(512000000000, 2), }  ")
    assert huge != content
    for damaged in (huge, content[:-2], b"", np.array([None]).dumps(), content.replace(b"<f2", b"<f4")):
        with pytest.raises(ValueError):
            decode_npy(damaged)


class DropImages(MapStage[Sample, Sample]):
    """Drops the images of samples."""

    def process_item(self, item: Sample) -> Sample:
        return replace(item, image=b"")


@pytest.mark.parametrize("to", ["vlm", "hf"])
def test_samples_without_images_are_named_and_export_to_nothing(to: Format, tmp_path: Path) -> None:
    reader = SampleReader(_run(tmp_path))
    rows = [PlanRow(key=entry.key, payload=make_payload("a.png"), group=entry.split) for entry in reader.index]
    stages = [LoadImageStage(tmp_path), DropImages()]
    job = Job(name="ingest", fingerprint={}, inputs=lambda: rows, stages=stages, sink=SampleSink())
    run_job(job, tmp_path / "data" / "toy" / "samples")
    config = ExportConfig(
        dataset="toy", data=UPath(tmp_path / "data"), source="samples", to=to, output=tmp_path / "exported"
    )
    with pytest.raises(SchemaError, match="sample toy-train-0: no image; ingest the data with their images"):
        export(config)
    assert not list(tmp_path.glob("*exported*"))
