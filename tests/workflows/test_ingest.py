from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.query_table import read_query_table
from shards.reader import SampleReader
from workflows import ingest
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import WorldConfig, write_dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=6, num_val=2, num_test=2))
    return folder


def _config(world: Path, data: Path, **changes: object) -> ingest.IngestConfig:
    values: dict[str, object] = {"annotations": world / "miniature", "images": world / "images", "data": data}
    return ingest.IngestConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_ingest_delivers_every_query_once(world: Path, tmp_path: Path) -> None:
    ingest.main(_config(world, tmp_path))
    reader = SampleReader(tmp_path / "miniature" / "samples")
    found = [query.query_id for sample in reader for query in sample.queries]
    listed = [row["query_id"] for row in read_query_table(tmp_path / "miniature" / "queries.parquet")]
    assert sorted(found) == sorted(listed)
    assert reader.splits == ["testA", "testB", "train", "val"]


def test_missing_images_stop_ingest_unless_allowed(world: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((world / "images").iterdir())[1:]:
        (images / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"1 images are not in .*--allow-missing-images"):
        ingest.main(_config(world, tmp_path / "data", images=images))
    assert not (tmp_path / "data/miniature/samples").exists()
    ingest.main(_config(world, tmp_path / "data", images=images, allow_missing_images=True))
    problems = (tmp_path / "data/miniature/problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["rule"] for line in problems] == ["missing_image"]
    ingest.main(_config(world, tmp_path / "whole"))
    partial, whole = (SampleReader(tmp_path / name / "miniature/samples") for name in ("data", "whole"))
    assert len(partial) == len(whole) - 1
