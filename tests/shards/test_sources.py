from __future__ import annotations

import collections
import json
import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shards.sources.errors import SourceError
from shards.sources.refer import read_refer
from shards.sources.registry import ReaderOptions, read_annotations
from shards.sources.safe_pickle import read_pickle
from shards.sources.sample import SourceSample
from shards.sources.table import Fields, read_table
from shards.sources.transvg import read_transvg
from shards.sources.validation import validate_samples
from tests.shards.annotation_files import write_refer

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not at hand")


def test_refer_boxes_become_xyxy_and_all_instances_are_kept(tmp_path: Path) -> None:
    (sample,) = read_refer(write_refer(tmp_path), "unc", "toy")
    assert sample.key == "toy-3-val"
    assert sample.image_name == "photo.png"
    assert [(i.box_xyxy, i.category, i.is_crowd) for i in sample.instances] == [
        ((1, 2, 4, 6), "cup", False),
        ((5, 2, 10, 8), "cup", True),
    ]
    assert [(q.query_id, q.text, q.box_xyxy, q.instance) for q in sample.queries] == [
        ("toy-7", "left cup", (1, 2, 4, 6), 0),
        ("toy-8", "small cup", (1, 2, 4, 6), 0),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ann_id": 99}, "ref 0: annotation 99"),
        ({"image_id": 4}, "image 4 is not in"),
        ({"sentences": [{}]}, "sentence 0 has no text"),
        ({"split": 3}, "split must be a string"),
    ],
)
def test_a_broken_ref_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_refer(write_refer(tmp_path, **change), "unc", "toy"))


def test_damaged_annotation_files_are_named(tmp_path: Path) -> None:
    folder = write_refer(tmp_path)
    (folder / "instances.json").write_text('{"images": [')
    with pytest.raises(SourceError, match=r"instances\.json is not a COCO instances file"):
        list(read_refer(folder, "unc", "toy"))
    whole = (folder / "refs(unc).p").read_bytes()
    (folder / "refs(unc).p").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="truncated"):
        list(read_refer(folder, "unc", "toy"))
    with pytest.raises(SourceError, match=r"refs\(google\)\.p does not exist"):
        list(read_refer(folder, "google", "toy"))


