"""Small sound files of each annotation format, for tests to read, break and mutate."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.io import savemat

from shards.sources.isolated import read_pickle
from shards.sources.registry import AnnotationFormat, ReaderOptions

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"


def write_refer(folder: Path, **changes: Any) -> Path:
    """One 10 x 8 image with two cups, the first referred to twice."""
    folder.mkdir(parents=True, exist_ok=True)
    ref = {
        "ref_id": 5,
        "ann_id": 11,
        "image_id": 3,
        "split": "val",
        "category_id": 1,
        "file_name": "photo_11.jpg",
        "sent_ids": [7, 8],
        "sentences": [{"sent": "left cup", "sent_id": 7}, {"sent": "small cup", "sent_id": 8}],
        **changes,
    }
    coco = {
        "images": [{"id": 3, "file_name": "photo.png", "width": 10, "height": 8}],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 12, "image_id": 3, "category_id": 1, "bbox": [5, 2, 5, 6], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "Cup"}],
    }
    (folder / "refs(unc).p").write_bytes(pickle.dumps([ref], protocol=2))
    (folder / "instances.json").write_text(json.dumps(coco))
    return folder


def write_gref(folder: Path, *refs: Mapping[str, Any]) -> Path:
    """One 10 x 8 image with two cups in gRefCOCO's layout, and a query for each ref."""
    write_refer(folder)
    about = {"image_id": 3, "split": "val", "file_name": "photo.png"}
    written = [
        {**about, "ref_id": i, "sentences": [{"sent": f"query {i}", "sent_id": i}], **ref} for i, ref in enumerate(refs)
    ]
    (folder / "refs(unc).p").unlink()
    (folder / "grefs(unc).json").write_text(json.dumps(written))
    return folder


def _refer(folder: Path) -> ReaderOptions:
    """Part of the real RefCOCO where it is at hand."""
    write_refer(folder)
    real = REAL / "refer" / "refcoco"
    if real.is_dir():
        refs = read_pickle(real / "refs(unc).p")[:12]
        images, annotations = {ref["image_id"] for ref in refs}, {ref["ann_id"] for ref in refs}
        coco = json.loads((real / "instances.json").read_text())
        coco["images"] = [image for image in coco["images"] if image["id"] in images]
        coco["annotations"] = [annotation for annotation in coco["annotations"] if annotation["id"] in annotations]
        coco["categories"] = [{"id": c, "name": f"c{c}"} for c in {a["category_id"] for a in coco["annotations"]}]
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
        (folder / "instances.json").write_text(json.dumps(coco))
    return ReaderOptions(path=folder, dataset="refcoco", split_by="unc")


def _gref(folder: Path) -> ReaderOptions:
    write_gref(folder, {"ann_id": [-1]}, {"ann_id": [11]}, {"ann_id": [11, 12]})
    return ReaderOptions(path=folder, dataset="grefcoco", split_by="unc")


def _transvg(folder: Path) -> ReaderOptions:
    rows: list[Any] = [("photo.png", "11.pth", [1, 2, 3, 4], "left cup", [("r1", ["cup"])])]
    real = REAL / "transvg" / "unc" / "unc_val.pth"
    if real.is_file():
        rows = [tuple(row) for row in read_pickle(real)[:12]]
    torch.save(rows, folder / "unc_val.pth")
    torch.save(rows, folder / "unc_testA.pth", _use_new_zipfile_serialization=False)
    return ReaderOptions(path=folder, dataset="unc", split_by="unc")


def _flickr30k(folder: Path) -> ReaderOptions:
    (folder / "Sentences").mkdir()
    (folder / "Annotations").mkdir()
    (folder / "val.txt").write_text("77\n")
    (folder / "Sentences" / "77.txt").write_text(
        "[/EN#1/people Two men] look at [/EN#2/animals a dog] .\n[/EN#0/notvisual It] barks .\n"
    )
    (folder / "Annotations" / "77.xml").write_text(
        "<annotation><filename>77.jpg</filename><size><width>10</width><height>8</height></size>"
        "<object><name>1</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>8</ymax></bndbox></object>"
        "<object><name>1</name><name>2</name>"
        "<bndbox><xmin>5</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
    )
    return ReaderOptions(path=folder, dataset="flickr30k")


def _referit(folder: Path) -> ReaderOptions:
    (folder / "mask").mkdir()
    (folder / "referit_query_val.json").write_text(json.dumps({"1_1": ["left cup"], "1_2": ["the sky", "sky"]}))
    for region, compressed in ((1, False), (2, True)):
        mask = np.full((8, 10), 255, np.uint8)
        mask[2:6, region : region + 3] = 0
        savemat(str(folder / "mask" / f"1_{region}.mat"), {"segimg_t": mask}, do_compression=compressed)
    return ReaderOptions(path=folder, dataset="referit")


