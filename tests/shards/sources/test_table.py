"""Your own tables: JSON lines, CSV and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.schema import find_distractors
from shards.sources.errors import SourceError
from shards.sources.registry import ReaderOptions, read_annotations
from shards.sources.table import Fields, read_table
from tests.shards.annotation_files import write_refer


def _lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_own_annotations_join_queries_of_an_image(tmp_path: Path) -> None:
    boxes = [[0, 0, 4, 4], [5, 0, 9, 4]]
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a.png", "query": "left cup", "box": [0, 0, 4, 4], "category": "Cup", "instances": boxes},
        {"image": "a.png", "query": "right cup", "box": [5, 0, 9, 4], "category": "cup", "instances": boxes},
        {"image": "b.png", "query": "sky", "box": [0, 0, 9, 2], "split": "test"},
    )
    first, second = read_table(path, "own")
    assert [i.box_xyxy for i in first.instances] == [(0, 0, 4, 4), (5, 0, 9, 4)]
    assert [q.instance for q in first.queries] == [0, 1]
    assert (second.split, second.queries[0].instance) == ("test", None)


def test_distractors_are_unknown_unless_every_row_lists_all_objects(tmp_path: Path) -> None:
    boxes = [[0, 0, 4, 4], [5, 0, 9, 4], [10, 0, 14, 4]]
    left = {"query": "left cup", "box": boxes[0], "category": "cup"}
    right = {"query": "right cup", "box": boxes[2], "category": "cup"}
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a.png", **left, "instances": boxes},
        {"image": "b.png", **left},
        {"image": "b.png", **right},
        {"image": "c.png", **left, "instances": boxes},
        {"image": "c.png", **right},
    )
    found = [[find_distractors(sample, query) for query in sample.queries] for sample in read_table(path, "own")]
    assert found == [[[1, 2]], [None, None], [None, None]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", 'image,query,box\na.png,left cup,"[0, 0, 4, 4]"\n'),
        ("own.csv", "\ufeffimage;query;box\r\na.png;left cup;[0, 0, 4, 4]\r\n"),
        ("OWN.CSV", "image;query;box\n./a.png;left cup;[0, 0, 4, 4]\n"),
        ("own.tsv", "image\tquery\tbox\na.png\tleft cup\t[0, 0, 4, 4]\n"),
        ("own.json", '[{"image": "a.png", "query": "left cup", "box": [0, 0, 4, 4]}]'),
        ("own.JSON", '\ufeff\n [\n{"image": "a.png", "query": "left cup",\n "box": [0, 0, 4, 4]}]'),
        ("own.jsonl", '\ufeff{"image": "a.png", "query": "left cup", "box": [0, 0, 4, 4]}\n'),
    ],
)
def test_dialects_of_spreadsheets_and_annotation_tools_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    (sample,) = read_table(tmp_path / name, "own")
    assert (sample.image_name, sample.queries[0].text) == ("a.png", "left cup")
    assert sample.queries[0].box_xyxy == (0, 0, 4, 4)


@pytest.mark.parametrize(("box_format", "box"), [("xywh", [1, 2, 4, 6]), ("cxcywh", [3, 5, 4, 6])])
@pytest.mark.parametrize("one_based", [False, True])
def test_boxes_may_be_a_corner_or_the_center_with_a_size(
    tmp_path: Path, box_format: Literal["xywh", "cxcywh"], box: list[float], one_based: bool
) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a.png", "query": "cup", "box": box})
    (sample,) = read_table(path, "own", fields=Fields(box_format=box_format, one_based=one_based))
    assert sample.queries[0].box_xyxy == ((0, 1, 4, 7) if one_based else (1, 2, 5, 8))


def test_own_annotations_with_other_field_names_are_read_by_them(tmp_path: Path) -> None:
    path = _lines(tmp_path / "own.jsonl", {"file": "a.png", "phrase": "cup", "bbox": [0, 0, 4, 4]})
    with pytest.raises(SourceError, match="line 1: no field 'image'; it has bbox, file, phrase"):
        list(read_table(path, "own"))
    (sample,) = read_table(path, "own", fields=Fields(image="file", query="phrase", box="bbox"))
    assert sample.queries[0].text == "cup"


@pytest.mark.parametrize("content", ["not json\n", '["a list"]\n', '{"image": "a", "query": "b", "box": [1, 2]}\n'])
def test_a_broken_line_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.jsonl").write_text(content)
    with pytest.raises(SourceError, match=r"own\.jsonl"):
        list(read_table(tmp_path / "own.jsonl", "own"))


OWN_ROWS = [
    {"image": "a.png", "query": "left cup", "box": [0, 0, 4, 4], "category": "cup", "split": "test"},
    {"image": "a.png", "query": "red cup, right", "box": [5, 0, 9, 4], "category": "cup", "split": "test"},
]


OWN_CSV = """image,query,box,category,split
a.png,left cup,"[0, 0, 4, 4]",cup,test
a.png,"red cup, right","[5, 0, 9, 4]",cup,test
"""


def test_json_lines_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    lines = _lines(tmp_path / "own.jsonl", *OWN_ROWS)
    (tmp_path / "own.csv").write_text(OWN_CSV, encoding="utf-8-sig")
    pq.write_table(pa.Table.from_pylist(OWN_ROWS), tmp_path / "own.parquet")
    samples = [list(read_table(tmp_path / name, "own")) for name in ("own.jsonl", "own.csv", "own.parquet")]
    assert [[q.text for q in sample.queries] for (sample,) in samples] == [["left cup", "red cup, right"]] * 3
    assert [[q.box_xyxy for q in sample.queries] for (sample,) in samples] == [[(0, 0, 4, 4), (5, 0, 9, 4)]] * 3
    assert [[q.instance for q in sample.queries] for (sample,) in samples] == [[0, 1]] * 3
    assert lines.exists()


def test_a_folder_of_parquet_files_with_lists_of_queries_and_xywh_is_read_by_column_names(tmp_path: Path) -> None:
    rows = [{"file_name": "a.jpg", "captions": ["man left", "left guy"], "bbox": [1.5, 2.0, 3.0, 4.0], "split": "val"}]
    for name in ("val-00000-of-00002.parquet", "val-00001-of-00002.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    named = Fields(image="file_name", query="captions", box="bbox", box_format="xywh")
    (sample,) = read_table(tmp_path, "hub", fields=named)
    assert sample.split == "val"
    assert [q.text for q in sample.queries] == ["man left", "left guy"] * 2
    assert {q.box_xyxy for q in sample.queries} == {(1.5, 2.0, 4.5, 6.0)}  # x + width, y + height
    assert [q.query_id for q in sample.queries] == ["hub-0-0-0", "hub-0-0-1", "hub-1-0-0", "hub-1-0-1"]


def test_a_box_can_stand_in_four_columns(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image,query,x1,y1,x2,y2\na.png,cup,1,2,3.5,4\n")
    (sample,) = read_table(tmp_path / "own.csv", "own", fields=Fields(box="x1,y1,x2,y2"))
    assert sample.queries[0].box_xyxy == (1, 2, 3.5, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.csv", b"image,query,box\na.png,cup\n", r"own\.csv, line 2: the row must have as many fields"),
        ("own.csv", b'image,query,box\na.png,"cup,"[1,2,3,4]"\n', r"own\.csv, line \d"),
        ("own.csv", b"image,query,box\na.png,cup,far left\n", r"line 2: a box is four numbers, got 'far left'"),
        ("own.csv", b"image,query,box\na.png,\xff\xfe,1\n", r"own\.csv, line \d.*UTF-8"),
        ("own.parquet", b"PAR1 and then nothing", r"own\.parquet is damaged, truncated or not a Parquet file"),
        ("own.xlsx", b"PK", r"must end in \.jsonl, \.json, \.csv, \.tsv, \.parquet"),
    ],
)
def test_a_broken_table_is_named_with_its_row(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(read_table(tmp_path / name, "own"))


def test_a_folder_without_tables_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \.parquet file"):
        list(read_table(tmp_path, "own"))
    with pytest.raises(SourceError, match="does not exist"):
        list(read_table(tmp_path / "own.csv", "own"))


def test_names_with_annotation_numbers_mean_the_image(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "coco/COCO_train2014_000000000716_225429.jpg", "query": "cup", "box": [0, 0, 4, 4]},
        {"image": "IMG_716_225429.jpg", "query": "cup", "box": [0, 0, 4, 4]},
    )
    assert [s.image_name for s in read_table(path, "own")] == [
        "coco/COCO_train2014_000000000716.jpg",
        "IMG_716_225429.jpg",
    ]


@pytest.mark.parametrize(("box_format", "box"), [("xyxy", (0, 1, 3, 4)), ("xywh", (0, 1, 3, 5))])
def test_boxes_that_count_from_one_are_read_as_such(tmp_path: Path, box_format: Any, box: tuple[int, ...]) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a.png", "query": "cup", "box": [1, 2, 3, 4]})
    (sample,) = read_table(path, "own", fields=Fields(box_format=box_format, one_based=True))
    assert sample.queries[0].box_xyxy == box


def test_parquet_of_the_hub_has_its_splits_in_the_names_of_files(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "query": "cup", "box": [1.0, 2.0, 3.0, 4.0], "picture": b"x" * 1000}]
    for name in ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    assert [s.split for s in read_table(tmp_path, "hub")] == ["train", "validation"]
    (tmp_path / "train-00000-of-00001.parquet").rename(tmp_path / "part-0.parquet")
    with pytest.raises(SourceError, match=r"part-0\.parquet: several files"):
        list(read_table(tmp_path, "hub"))


def test_images_within_a_tables_are_refused(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": b"x", "path": None}, "query": "cup", "box": [1.0, 2.0, 3.0, 4.0]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"row 0: image holds the image itself; write the images to files"):
        list(read_table(tmp_path / "a.parquet", "hub"))


def test_a_named_field_must_be_there(tmp_path: Path) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a.png", "query": "cup", "box": [0, 0, 4, 4], "label": "cup"})
    with pytest.raises(SourceError, match="no field 'lable' for category; it has box, image, label, query"):
        list(read_table(path, "own", fields=Fields(category="lable")))


def test_one_image_of_thousands_of_rows_is_a_mistake(tmp_path: Path) -> None:
    path = _lines(tmp_path / "own.jsonl", *[{"image": "a.png", "query": "cup", "box": [0, 0, 4, 4]}] * 2001)
    with pytest.raises(SourceError, match=r"2,001 rows say 'a.png'; is image the right field"):
        list(read_table(path, "own"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"size": [float("nan"), 480]}, "line 1: width and height are whole numbers"),
        ({"size": "640x480"}, r"line 1: size is \[width, height\]"),
        ({"query": "left \ud800 cup"}, "is not Unicode"),
        ({"image": "\udfff.png"}, "is not Unicode"),
    ],
)
def test_values_that_no_file_can_hold_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a.png", "query": "cup", "box": [0, 0, 4, 4], **row})
    with pytest.raises(SourceError, match=message):
        list(read_annotations("table", ReaderOptions(path=path, dataset="own")))


@pytest.mark.parametrize(("name", "line"), [("own.csv", 1500), ("own.jsonl", 1500)])
def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path, name: str, line: int) -> None:
    row = b'a.png,cup,"[0, 0, 4, 4]"\n' if name.endswith("csv") else b'{"image": "a", "query": "b", "box": [0,0,1,1]}\n'
    first = b"image,query,box\n" if name.endswith("csv") else row
    content = first + row * (line - 2) + b"caf\xe9\n" + row
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"line {line}: "):
        list(read_table(tmp_path / name, "own"))


def test_rows_of_a_table_are_joined_by_their_annotation(tmp_path: Path) -> None:
    write_refer(tmp_path)
    row = {"image": "photo.png", "query": "left cup", "box": [1, 2, 4, 6], "ann_id": 11}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    asked = ReaderOptions(
        path=tmp_path / "a.jsonl",
        dataset="t",
        instances=tmp_path / "instances.json",
        fields=Fields(annotation="ann_id"),
    )
    (sample,) = read_annotations("table", asked)
    assert (len(sample.instances), sample.queries[0].instance, sample.size) == (2, 0, (10, 8))
    (tmp_path / "a.jsonl").write_text(json.dumps({**row, "ann_id": 99}))
    with pytest.raises(SourceError, match="line 1: annotation 99 is not in"):
        list(read_annotations("table", asked))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('image,query,box,box\na.png,cup,"[0, 0, 4, 4]","[0, 0, 9, 9]"\n')
    with pytest.raises(SourceError, match=r"own\.csv, line 1: two columns are named 'box'"):
        list(read_table(tmp_path / "own.csv", "own"))