@pytest.mark.parametrize(
    ("name", "row", "box"),
    [
        ("unc", ("a.jpg", "1.pth", [1, 2, 3, 4], "left cup", []), (1, 2, 4, 6)),
        ("gref_umd", ("a.jpg", "1.pth", np.array([1.0, 2, 3, 4]), "left cup", []), (1, 2, 4, 6)),
        ("referit", ("a.jpg", "1.pth", [1, 2, 3, 4], "left cup", []), (1, 2, 4, 5)),
        ("flickr", ("a.jpg", [1, 2, 3, 4], "left cup"), (0, 1, 3, 4)),
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
def test_transvg_boxes_follow_their_data_set(
    tmp_path: Path, name: str, row: Any, box: tuple[int, ...], legacy: bool
) -> None:
    torch.save([row], tmp_path / f"{name}_val.pth", _use_new_zipfile_serialization=not legacy)
    (sample,) = read_transvg(tmp_path, name, name)
    (query,) = sample.queries
    assert (query.text, query.box_xyxy, query.split, query.instance) == ("left cup", box, "val", None)


def test_transvg_rows_of_one_image_become_one_sample(tmp_path: Path) -> None:
    rows = [(f"{i % 2}.jpg", "m", [1, 2, 3, 4], f"phrase {i}", []) for i in range(5)]
    torch.save(rows, tmp_path / "unc_val.pth")
    samples = list(read_transvg(tmp_path, "unc", "x"))
    assert [[q.query_id for q in s.queries] for s in samples] == [
        ["x-val-0", "x-val-2", "x-val-4"],
        ["x-val-1", "x-val-3"],
    ]


def test_a_transvg_row_of_another_width_is_named(tmp_path: Path) -> None:
    torch.save([("a.jpg", [1, 2, 3, 4], "left cup")], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match=r"unc_val\.pth, row 0: a row of unc has 5 fields"):
        list(read_transvg(tmp_path, "unc", "x"))


@needs_real
def test_real_files_hold_as_many_queries_as_published() -> None:
    refcoco = list(read_refer(REAL / "refer/refcoco", "unc", "refcoco"))
    assert (len(refcoco), sum(len(s.queries) for s in refcoco)) == (1500, 10834)
    assert len({(s.key, q.instance) for s in refcoco for q in s.queries}) == 3811
    counts = {"unc": 10834, "unc+": 10758, "gref_umd": 4896, "referit": 5842, "flickr": 14433}
    for name, count in counts.items():
        assert sum(len(s.queries) for s in read_transvg(REAL / "transvg" / name, name, name)) == count


class _Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch {marker}", "system"),
        (eval, "open('{marker}', 'w')", "eval"),
        (torch.load, "{marker}", "torch"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_would_run_code_is_refused_by_name(
    tmp_path: Path, function: Any, argument: str, name: str, nested: bool
) -> None:
    marker = tmp_path / "marker"
    evil: Any = _Evil(function, argument.format(marker=marker))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([{"sentences": [evil]}] if nested else evil))
    with pytest.raises(SourceError, match=name):
        read_pickle(tmp_path / "refs(unc).p")
    assert not marker.exists()


def test_pickles_of_python_2_and_numpy_scalars_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.p"
    path.write_bytes(b"(lp0\nS'caf\\xe9'\np1\na.")  # protocol 0, a byte string
    assert read_pickle(path) == ["café"]
    value = {"a": np.float64(1.5), "b": np.arange(3), "c": collections.OrderedDict(x=1)}
    path.write_bytes(pickle.dumps(value, protocol=2))
    read = read_pickle(path)
    assert read == {"a": 1.5, "b": [0, 1, 2], "c": {"x": 1}}


def test_an_array_that_could_hide_pointers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.p"
    path.write_bytes(pickle.dumps(np.array([None, {}], dtype=object), protocol=2))
    with pytest.raises(SourceError, match="arrays of type 'O8'"):
        read_pickle(path)


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
        ("own.csv", b"image,query,box\na.png,cup\n", r"own\.csv, line 2: the row has not as many fields"),
        ("own.csv", b'image,query,box\na.png,"cup,"[1,2,3,4]"\n', r"own\.csv, line \d"),
        ("own.csv", b"image,query,box\na.png,cup,far left\n", r"line 2: a box is four numbers, got 'far left'"),
        ("own.csv", b"image,query,box\na.png,\xff\xfe,1\n", r"own\.csv, line \d.*UTF-8"),
        ("own.parquet", b"PAR1 and then nothing", r"own\.parquet, row 0: not a Parquet file"),
        ("own.xlsx", b"PK", r"must end in \.jsonl, \.json, \.csv, \.parquet"),
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


def test_screening_lists_what_is_left_out_and_keeps_the_rest(tmp_path: Path) -> None:
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
    assert (result.count("other_size"), result.num_queries("other_size")) == (1, 2)


def test_a_source_sample_survives_its_plan(tmp_path: Path) -> None:
    (sample,) = read_refer(write_refer(tmp_path), "unc", "toy")
    assert SourceSample.from_payload(json.loads(json.dumps(sample.to_payload()))) == sample


def test_names_with_annotation_numbers_mean_the_photograph(tmp_path: Path) -> None:
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


def test_names_that_occur_again_are_told_apart(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "own.jsonl",
        {"image": "a b.jpg", "query": "cup", "box": [0, 0, 4, 4], "id": 7},
        {"image": "a_b.jpg", "query": "cup", "box": [0, 0, 4, 4], "id": 7},
        {"image": "a_b.png", "query": "cup", "box": [0, 0, 4, 4], "id": "7-2"},
    )
    samples = list(read_annotations("table", ReaderOptions(path=path, dataset="own")))
    assert [s.key for s in samples] == ["own-a_b-train", "own-a_b-train-2", "own-a_b-train-3"]
    assert [s.queries[0].query_id for s in samples] == ["own-7", "own-7-2", "own-7-2-2"]


def _nested(depth: int) -> bytes:
    """Tuples of two of the last one each, 2 ** depth of them: EMPTY_TUPLE, then DUP and TUPLE2."""
    return b"\x80\x02)" + b"2\x86" * depth


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02]r\xff\xff\xff\x7f.", None),  # a memo of 2 ** 31 places, which Python would lay out
        (_nested(60) + b".", "its parts hold each other over and over"),
        (b"\x80\x02}" + _nested(60)[2:] + b"Ns.", r"a dictionary with the key"),
        (b"\x80\x02]q\x00" + b"h\x00a" * 40 + b".", "its parts hold each other over and over"),
        (b"\x80\x02(cos\nsystem\ni", "os.system"),
        (b"\x80\x02(S'ls'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x02]}b.", "sets the state of a list"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
        (b"\x80\x04\x81.", "instruction 0x81"),
    ],
)
def test_programs_that_would_hang_or_run_are_refused(tmp_path: Path, program: bytes, message: str | None) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(program)
    if message is None:
        assert read_pickle(path) == []
        return
    with pytest.raises(SourceError, match=message):
        read_pickle(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text() | st.integers(), inner, max_size=5)
        ),
        max_leaves=20,
    ),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=300)
