from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from upath import UPath

from shards.sources.errors import SourceError
from trainer.errors import TrainerError
from trainer.predict import Grounder
from workflows.cli.console import UserError
from workflows.predict import PredictConfig, main, read_queries


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, color in (("a.png", "red"), ("b.jpg", "blue")):
        Image.new("RGB", (64, 48), color).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def _config(checkpoint: Path, tmp_path: Path, **changes: Any) -> PredictConfig:
    values: dict[str, Any] = {"checkpoint": checkpoint, "data": UPath(tmp_path / "data"), "output": tmp_path / "output"}
    return PredictConfig(**{**values, **changes})


def _lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "output" / "predictions.jsonl").open(encoding="utf-8")]


def test_each_query_is_asked_of_each_image_of_a_folder(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(_config(checkpoint, tmp_path, image=photos, query=("left cup", "red cup"), prior="none"))
    lines = _lines(tmp_path)
    assert [(Path(line["image"]).name, line["query"]) for line in lines] == [
        (name, query) for name in ("a.png", "b.jpg") for query in ("left cup", "red cup")
    ]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines
    assert all(0 <= value <= 64 for line in lines for value in line["box_xyxy"])
    assert {line["prior"] for line in lines} == {"none"}
    for name in ("a.png", "b.jpg"):
        with Image.open(tmp_path / "output" / f"{name}.predicted.png") as shown:
            assert shown.size == (320, 240)


def test_words_that_the_training_never_had_are_said_plainly(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ("left person [b]", "left cup")
    main(_config(Path("miniature"), tmp_path, image=photos, query=queries, prior="none"))
    assert [line["unseen_words"] for line in _lines(tmp_path)] == [["person", "b"], []] * 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("the training data of this network never had person, b (left person [b]); do not rely on") == 1
    grounder = Grounder.from_pretrained("miniature")
    grounder.set_image(photos / "a.png")
    prediction = grounder.predict("person")
    assert prediction.describe_unseen_words().startswith('The training data of this network never had "person"; do')
    assert grounder.predict("cup").describe_unseen_words() == "" and prediction.to_dict()["unseen_words"] == ("person",)


def test_a_file_of_queries_asks_each_of_its_image(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    lines = '{"image": "b.jpg", "query": "left\u2028cup"}\n\n{"image": "b.jpg", "query": "red cup"}\n'
    queries.write_text(lines, encoding="utf-8")
    main(_config(checkpoint, tmp_path, image=photos, queries=queries, prior="none"))
    assert [(Path(line["image"]).name, line["query"]) for line in _lines(tmp_path)] == [
        ("b.jpg", "left\u2028cup"), ("b.jpg", "red cup"),
    ]  # fmt: skip


def test_a_prior_is_drawn_or_left_out_and_changes_the_answer(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    boxes = {}
    for mode, origin in (("auto", "generated"), ("cached", "none")):
        main(_config(checkpoint, tmp_path, image=photos / "a.png", query=("left red cup",), prior=mode))
        (line,) = _lines(tmp_path)
        assert (line["prior"], line["prompt"]) == (origin, "a red cup")
        assert set(line["seconds_of_image"]) == {"priors", "network"}
        boxes[mode] = line["box_xyxy"]
    assert boxes["auto"] != boxes["cached"]


def test_a_damaged_image_among_others_is_listed_and_the_others_answered(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "some")
    (folder / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    (folder / "._a.png").write_bytes(b"macOS")
    config = _config(checkpoint, tmp_path, image=folder, query=("cup",), prior="none")
    with pytest.raises(UserError, match=r"1 of 3 images have no answer, see predictions\.jsonl: .*aa\.png"):
        main(config)
    answers = {Path(line["image"]).name: line.get("box_xyxy", line.get("error")) for line in _lines(tmp_path)}
    assert list(answers) == ["a.png", "aa.png", "b.jpg"] and "is not a JPEG" in answers["aa.png"]
    assert len(answers["a.png"]) == len(answers["b.jpg"]) == 4


def test_images_of_one_name_in_two_folders_have_a_drawing_each(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    for name, photo in (("left", "a.png"), ("right", "b.jpg")):
        (tmp_path / "some" / name).mkdir(parents=True)
        shutil.copy(photos / photo, tmp_path / "some" / name / "frame.png")
    queries = tmp_path / "queries.jsonl"
    rows = [json.dumps({"image": f"{name}/frame.png", "query": "cup"}) for name in ("left", "right")]
    queries.write_text("\ufeff" + "\n".join(rows), encoding="utf-8")  # with the mark of editors of Windows
    main(_config(checkpoint, tmp_path, image=tmp_path / "some", queries=queries, prior="none"))
    left, right = ((tmp_path / "output" / name / "frame.png.predicted.png").read_bytes() for name in ("left", "right"))
    assert left != right


def test_maps_are_drawn_for_each_query(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    main(_config(checkpoint, tmp_path, image=photos / "a.png", query=("left cup", "cup"), prior="none", maps=True))
    for number in (0, 1):
        with Image.open(tmp_path / "output" / f"a.png.{number}.maps.png") as sheet:
            assert sheet.width > 800 and len(sheet.getcolors(1 << 20) or []) > 50


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.png"}', "line 1: expected .* got"),
        ("left cup", "line 1: a line is one JSON object"),
        ('{"image": "a.png", "query": " ?"}', "line 1: the query is empty"),
        ('{"image": "c.png", "query": "cup"}', "line 1: .*c.png does not exist"),
        ('{"image": "../../etc/passwd", "query": "cup"}', "line 1: .* is outside"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(
    checkpoint: Path, photos: Path, tmp_path: Path, line: str, message: str
) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(line + "\n")
    with pytest.raises((UserError, SourceError), match=message):
        read_queries(_config(checkpoint, tmp_path, image=photos, queries=queries))


def test_queries_and_images_must_be_there(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pass either --query or --queries"):
        _config(checkpoint, tmp_path, image=photos)
    with pytest.raises(UserError, match="the query is empty"):
        read_queries(_config(checkpoint, tmp_path, image=photos, query=("  ",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainerError, match="contains no image"):
        read_queries(_config(checkpoint, tmp_path, image=tmp_path / "empty", query=("dog",)))
    with pytest.raises(TrainerError, match="does not exist; pass an image"):
        read_queries(_config(checkpoint, tmp_path, image=tmp_path / "absent", query=("dog",)))
