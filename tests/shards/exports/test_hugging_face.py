"""Exports for the Hub, read back by ``datasets`` and ``webdataset``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds
from datasets import load_dataset
from PIL import Image

from shards.exports import hugging_face
from shards.exports.hugging_face import ParquetExport, WebDatasetExport, format_card
from shards.images import decode_rgb_image, encode_png
from shards.schema import Query, Sample
from tests.shards.toy_samples import make_sample

PROGRAMS: list[dict[str, Any] | None] = [None, {"op": "rank", "rank": 2, "of": {"op": "category"}}]


@pytest.fixture
def samples() -> list[Sample]:
    """Twelve images; a loader that looks at the first ones sees neither a program nor an object."""
    random = np.random.default_rng(0)
    made = []
    for number in range(12):
        about: dict[str, Any] = {"source": "toy", "program": PROGRAMS[number > 8]}
        x = float(random.uniform(0, 4))
        queries = (
            Query(query_id=f"{number}a", text="left cup", boxes_xyxy=((x, 0.1, x + 3, 4),), split="train", **about),
            Query(
                query_id=f"{number}b", text="ball", boxes_xyxy=((0, 5, 4, 8),), split="testA", instances=(2,), **about
            ),
        )
        instances = make_sample().instances if number > 7 else ()
        queries = tuple(replace(query, instances=query.instances if instances else None) for query in queries)
        made.append(make_sample(f"toy-{number}", queries=queries, instances=instances))
    return made


def _write(export: ParquetExport | WebDatasetExport, samples: list[Sample]) -> None:
    for sample in samples:
        export.add(sample)
    export.finish()
    (export.folder / "README.md").write_text(format_card(export, "toy: a #1", {"seed": 0}, "Drawn.", {"no_box": 3}))


def _check(split: Any, samples: list[Sample], number: int) -> None:
    """Check one query of each sample against the rows of its split."""
    rows = list(split)
    assert [row["key"] for row in rows] == [sample.key for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        query = sample.queries[number]
        assert (row["query_ids"], row["queries"]) == ([query.query_id], [query.text])
        assert row["boxes_xyxy"] == [list(query.box_xyxy)]  # bit by bit
        assert row["target_objects"] == [-1 if query.instance is None else query.instance]
        assert [json.loads(program) if program else None for program in row["programs"]] == [query.program]
        assert row["object_categories"] == [instance.category for instance in sample.instances]


def test_datasets_reads_parquet_with_images_programs_and_splits(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugging_face, "ROWS_PER_GROUP", 5)
    monkeypatch.setattr(hugging_face, "FILE_BYTES", 2 * 5 * len(samples[0].image))
    (tmp_path / "toy").mkdir()
    _write(ParquetExport(tmp_path / "toy"), samples)
    assert [path.name for path in sorted((tmp_path / "toy" / "data").glob("train-*"))] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    loaded = load_dataset(str(tmp_path / "toy"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "testA"}
    _check(loaded["train"], samples, 0)
    _check(loaded["testA"], samples, 1)
    assert loaded["train"][0]["image"].size == (10, 8)


def test_datasets_and_webdataset_read_plain_shards(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugging_face, "IMAGES_PER_TAR", 8)
    folder = tmp_path / "toy"
    folder.mkdir()
    _write(WebDatasetExport(folder, "toy"), samples)
    sizes = json.loads((folder / "sizes.json").read_text())
    assert sizes["toy-train-000000.tar"] == 8 and sizes["toy-train-000001.tar"] == 4
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    _check([row["json"] for row in loaded["train"]], samples, 0)
    assert loaded["testA"][3]["png"].size == (10, 8)
    pipeline = wds.WebDataset(str(folder / "toy-train-{000000..000001}.tar"), shardshuffle=False).decode()
    assert [row["json"]["key"] for row in pipeline] == [sample.key for sample in samples]


def test_the_card_counts_what_is_there_and_what_was_left_out(tmp_path: Path) -> None:
    about: dict[str, Any] = {"split": "train", "source": "toy"}
    boxes = ((0, 0, 4, 4), (5, 0, 9, 4))
    queries = [
        Query(query_id=str(number), text="cups", boxes_xyxy=boxes[:number], **about) for number in (0, 0, 1, 2, 2, 2)
    ]
    _write(ParquetExport(tmp_path), [make_sample(queries=tuple(queries[:4])), make_sample(queries=tuple(queries[4:]))])
    card = (tmp_path / "README.md").read_text()
    assert "| split | images | queries | of no target | of several targets | objects |" in card
    assert "| train | 2 | 6 | 2 | 3 | 8 |" in card
    assert "Left out or clipped: no_box 3." in card


def test_all_images_of_plain_shards_have_one_format(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    jpeg, png = (tmp_path / "a.jpg").read_bytes(), encode_png(Image.fromarray(noise))
    for first, second, kind in ((jpeg, png, "jpg"), (png, jpeg, "png")):
        folder = tmp_path / kind
        folder.mkdir()
        export = WebDatasetExport(folder, "toy")
        export.add(make_sample("a", image=first))
        export.add(make_sample("b", image=second))
        export.finish()
        rows = list(wds.WebDataset(str(folder / "toy-train-000000.tar"), shardshuffle=False))
        assert [{"jpg", "png"} & row.keys() for row in rows] == [{kind}] * 2
        assert rows[0][kind] == first
        if kind == "png":  # without loss
            assert decode_rgb_image(rows[1]["png"]).tobytes() == decode_rgb_image(jpeg).tobytes()