def test_plain_values_come_back_from_every_protocol(value: Any, protocol: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "values.p"
        path.write_bytes(pickle.dumps([value, value], protocol=protocol))
        assert read_pickle(path) == [value, value]


def test_parquet_of_the_hub_has_its_splits_in_the_names_of_files(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "query": "cup", "box": [1.0, 2.0, 3.0, 4.0], "picture": b"x" * 1000}]
    for name in ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    assert [s.split for s in read_table(tmp_path, "hub")] == ["train", "validation"]
    (tmp_path / "train-00000-of-00001.parquet").rename(tmp_path / "part-0.parquet")
    with pytest.raises(SourceError, match=r"part-0\.parquet: several files"):
        list(read_table(tmp_path, "hub"))


def test_pictures_within_a_table_are_told_of(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": b"x", "path": None}, "query": "cup", "box": [1.0, 2.0, 3.0, 4.0]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"row 0: image holds the image itself; write the images to files"):
        list(read_table(tmp_path / "a.parquet", "hub"))


def test_an_empty_query_is_counted_whatever_the_table(tmp_path: Path) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    (tmp_path / "own.csv").write_text('image,query,box\r\na.png,,"[0, 0, 4, 4]"\r\na.png,cup,"[0, 0, 4, 4]"\r\n')
    screening = validate_samples(read_table(tmp_path / "own.csv", "own"), tmp_path)
    assert screening.count("empty_query") == 1
    assert [q.text for q in screening.samples[0].queries] == ["cup"]


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


def test_a_name_longer_than_file_systems_allow_is_missing(tmp_path: Path) -> None:
    path = _lines(tmp_path / "own.jsonl", {"image": "a" * 300 + ".png", "query": "cup", "box": [0, 0, 4, 4]})
    assert validate_samples(read_table(path, "own"), tmp_path).count("missing_image") == 1


def test_text_of_numpy_and_parts_that_rows_share_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps([np.str_("left cup"), np.array(["a", "bc"])], protocol=2))
    assert read_pickle(path) == ["left cup", ["a", "bc"]]
    shared = [("r1", ["cup"])] * 8
    path.write_bytes(pickle.dumps([("a.png", shared)] * 1000, protocol=2))
    assert len(read_pickle(path)) == 1000


def test_a_number_too_long_to_be_shown_is_named_all_the_same(tmp_path: Path) -> None:
    torch.save([("a.jpg", "1.pth", [1 << 40_000, 2, 3, 4], "cup", [])], tmp_path / "unc_val.pth")
    with pytest.raises(SourceError, match="row 0: a box is four numbers, got a list that is too long to show"):
        list(read_transvg(tmp_path, "unc", "unc"))
