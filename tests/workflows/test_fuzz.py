"""Whole datasets that are wrong in a way that single boxes do not show, and images that are damaged or odd.

``make fuzz`` runs many more cases than the test suite.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from upath import UPath

from shards.boxes import Box
from shards.images import IMAGE_FORMATS, ImageError, decode_rgb_image, read_image
from shards.sources.errors import SourceError
from shards.sources.screening import ABSENCE_RULES, MIN_LARGE_IMAGES
from shards.sources.table import Fields
from tests.fuzzing import damaged, few_fuzzed, time_limit
from trainer.errors import TrainerError
from trainer.predict import Grounder, load_image, open_image
from workflows import inspect
from workflows.app.answers import GroundingSession
from workflows.cli.annotation_options import DEFAULT_MAX_DROPPED
from workflows.cli.console import UserError, console
from workflows.ingest import IngestConfig, read_and_screen
from workflows.inspect import InspectConfig
from workflows.predict import PredictConfig, predict_image

SMALL = [(640, 480), (480, 640), (320, 240), (427, 640), (250, 500)]
LARGE = [(1600, 1300), (1300, 1700), (1900, 1400), (1270, 1600), (2000, 1280)]
SIZES = {f"{side}{number}.png": size for number in range(2) for side, size in zip("abcde", SMALL, strict=True)} | {
    f"{side}{number}.png": size for number in range(2) for side, size in zip("vwxyz", LARGE, strict=True)
}
"""Sizes of the images: of photographs from the web, or of cameras."""


@dataclass(frozen=True)
class Row:
    """Query with its true box xyxy, and the four numbers that are written."""

    number: int
    image: str
    split: str
    box: Box
    written: tuple[float, ...]
    image_id: int
    box_id: int

    @property
    def text(self) -> str:
        return f"cup number {self.number}"


def draw_rows(random: Random, names: list[str]) -> list[Row]:
    """Five queries about each image; every fifth image is of the split val."""
    rows = []
    for image_id, name in enumerate(names, 1):
        for _ in range(5):
            sides = [random.uniform(0.05, 0.5) * extent for extent in SIZES[name]]
            low = [random.uniform(0, extent - side) for extent, side in zip(SIZES[name], sides, strict=True)]
            x1, y1, w, h = (float(round(value)) for value in (*low, *sides))
            width, height = SIZES[name]
            box = (x1, y1, min(x1 + w, float(width)), min(y1 + h, float(height)))
            number = len(rows) + 1
            rows.append(Row(number, name, "train" if image_id % 5 else "val", box, box, image_id, number))
    return rows


def in_format(box: tuple[float, ...], name: str) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    return {
        "xyxy": box,
        "xywh": (x1, y1, x2 - x1, y2 - y1),
        "cxcywh": ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    }[name]


def write_boxes(rows: list[Row], scale: str, box_format: str, swap: bool) -> list[Row]:
    """Write the boxes as fractions, thousandths or thousandfold, in a format, or with the axes in another order."""
    result = []
    for row in rows:
        factors = np.tile(SIZES[row.image], 2)
        scaled = {"pixels": row.box, "0..1": row.box / factors, "0..1000": row.box / factors * 1000}.get(
            scale, np.array(row.box) * 1000
        )
        x, y, z, w = in_format(tuple(map(float, scaled)), box_format)
        result.append(replace(row, written=(y, x, w, z) if swap else (x, y, z, w)))
    return result


def break_split(rows: list[Row], how: str) -> list[Row]:
    """Leave the split val out, or break all its boxes, or name images that are not there."""
    match how:
        case "left out":
            return [row for row in rows if row.split != "val"]
        case "broken":
            return [replace(row, written=(9e4,) * 4) if row.split == "val" else row for row in rows]
        case "missing":
            return [replace(row, image=f"absent-{row.image}") if row.split == "val" else row for row in rows]
    return rows


def repeat_ids(rows: list[Row], which: str) -> list[Row]:
    """Number two halves each from 1, as in two exports that were joined."""
    half = len(rows) // 2
    second = rows[half].image_id - 1
    if "images" in which:
        rows = [*rows[:half], *(replace(row, image_id=row.image_id - second) for row in rows[half:])]
    if "boxes" in which:
        rows = [*rows[:half], *(replace(row, box_id=row.box_id - half) for row in rows[half:])]
    return rows


def repeat_names(rows: list[Row], how: str) -> list[Row]:
    """Write some names of images in another way, or some rows twice."""
    if how == "rows":
        return [*rows, *rows[:7]]
    change: Mapping[str, Callable[[str], str]] = {
        "./": lambda name: f"./{name}",
        "folder": lambda name: f"same/{name}",
        "backslash": lambda name: f"same\\{name}",
        "case": str.upper,
    }
    if how not in change:
        return rows
    return [replace(row, image=change[how](row.image)) if row.number % 3 else row for row in rows]


Source = dict[str, Any]
"""Options of the annotations that a writer returns."""


def _size(row: Row) -> tuple[int, int]:
    return SIZES.get(row.image.rpartition("/")[2].rpartition("\\")[2].removeprefix("absent-").lower(), (10, 10))


def _coco_images(rows: list[Row]) -> list[dict[str, Any]]:
    """An entry for each image; two images of one id keep it."""
    by_name = {row.image: row for row in rows}
    return [
        {"id": row.image_id, "file_name": name, "width": _size(row)[0], "height": _size(row)[1]}
        for name, row in by_name.items()
    ]


def write_refer(folder: Path, rows: list[Row], _: str) -> Source:
    annotations = [
        {"id": row.box_id, "image_id": row.image_id, "category_id": 1, "bbox": row.written, "iscrowd": 0}
        for row in rows
    ]
    coco = {"images": _coco_images(rows), "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}
    refs = [
        {
            "ref_id": row.box_id,
            "ann_id": row.box_id,
            "image_id": row.image_id,
            "split": row.split,
            "sentences": [{"sent": row.text, "sent_id": row.box_id}],
        }
        for row in rows
    ]
    (folder / "instances.json").write_text(json.dumps(coco))
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return {"format": "refer", "annotations": UPath(folder), "split_by": "unc"}


def write_grounding(folder: Path, rows: list[Row], _: str) -> Source:
    """A caption, and so an entry of ``images``, for each query."""
    for split in {row.split for row in rows}:
        own = [row for row in rows if row.split == split]
        content = {
            "images": [
                {
                    "id": row.box_id,
                    "file_name": row.image,
                    "width": _size(row)[0],
                    "height": _size(row)[1],
                    "caption": row.text,
                }
                for row in own
            ],
            "annotations": [
                {"id": row.box_id, "image_id": row.box_id, "bbox": row.written, "tokens_positive": [[0, 3]]}
                for row in own
            ],
        }
        (folder / f"mixed_{split}.json").write_text(json.dumps(content))
    return {"format": "grounding", "annotations": UPath(folder)}


def write_odvg(folder: Path, rows: list[Row], _: str) -> Source:
    for split in {row.split for row in rows}:
        lines = [
            {
                "filename": row.image,
                "width": _size(row)[0],
                "height": _size(row)[1],
                "referring": [{"bbox": row.written, "phrase": row.text}],
            }
            for row in rows
            if row.split == split
        ]
        (folder / f"own_{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {"format": "odvg", "annotations": UPath(folder)}


def _table(rows: list[Row]) -> list[dict[str, Any]]:
    return [
        {"image": row.image, "query": row.text, "box": list(row.written), "split": row.split, "id": row.box_id}
        for row in rows
    ]


def write_json_lines(folder: Path, rows: list[Row], read_as: str) -> Source:
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, _table(rows))))
    return {"format": "table", "annotations": UPath(folder / "own.jsonl"), "fields": Fields(box_format=read_as)}


def write_csv(folder: Path, rows: list[Row], read_as: str) -> Source:
    lines = [f'{r["image"]},{r["query"]},"{json.dumps(r["box"])}",{r["split"]},{r["id"]}' for r in _table(rows)]
    (folder / "own.csv").write_text("image,query,box,split,id\n" + "\n".join(lines))
    return {"format": "table", "annotations": UPath(folder / "own.csv"), "fields": Fields(box_format=read_as)}


def write_parquet(folder: Path, rows: list[Row], read_as: str) -> Source:
    pq.write_table(pa.Table.from_pylist(_table(rows)), folder / "own.parquet")
    return {"format": "table", "annotations": UPath(folder / "own.parquet"), "fields": Fields(box_format=read_as)}


WRITERS: Mapping[str, tuple[Callable[[Path, list[Row], str], Source], str | None]] = {
    "refer": (write_refer, "xywh"),
    "grounding": (write_grounding, "xywh"),
    "odvg": (write_odvg, "xyxy"),
    "json lines": (write_json_lines, None),
    "csv": (write_csv, None),
    "parquet": (write_parquet, None),
}
"""Writer of each kind of annotations, and the format of its boxes; None if an option names it."""

FORMATS = ("xyxy", "xywh", "cxcywh")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "same").mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        for path in (folder / name, folder / "same" / name):
            Image.new("L", size, number).save(path)
    return folder


def test_a_wrong_dataset_stops_or_its_losses_are_listed(images: Path) -> None:
    outcomes: Counter[str] = Counter()

    @few_fuzzed
    @given(st.data())
    def run(data: st.DataObject) -> None:
        write, native = WRITERS[data.draw(st.sampled_from(list(WRITERS)))]
        read_as = native or data.draw(st.sampled_from(FORMATS))
        random = Random(data.draw(st.integers(0, 2**32)))
        names = data.draw(st.sampled_from(["".join("abcde"), "".join("vwxyz")]))
        rows = draw_rows(random, [f"{name}{number}.png" for number in range(2) for name in names])
        truth = {row.text: row for row in rows}
        what = data.draw(st.sets(st.sampled_from(["scale", "format", "swap", "ids", "split", "names"]), max_size=2))
        scale = data.draw(st.sampled_from(["0..1", "0..1000", "x1000"])) if "scale" in what else "pixels"
        written = data.draw(st.sampled_from(FORMATS)) if "format" in what else read_as
        rows = write_boxes(rows, scale, written, "swap" in what)
        if "ids" in what:
            rows = repeat_ids(rows, data.draw(st.sampled_from(["images", "boxes", "images and boxes"])))
        split = data.draw(st.sampled_from(["left out", "broken", "missing"])) if "split" in what else ""
        rows = break_split(rows, split)
        ways = ["./", "folder", "backslash", "case", "rows"]
        rows = repeat_names(rows, data.draw(st.sampled_from(ways)) if "names" in what else "")
        with TemporaryDirectory() as folder:
            source = write(Path(folder), rows, read_as)
            source |= {"dataset": "fuzzed", "images": UPath(images), "data": UPath(folder) / "data"}
            config = IngestConfig(allow_missing_images=data.draw(st.booleans()), **source)
            with time_limit():
                # Thousandths in another format as well: nothing but the truth tells them from pixels of large images.
                is_hidden = scale == "0..1000" and written != read_as and names == "vwxyz"
                outcome = _check_dataset(config, truth, split, is_hidden)
                outcomes[outcome] += 1
                if data.draw(st.integers(0, 29)) == 29:  # it reads each image to its end
                    _check_inspection(InspectConfig(num_images=0, **source), outcome)

    run()
    print(dict(outcomes))  # pytest -s shows it
    assert {"sound", "screened"} <= outcomes.keys()


def _check_dataset(config: IngestConfig, truth: Mapping[str, Row], split: str, is_hidden: bool) -> str:
    """Ingest a dataset as far as its shards, and return the outcome."""
    with console.capture() as captured:
        try:
            samples, validation = read_and_screen(config)
        except (UserError, SourceError) as error:
            assert str(config.annotations) in str(error) or str(config.images) in str(error)
            return "screened" if " are left out" in str(error) or "no box is larger" in str(error) else "stopped"
    output = captured.get()
    left = {query.text: (sample, query) for sample in validation.samples for query in sample.queries}
    missing = sum(problem.num_queries for problem in validation.problems if problem.rule in ABSENCE_RULES)
    num_read = sum(len(sample.queries) for sample in samples)
    num_left = sum(len(sample.queries) for sample in validation.samples)
    dropped = num_read - num_left - missing
    assert sum(problem.num_queries for problem in validation.problems if problem.rule != "clipped_box") >= (
        num_read - num_left
    )
    assert dropped <= DEFAULT_MAX_DROPPED * num_read
    ids = [query.query_id for sample in validation.samples for query in sample.queries]
    assert len(set(ids)) == len(ids)
    if split == "left out":
        assert "there is no split val" in output
        truth = {text: row for text, row in truth.items() if row.split != "val"}
    assert len(truth.keys() - left.keys()) <= dropped + missing
    changed = [
        text
        for text, (sample, query) in left.items()
        if sample.image_name.rpartition("/")[2] != truth[text].image
        or max(abs(a - b) for a, b in zip(query.box_xyxy, truth[text].box, strict=True)) > 3
    ]
    if changed:
        is_hidden |= num_left < MIN_LARGE_IMAGES  # too few boxes to show it, if most images are missing
        assert is_hidden or "warning:" in output, changed[:3]
        return "warned" if "warning:" in output else "hidden"
    return "sound"


def _check_inspection(config: InspectConfig, outcome: str) -> None:
    """Inspect a dataset; what stops ``ingest`` is reported."""
    with console.capture() as captured:
        try:
            inspect.main(config)
        except (UserError, SourceError) as error:
            assert str(config.annotations) in str(error) or str(config.images) in str(error)
            assert outcome == "stopped"
            return
    reports = "the dataset as a whole:" in captured.get()
    assert reports or outcome in ("sound", "stopped", "hidden")


MODES: Mapping[str, tuple[str, ...]] = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
}
"""Modes that each format can hold."""

DISGUISED = (
    b"",
    b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
    b"P6 2 2 255\n" + bytes(12),
    b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\2\0\0\0\2\0\10\0\3" + bytes(40),
    b"\0\0\1\0\1\0\2\2\0\0\1\0\x20\0" + bytes(60),
    b"PK\3\4" + bytes(30),
)
"""Other formats than those that are read: SVG, EPS, PDF, PPM, PSD, ICO, ZIP."""

EXTENTS = (0, 1, 9_000, 30_000, 65_535, 2**31 - 1, 2**32 - 1)
"""Widths and heights for damaged headers."""


def draw_image(data: st.DataObject) -> bytes:
    """An image of any mode and orientation, one whose header gives other sizes, or a file of another format."""
    if data.draw(st.integers(0, 9)) == 9:
        return data.draw(st.sampled_from(DISGUISED))
    kind = data.draw(st.sampled_from(list(MODES)))
    mode = data.draw(st.sampled_from(MODES[kind]))
    pixels = np.random.default_rng(data.draw(st.integers(0, 3))).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(pixels[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 200)
    elif mode in ("YCbCr", "LAB", "CMYK", "P", "1", "L"):
        image = Image.fromarray(pixels[..., :3])
        image = ImageCms.profileToProfile(image, SRGB, LAB, outputMode="LAB") if mode == "LAB" else image.convert(mode)
    else:
        image = Image.fromarray(pixels).convert(mode)
    options: dict[str, Any] = {}
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") and data.draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = data.draw(st.integers(kind == "TIFF", 8 if kind == "TIFF" else 9))  # libtiff writes no others
        options["exif"] = exif
    if kind in ("GIF", "PNG") and mode in ("P", "L", "RGB") and data.draw(st.booleans()):
        options["transparency"] = (1, 2, 3) if mode == "RGB" else 3
    if kind == "TIFF" and mode in ("L", "RGB", "RGBA"):
        options["compression"] = data.draw(st.sampled_from(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    content = bytearray(buffer.getvalue())
    if data.draw(st.integers(0, 4)) == 4:
        _write_extents(content, kind, data.draw(st.sampled_from(EXTENTS)), data.draw(st.sampled_from(EXTENTS)))
    return damaged(data, bytes(content)) if data.draw(st.booleans()) else bytes(content)


SRGB, LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


def _write_extents(content: bytearray, kind: str, width: int, height: int) -> None:
    """Write another width and height into the header."""
    if kind == "PNG":
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif kind == "GIF":
        content[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif kind == "BMP":
        content[18:26] = struct.pack("<II", width, height)
    elif kind == "JPEG":
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)


@pytest.mark.filterwarnings("ignore")
def test_an_odd_image_is_answered_as_training_sees_it_or_named(checkpoint: Path) -> None:
    page = pytest.importorskip("workflows.app.page", reason="the extra app is not installed")
    grounder = Grounder.from_pretrained(checkpoint, "cpu")
    session = GroundingSession(grounder)
    outcomes: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        predict_config = PredictConfig(image=path, query=("cup",), prior="none", output=Path(folder) / "out")

        def answer_by_command() -> Image.Image:
            (record,) = predict_image(grounder, None, path, ("cup",), predict_config)
            assert len(record["box_xyxy"]) == 4
            return grounder.encoded.images[0]

        def open_with_pillow() -> Image.Image:
            try:
                image = Image.open(io.BytesIO(path.read_bytes()), formats=IMAGE_FORMATS)
            except Exception as error:
                raise TrainerError("not our call") from error
            with image:
                return load_image(image)

        readers: Mapping[str, Callable[[], Image.Image]] = {
            "path": lambda: load_image(open_image(path)),
            "Pillow": open_with_pillow,
        }
        answers: Mapping[str, Callable[[], Image.Image]] = {
            "command": answer_by_command,
            "page": lambda: page._predict_answer(session, str(path), "cup", False).image,
        }

        @few_fuzzed
        @given(st.data())
        def run(data: st.DataObject) -> None:
            path.write_bytes(draw_image(data))
            seen = _read_as_training(path)
            outcomes["refused" if seen is None else "answered"] += 1
            ways = readers | answers if data.draw(st.integers(0, 9)) == 9 else readers  # the network takes its time
            for name, answer in ways.items():
                try:
                    with time_limit():
                        image = answer()
                except (TrainerError, page.RefusedQueryError) as error:
                    assert seen is None, f"{name}: {error}"
                    assert name == "Pillow" or str(path) in str(error) or "the image" in str(error)
                else:
                    assert seen is not None, f"{name} answers what training refuses"
                    assert image.mode == "RGB" and image.size == seen.size
                    assert np.array_equal(image, seen), f"{name} shows other pixels"

        run()
    print(dict(outcomes))
    assert set(outcomes) == {"refused", "answered"}


def _read_as_training(path: Path) -> Image.Image | None:
    """Read the pixels that ``ingest`` stores, and a turned JPEG before it is encoded again; None if it refuses."""
    try:
        stored, size = read_image(path)
    except ImageError as error:
        assert str(path) in str(error)
        return None
    content = path.read_bytes()
    image = decode_rgb_image(content)
    assert image.size == size
    if stored == content or not stored.startswith(b"\xff\xd8"):
        assert np.array_equal(image, decode_rgb_image(stored))
    return image
