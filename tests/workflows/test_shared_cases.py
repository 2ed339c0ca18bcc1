"""Small inputs that once went wrong, as users sent them, each with what it must do now.

Not here: two trainings in one folder, a full disk, errors below the launcher and Ray's long temporary folder. They need
processes, mounts and minutes; ``tests/trainer`` and ``tests/pipeline/test_ray.py`` have a test of each.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from upath import UPath

from shards.images import read_image
from shards.reader import SampleReader
from shards.sources.errors import SourceError
from shards.sources.isolated import read_pickle
from shards.sources.table import Fields, read_table
from trainer.errors import TrainerError
from trainer.predict import open_image
from workflows import ingest, inspect, predict
from workflows.cli.console import UserError

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases, which is not here")


def _config(folder: Path, case: str, file: str, **changes: Any) -> ingest.IngestConfig:
    values: dict[str, Any] = {
        "dataset": "mine",
        "data": UPath(folder / "data"),
        "format": "table",
        "annotations": UPath(CASES / case / file),
        "images": UPath(CASES / case / "photos"),
        **changes,
    }
    return ingest.IngestConfig(**values)


def _count_queries(config: ingest.IngestConfig) -> int:
    ingest.main(config)
    return SampleReader(config.paths.samples).num_queries


def _read_problems(config: ingest.IngestConfig) -> list[str]:
    return [json.loads(line)["rule"] for line in config.paths.problems.read_text().splitlines()]


@pytest.mark.parametrize(
    ("case", "file", "options", "message"),
    [
        ("01-normalised-boxes", "mine.jsonl", {}, "look like fractions of the image"),
        ("02-xywh-as-xyxy", "mine.jsonl", {}, r"19 of 24 queries .*val.*try --fields\.box-format xywh"),
        ("04-windows-paths", "result_train.json", {"format": "grounding"}, r"Is it .*images.a\.png"),
        ("06-csv-of-excel", "german.csv", {"fields": Fields(box="x1,y1,x2,y2")}, "number"),
        ("08-odvg-without-queries", "det_only_train.jsonl", {"format": "odvg"}, "no query|no_query"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_cause(
    tmp_path: Path, case: str, file: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((UserError, SourceError), match=message):
        ingest.main(_config(tmp_path, case, file, **options))


@pytest.mark.parametrize(
    ("case", "file", "options", "count"),
    [
        ("02-xywh-as-xyxy", "mine.jsonl", {"fields": Fields(box_format="xywh")}, 24),
        ("04-windows-paths", "mine.jsonl", {}, 6),
        ("05-string-ids", "mine_train.json", {"format": "grounding"}, 3),
        ("05-string-ids", "mine.jsonl", {"instances": UPath(CASES / "05-string-ids" / "instances_str.json")}, 3),
        ("06-csv-of-excel", "bom_semicolon.csv", {}, 6),
        ("06-csv-of-excel", "tab.tsv", {}, 6),
        ("06-csv-of-excel", "UPPER.CSV", {}, 6),
        ("07-json-array", "array.json", {}, 3),
    ],
)
def test_what_is_clear_is_read(tmp_path: Path, case: str, file: str, options: dict[str, Any], count: int) -> None:
    assert _count_queries(_config(tmp_path, case, file, **options)) == count


def test_every_image_without_a_query_is_listed(tmp_path: Path) -> None:
    config = _config(tmp_path, "08-odvg-without-queries", "empty_train.jsonl", format="odvg")
    assert _count_queries(config) == 1
    assert _read_problems(config) == ["no_query"] * 2


@pytest.mark.parametrize("file", ["bbox_missing", "bbox_empty", "category_null", "nowidth"])
def test_one_odd_annotation_does_not_stop_the_others(tmp_path: Path, file: str) -> None:
    instances = UPath(CASES / "09-one-odd-annotation" / f"{file}.json")
    config = _config(tmp_path, "09-one-odd-annotation", "mine.jsonl", instances=instances)
    assert _count_queries(config) == 3
    assert ("bad_instance" in _read_problems(config)) == (file != "nowidth")


def test_inspect_counts_what_ingest_leaves_out(tmp_path: Path) -> None:
    case = CASES / "03-inspect-undercounts"
    config = inspect.InspectConfig(
        dataset="mine",
        data=UPath(tmp_path / "data"),
        format="table",
        annotations=UPath(case / "mine.jsonl"),
        images=UPath(case / "photos"),
    )
    inspect.main(config)
    text = json.dumps(json.loads((config.paths.root / "inspection" / "inspection.json").read_text()))
    assert '"bad_box": {"times": 19, "queries": 19}' in text


@pytest.mark.parametrize("case", ["10-predict-sees-other-pixels", "11-exif-with-broken-value"])
def test_predict_sees_the_pixels_that_ingest_stores(tmp_path: Path, case: str) -> None:
    for path in sorted((CASES / case / "photos").iterdir()):
        stored, size = read_image(path)
        (tmp_path / "stored").write_bytes(stored)
        with Image.open(tmp_path / "stored") as image:
            expected = image.convert("RGB")
        seen = open_image(path)
        assert seen.size == size
        if stored.startswith(b"\x89PNG"):
            assert seen.tobytes() == expected.tobytes(), path


def _predict(folder: Path, **options: Any) -> list[dict[str, Any]]:
    config = predict.PredictConfig(output=folder / "output", data=UPath(folder / "data"), prior="none", **options)
    try:
        predict.main(config)
    except UserError as error:
        assert "have no answer" in str(error)
    return [json.loads(line) for line in (folder / "output" / "predictions.jsonl").read_text().splitlines()]


def test_one_bad_file_among_many_is_listed(tmp_path: Path) -> None:
    photos = shutil.copytree(CASES / "12-predict-folder-one-bad-file" / "photos", tmp_path / "photos")
    (photos / "._a.png").write_bytes(b"x" * 12)
    lines = _predict(tmp_path, image=photos, query=("left cup",))
    assert [(Path(line["image"]).name, "error" in line) for line in lines] == [
        ("a.png", False), ("b.jpg", True), ("c.png", False),
    ]  # fmt: skip


@pytest.mark.parametrize(("case", "num_drawings"), [("13-predict-same-names", 2), ("14-queries-with-bom", 2)])
def test_queries_of_a_file_are_answered_each_with_a_drawing(tmp_path: Path, case: str, num_drawings: int) -> None:
    lines = _predict(tmp_path, image=CASES / case / "photos", queries=CASES / case / "queries.jsonl")
    assert all("box_xyxy" in line for line in lines)
    assert len(list((tmp_path / "output").rglob("*.predicted.png"))) == num_drawings


def test_a_detector_in_a_bin_file_is_read() -> None:
    from dataclasses import replace

    from trainer.config import make_miniature_recipe
    from trainer.model.network import GroundingNetwork
    from trainer.model.pretrained import choose_text_encoder, load_visual
    from workflows.miniature import WEIGHTS

    config = make_miniature_recipe(Path("unused"), (UPath("unused"),)).network
    network = GroundingNetwork(choose_text_encoder(replace(config, use_prior=False), str(WEIGHTS / "bert")))
    folder = CASES / "15-detector-folder-with-bin" / "bin"
    assert load_visual(network, folder).num_tensors == len(torch.load(folder / "pytorch_model.bin", weights_only=True))


def test_bombs_are_refused_by_name_within_seconds() -> None:
    with pytest.raises(SourceError, match=r"refs\(unc\)\.p was not read: it takes too long"):
        read_pickle(CASES / "20-bombs" / "hash_collisions" / "refs(unc).p")
    with pytest.raises(SourceError, match=r"parquet_bomb_33KB\.parquet was not read: it takes too much memory"):
        list(read_table(CASES / "20-bombs" / "parquet_bomb_33KB.parquet", "mine"))


def test_damaged_and_disguised_images_are_named_and_nothing_in_them_runs() -> None:
    for path in sorted((CASES / "images").iterdir()):
        try:
            open_image(path)
        except TrainerError as error:
            assert str(path) in str(error)
