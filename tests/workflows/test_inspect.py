from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from PIL import Image
from upath import UPath

from augmentation.queries.measured_style import load_style
from pipeline import PipelineError
from shards.query_table import read_query_table
from workflows import export, ingest, inspect, pack
from workflows.cli.console import UserError
from workflows.cli.paths import read_lines, write_lines

ROOT = Path(__file__).resolve().parents[2]


REAL = ROOT.parent / "shared" / "real"


needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not at hand")


def _inspect(folder: Path, annotations: Path, images: Path, *more: str) -> dict[str, Any]:
    options = ["toy", "--annotations", str(annotations), "--images", str(images), "--data", str(folder), *more]
    inspect.main(tyro.cli(inspect.InspectConfig, args=options))
    figures: dict[str, Any] = json.loads((folder / "toy" / "inspection" / "inspection.json").read_text())
    return figures


def test_boxes_are_checked_where_the_image_is_missing(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "query": "cup", "box": [0, 0, 50, 50]},
        {"image": "a.png", "query": " ? ", "box": [0, 0, 50, 50]},
        {"image": "missing.png", "query": "cup", "box": [0, 0, 101, 50], "size": [100, 100]},
        {"image": "missing.png", "query": "cup", "box": [0, 0, 200, 50], "size": [100, 100]},
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures = _inspect(tmp_path / "data", tmp_path / "own.jsonl", tmp_path, "--format", "table")
    assert figures["problems"] == {
        "bad_box": {"times": 1, "queries": 1},
        "clipped_box": {"times": 1, "queries": 1},
        "empty_query": {"times": 1, "queries": 1},
        "missing_image": {"times": 1, "queries": 2},
    }
    with Image.open(tmp_path / "data" / "toy" / "inspection" / "samples.png") as sheet:
        green = sum(pixel == (0, 150, 60) for pixel in sheet.convert("RGB").getdata())
    assert green > 100  # the outline of the target


def test_what_cannot_be_inspected_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("")
    with pytest.raises(UserError, match="contains no query"):
        _inspect(tmp_path, tmp_path / "own.jsonl", tmp_path, "--format", "table")
    with pytest.raises(ValueError, match="give a list of names or a folder"):
        inspect.InspectConfig(dataset="miniature", against=tmp_path / "none")
    (tmp_path / "own.jsonl").write_text('{"image": "a.png", "query": "cup", "box": [0, 0, 5, 5]}\n')
    with pytest.raises(UserError, match="is not a folder; pass the folder of the images"):
        _inspect(tmp_path, tmp_path / "own.jsonl", tmp_path / "none", "--format", "table")


@needs_real
def test_real_refcoco_val_has_its_published_counts(tmp_path: Path) -> None:
    figures = _inspect(tmp_path, REAL / "refer" / "refcoco", REAL / "refer" / "images", "--split-by", "unc")
    assert figures["splits"]["val"] == {"queries": 10834, "refs": 3811, "images": 1500, "published_queries": None}
    assert figures["available_images"] == 3
    assert figures["problems"]["missing_image"]["times"] == 1497
    assert figures["words"]["spatial_share"] == pytest.approx(0.66, abs=0.03)
    assert figures["words"]["color_share"] == pytest.approx(0.25, abs=0.02)


COMMANDS = {
    "ingest": ingest.IngestConfig,
    "pack": pack.PackConfig,
    "inspect": inspect.InspectConfig,
    "export": export.ExportConfig,
}


def _commands_of_the_docs() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "datasets.md").read_text() + (ROOT / "README.md").read_text()
    made = re.findall(r'^make (\w+) ARGS="(.*)"$', text, re.MULTILINE)
    run = re.findall(r"^\.venv/bin/python -m workflows\.(\w+) (.*)$", text, re.MULTILINE)
    return sorted({(name, options) for name, options in made + run if name in COMMANDS})


@pytest.mark.parametrize(("name", "options"), _commands_of_the_docs())
def test_commands_of_the_docs_are_understood(name: str, options: str) -> None:
    assert tyro.cli(COMMANDS[name], args=shlex.split(options)).dataset in options  # type: ignore[attr-defined]


def test_images_that_end_too_early_are_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    rows = [{"image": name, "query": "cup", "box": [0, 0, 50, 50]} for name in ("a.jpg", "b.jpg", "b.jpg")]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures = _inspect(tmp_path / "data", tmp_path / "own.jsonl", tmp_path, "--format", "table")
    assert figures["problems"] == {"truncated_image": {"times": 1, "queries": 2}}
    options = ["--dataset", "toy", "--format", "table", "--annotations", str(tmp_path / "own.jsonl")]
    options += ["--images", str(tmp_path), "--data", str(tmp_path / "data")]
    ingest.main(tyro.cli(ingest.IngestConfig, args=options))
    (problem,) = read_lines(UPath(tmp_path / "data" / "toy" / "problems.jsonl"))
    assert (problem["rule"], problem["image"], problem["num_queries"]) == ("truncated_image", "b.jpg", 2)


@pytest.mark.parametrize("dataset", ["a/../../b", "", ".hidden", "a b"])
def test_a_data_set_is_named_like_a_folder(dataset: str) -> None:
    with pytest.raises(ValueError, match="must consist of letters"):
        ingest.IngestConfig(dataset=dataset, annotations=UPath("x"))
    with pytest.raises(ValueError, match="pass refcoco's annotations"):
        ingest.IngestConfig(dataset="refcoco")


def test_lines_of_the_unicode_kind_stay_within_their_query(tmp_path: Path) -> None:
    records = [{"query_id": "1", "text": "left\x85cup\u2028one"}, {"query_id": "2", "text": "b"}]
    write_lines(UPath(tmp_path / "queries.jsonl"), records)
    assert list(read_lines(UPath(tmp_path / "queries.jsonl"))) == records


def test_another_data_set_under_the_same_name_leaves_the_files_of_the_first(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    for name, text in (("one", "left cup"), ("two", "ball")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"image": "a.png", "query": text, "box": [0, 0, 5, 5]}))

    def run(name: str) -> None:
        options = ["--dataset", "toy", "--format", "table", "--annotations", str(tmp_path / f"{name}.jsonl")]
        options += ["--images", str(tmp_path), "--data", str(tmp_path / "data")]
        ingest.main(tyro.cli(ingest.IngestConfig, args=options))

    run("one")
    with pytest.raises(PipelineError, match="planned"):
        run("two")
    assert [r["text"] for r in read_query_table(tmp_path / "data" / "toy" / "queries.parquet")] == ["left cup"]


def test_the_style_of_a_table_is_written_as_numbers(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    row = {"image": "a.png", "query": "left xylophone", "box": [0, 0, 5, 5]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    style = tmp_path / "style.json"
    _inspect(tmp_path, tmp_path / "mine.jsonl", tmp_path, "--format", "table", "--write-style", str(style))
    assert load_style(str(style)).templates == {"{side} {noun}": 1}
    assert "xylophone" not in style.read_text()


def test_a_style_is_measured_on_queries_with_one_target(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    images = [
        {"id": i, "file_name": "a.png", "width": 10, "height": 8, "caption": text, "dataset_name": "mine"}
        for i, text in enumerate(("left dog", "third zebra there"))
    ]
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0], "empty": True},
    ]
    (tmp_path / "mine_train.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]})
    )
    style = tmp_path / "style.json"
    _inspect(tmp_path, tmp_path, tmp_path, "--format", "grounding", "--write-style", str(style))
    assert load_style(str(style)).lengths == {"2": 1}  # without the query that has no target