def _grounding(folder: Path) -> ReaderOptions:
    image = {"file_name": "photo.png", "height": 8, "width": 10, "caption": "two cups and a ball"}
    content = {
        "images": [{"id": 1, **image, "dataset_name": "flickr"}, {"id": 2, **image, "dataset_name": "refcoco"}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [1, 1, 3, 4], "tokens_positive": [[0, 8]]},
            {"id": 2, "image_id": 1, "bbox": [5, 1, 3, 4], "tokens_positive": [[0, 8], [13, 19]]},
            {"id": 3, "image_id": 2, "bbox": [5, 1, 3, 4], "tokens_positive": [[4, 8]]},
        ],
    }
    (folder / "mixed_val.json").write_text(json.dumps(content))
    return ReaderOptions(path=folder, dataset="grounding")


def _odvg(folder: Path) -> ReaderOptions:
    about = {"filename": "photo.png", "height": 8, "width": 10}
    box = [1, 1, 4, 5]
    lines = [
        {**about, "grounding": {"caption": "a cup", "regions": [{"bbox": [box, box], "phrase": ["a cup", "cup"]}]}},
        {**about, "referring": [{"bbox": box, "phrase": "left cup"}]},
        {**about, "detection": {"instances": [{"bbox": box, "category": "cup", "label": 0}]}},
    ]
    (folder / "refcoco_val.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ReaderOptions(path=folder, dataset="odvg")


_ROWS = [
    {"image": "photo.png", "query": "left cup", "box": [1, 1, 4, 5], "category": "cup", "split": "val"},
    {"image": "photo.png", "query": "right cup", "box": [5, 1, 9, 5], "category": "cup", "instances": [[1, 1, 4, 5]]},
    {"image": "photo.png", "query": ["cup", "it"], "box": [5, 1, 9, 5], "size": [32, 24], "id": 4},
]


def _json_lines(folder: Path) -> ReaderOptions:
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    return ReaderOptions(path=folder / "own.jsonl", dataset="own")


def _csv(folder: Path) -> ReaderOptions:
    (folder / "own.csv").write_text('image,query,box,category\nphoto.png,"left cup, near","[1, 1, 4, 5]",cup\n')
    return ReaderOptions(path=folder / "own.csv", dataset="own")


def _parquet(folder: Path) -> ReaderOptions:
    pq.write_table(pa.Table.from_pylist(_ROWS[:2] * 3), folder / "own.parquet")
    return ReaderOptions(path=folder / "own.parquet", dataset="own")


def _joined(folder: Path) -> ReaderOptions:
    """TransVG's rows beside COCO's instances."""
    write_refer(folder)
    torch.save([("photo.png", "11.pth", [1, 2, 3, 4], "left cup", [])], folder / "unc_val.pth")
    return ReaderOptions(path=folder, dataset="unc", split_by="unc", instances=folder / "instances.json")


def _joined_captions(folder: Path) -> ReaderOptions:
    """MDETR's kind of JSON beside COCO's instances."""
    write_refer(folder)
    (folder / "captions").mkdir()
    image = {"id": 1, "file_name": "photo.png", "height": 8, "width": 10, "caption": "left cup"}
    annotation = {"id": 5, "image_id": 1, "bbox": [1, 2, 3, 4], "original_id": 11, "tokens_positive": [[5, 8]]}
    content = {"images": [image], "annotations": [annotation]}
    (folder / "captions" / "refcoco_val.json").write_text(json.dumps(content))
    return ReaderOptions(path=folder / "captions", dataset="r", instances=folder / "instances.json")


SOUND: Mapping[str, tuple[AnnotationFormat, Callable[[Path], ReaderOptions]]] = {
    "refer": ("refer", _refer),
    "gref": ("refer", _gref),
    "transvg": ("transvg", _transvg),
    "transvg and instances": ("transvg", _joined),
    "grounding and instances": ("grounding", _joined_captions),
    "flickr30k": ("flickr30k", _flickr30k),
    "referit": ("referit", _referit),
    "grounding": ("grounding", _grounding),
    "odvg": ("odvg", _odvg),
    "json lines": ("table", _json_lines),
    "csv": ("table", _csv),
    "parquet": ("table", _parquet),
}
"""Name to the format, and what writes sound files of it into an empty folder."""


def encoded(kind: str) -> bytes:
    """A small image of the formats that are read."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()
