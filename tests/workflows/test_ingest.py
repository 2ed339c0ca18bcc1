from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from pipeline import PipelineError
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


def _write_table(folder: Path, num_images: int, *splits: str) -> ingest.IngestConfig:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(num_images):
        Image.new("RGB", (20, 10), (i, 0, 0)).save(folder / "images" / f"{i}.png")
        row = {"image": f"{i}.png", "query": "left cup", "box": [0, 0, 9, 9], "split": splits[i % len(splits)]}
        lines += [json.dumps(row) + "\n"] * 2
    (folder / "mine.jsonl").write_text("".join(lines))
    return ingest.IngestConfig(
        dataset="mine",
        format="table",
        annotations=UPath(folder / "mine.jsonl"),
        images=UPath(folder / "images"),
        data=UPath(folder / "data"),
    )


def test_images_are_held_out_for_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _write_table(tmp_path / "one", 60, "train", "train", "test")
    ingest.main(config)
    assert "hold images out with --val-share 0.1" in " ".join(capsys.readouterr().err.split())
    names: dict[str, set[str]] = {}
    for folder, count in (("two", 60), ("three", 90)):
        config = replace(_write_table(tmp_path / folder, count, "train", "train", "test"), val_share=0.25)
        ingest.main(config)
        samples = list(SampleReader(config.paths.samples))
        held_out = {sample.image_name for sample in samples if sample.queries[0].split == "val"}
        assert 0.1 < len(held_out) / (count * 2 / 3) < 0.4
        assert all(sample.key.endswith(sample.queries[0].split) and len(sample.queries) == 2 for sample in samples)
        assert sum(sample.queries[0].split == "test" for sample in samples) == count / 3
        names[folder] = held_out
    assert names["two"] <= names["three"]  # further images move none of the others
    config = replace(_write_table(tmp_path / "four", 6, "train", "val"), val_share=0.5)
    with pytest.raises(UserError, match="already has a split val; omit --val-share"):
        ingest.main(config)
    with pytest.raises(ValueError, match=r"val_share must lie in \(0, 1\), got 1"):
        replace(config, val_share=1.0)


def test_changed_annotations_are_named_and_ingested_again_on_request(tmp_path: Path) -> None:
    ingest.main(_write_table(tmp_path, 9, "train", "test"))
    config = _write_table(tmp_path, 9, "train", "val", "test")
    with pytest.raises(PipelineError, match=r"num_queries\.train: 10 in the plan, 6 now; .*\.val: nothing .*--replace"):
        ingest.main(config)
    ingest.main(replace(config, executor=replace(config.executor, replace=True)))
    assert set(SampleReader(config.paths.samples).splits) == {"train", "val", "test"}


def test_a_dataset_whose_boxes_are_read_wrongly_is_refused(tmp_path: Path) -> None:
    config = _write_table(tmp_path, 12, "train", "val")
    lines = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line["box"] = [6, 3, 4 + number % 9, 2 + number % 5]  # x, y, width, height
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=r"queries \(.* %\) are left out, .*: try --fields\.box-format xywh; "):
        ingest.main(config)
    assert not config.paths.samples.exists() and config.paths.problems.read_text().count("bad_box") > 5
    ingest.main(replace(config, fields=replace(config.fields, box_format="xywh")))
    assert sum(len(sample.queries) for sample in SampleReader(config.paths.samples)) == 24


def test_names_of_windows_are_read_and_images_elsewhere_are_pointed_at(tmp_path: Path) -> None:
    config = _write_table(tmp_path, 4, "train", "val")
    (tmp_path / "images" / "new").mkdir()
    for path in (tmp_path / "images").glob("*.png"):
        path.rename(path.parent / "new" / path.name)
    text = (tmp_path / "mine.jsonl").read_text()
    with pytest.raises(UserError, match=r"Is it .*images/new/0\.png\? Then correct the names"):
        ingest.main(config)
    (tmp_path / "mine.jsonl").write_text(text.replace('0.png"', '0.PNG"'))
    with pytest.raises(UserError, match=r"\(the first is 0\.PNG\).* Is it .*images/new/0\.png\?"):
        ingest.main(config)
    (tmp_path / "mine.jsonl").write_text(text.replace('"image": "', '"image": "new\\\\'))
    ingest.main(config)
    assert {sample.image_name for sample in SampleReader(config.paths.samples)} == {f"new/{i}.png" for i in range(4)}
