"""Annotations compared with the images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from shards.sources.refer import read_refer
from shards.sources.table import read_table
from shards.sources.validation import validate_samples
from tests.shards.annotation_files import write_refer


def _lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_validation_lists_problems_and_keeps_the_rest(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (10, 8)).save(images / "a.png")
    (images / "text.png").write_text("no image")
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a.png", "query": "cup", "box": [0, 0, 4, 4], "category": "cup"},
        {"image": "a.png", "query": "rounded outwards", "box": [-0.5, 0, 10.9, 8]},
        {"image": "a.png", "query": "outside", "box": [5, 5, 50, 50]},
        {"image": "a.png", "query": "no area", "box": [5, 5, 5, 6]},
        {"image": "a.png", "query": " ?! ", "box": [0, 0, 4, 4]},
        {"image": "missing.png", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": "text.png", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": "../own.jsonl", "query": "cup", "box": [0, 0, 4, 4]},
    )
    result = validate_samples(read_table(path, "own"), images)
    (sample,) = result.samples
    assert [(q.text, q.box_xyxy) for q in sample.queries] == [
        ("cup", (0, 0, 4, 4)),
        ("rounded outwards", (0, 0, 10, 8)),
    ]
    assert sorted(problem.rule for problem in result.problems) == [
        "bad_box",
        "bad_box",
        "clipped_box",
        "empty_query",
        "missing_image",
        "outside_images",
        "unreadable_image",
    ]


def test_an_image_of_another_size_than_annotated_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (20, 16)).save(tmp_path / "photo.png")
    result = validate_samples(read_refer(write_refer(tmp_path / "refer"), "unc", "toy"), tmp_path)
    assert result.samples == []
    assert (result.count("other_size"), result.count_queries("other_size")) == (1, 2)


def test_links_out_of_the_folder_of_images_need_leave(tmp_path: Path) -> None:
    images, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    images.mkdir()
    elsewhere.mkdir()
    Image.new("RGB", (10, 8)).save(elsewhere / "a.png")
    (images / "a.png").symlink_to(elsewhere / "a.png")
    (images / "folder").symlink_to(elsewhere)
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a.png", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": "folder/a.png", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": "folder/../../elsewhere/a.png", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": str(elsewhere / "a.png"), "query": "cup", "box": [0, 0, 4, 4]},
    )
    strict, lenient = (
        validate_samples(read_table(path, "own"), images, allow_links=allowed) for allowed in (False, True)
    )
    assert (len(strict.samples), strict.count("outside_images")) == (0, 4)
    assert "--allow-links" in strict.problems[0].detail
    assert (len(lenient.samples), lenient.count("outside_images")) == (2, 2)
    (tmp_path / "link").symlink_to(images)  # the folder itself may be one
    assert validate_samples(read_table(path, "own"), tmp_path / "link", allow_links=True).samples == lenient.samples


def test_an_empty_query_is_counted_whatever_the_table(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    (tmp_path / "own.csv").write_text('image,query,box\r\na.png,,"[0, 0, 4, 4]"\r\na.png,cup,"[0, 0, 4, 4]"\r\n')
    screening = validate_samples(read_table(tmp_path / "own.csv", "own"), tmp_path)
    assert screening.count("empty_query") == 1
    assert [q.text for q in screening.samples[0].queries] == ["cup"]


def test_a_query_that_is_a_whole_file_is_left_out_and_counted(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    row = {"image": "a.png", "box": [0, 0, 4, 4]}
    path = _lines(tmp_path / "own.jsonl", {**row, "query": "x" * 2_001}, {**row, "query": "cup " * 500})
    result = validate_samples(read_table(path, "own"), tmp_path)
    assert result.count_queries("long_query") == 1
    assert "2,001 characters" in result.problems[0].detail
    assert [len(query.text) for query in result.samples[0].queries] == [2_000]


def test_a_name_longer_than_file_systems_allow_is_missing(tmp_path: Path) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a" * 300 + ".png", "query": "cup", "box": [0, 0, 4, 4]})
    assert validate_samples(read_table(path, "own"), tmp_path).count("missing_image") == 1


def test_distractors_are_unknown_where_an_object_was_left_out(tmp_path: Path) -> None:
    folder = write_refer(tmp_path)
    instances = json.loads((folder / "instances.json").read_text())
    images = tmp_path / "pixels"
    images.mkdir()
    Image.new("RGB", (10, 8)).save(images / instances["images"][0]["file_name"])
    row = {"image": "photo.png", "query": "cup", "box": [5, 2, 10, 8], "annotation": 12}
    for bbox, is_complete in ((instances["annotations"][0]["bbox"], True), (None, False)):
        instances["annotations"][0]["bbox"] = bbox
        (folder / "instances.json").write_text(json.dumps(instances))
        samples = read_table(_lines(tmp_path / "own.jsonl", row), "own", instances=folder / "instances.json")
        (sample,) = validate_samples(samples, images).samples
        assert sample.has_all_instances is is_complete
