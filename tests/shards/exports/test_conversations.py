"""Exports for vision-language models, held against the models' own processors where there are some."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from shards.exports.conversations import (
    Florence2Export,
    LlavaExport,
    Qwen3Export,
    Qwen25Export,
    SwiftExport,
)
from shards.exports.export import NO_TARGET, Export
from shards.schema import Query, Sample
from tests.shards.toy_samples import make_png, make_sample

CUP, BALLS = (8.5, 40.0, 120.25, 161.0), ((10.0, 20.0, 30.0, 44.0), (100.0, 90.0, 333.0, 217.0))


@pytest.fixture
def sample() -> Sample:
    """A wide image with a query of one target and one of two, and queries of other splits, one without a target."""
    about: dict[str, Any] = {"split": "train", "source": "toy"}
    queries = (
        Query(query_id="1", text='left "cup"', boxes_xyxy=(CUP,), **about),
        Query(query_id="2", text="beide Bälle", boxes_xyxy=BALLS, **about),
        Query(query_id="3", text="cup", boxes_xyxy=(CUP,), split="val", source="toy"),
        Query(query_id="4", text="car", boxes_xyxy=(), split="none", source="toy"),
    )
    return make_sample(width=333, height=217, image=make_png(333, 217), instances=(), queries=queries)


def _read(export: Export, sample: Sample, name: str = "train.jsonl") -> list[Any]:
    export.add(sample)
    export.finish()
    assert (export.folder / "images" / "toy-1.png").read_bytes() == sample.image
    assert (export.num_queries["train"], export.num_queries["val"]) == (2, 1)
    assert export.num_queries.total() + export.left_out.total() == 4
    text = (export.folder / name).read_text(encoding="utf-8")
    values: list[Any] = json.loads(text) if name.endswith(".json") else list(map(json.loads, text.splitlines()))
    return values


def test_the_answer_says_that_there_is_no_target_or_the_query_is_left_out(tmp_path: Path, sample: Sample) -> None:
    answers = {}
    for kind, name in ((SwiftExport, "none.jsonl"), (Qwen3Export, "none.jsonl"), (LlavaExport, "none.json")):
        (tmp_path / kind.__name__).mkdir()
        (line,) = _read(kind(tmp_path / kind.__name__), sample, name)
        answers[kind] = line["messages"][1]["content"] if "messages" in line else line["conversations"][1]["value"]
    assert answers == {SwiftExport: "There is none.", Qwen3Export: "[]", LlavaExport: "There is none."}
    export = Florence2Export(tmp_path)
    export.add(sample)
    assert export.left_out == {NO_TARGET: 1}


def test_swift_gets_pixels_and_a_placeholder_for_each_box(tmp_path: Path, sample: Sample) -> None:
    one, two = _read(SwiftExport(tmp_path), sample)
    assert one == {
        "messages": [
            {"role": "user", "content": "<image>Locate <ref-object> in the image."},
            {"role": "assistant", "content": "<bbox>"},
        ],
        "images": ["images/toy-1.png"],
        "objects": {"ref": ['left "cup"'], "bbox": [list(CUP)]},
    }
    assert two["messages"][1]["content"] == "<bbox><bbox>"
    assert two["objects"] == {"ref": ["beide Bälle"], "bbox": [list(box) for box in BALLS]}


def test_queries_of_an_image_can_be_rounds_of_one_conversation(tmp_path: Path, sample: Sample) -> None:
    (line,) = _read(SwiftExport(tmp_path, joins_queries=True), sample)
    contents = [message["content"] for message in line["messages"]]
    assert [content.count("<image>") for content in contents] == [1, 0, 0, 0]
    assert sum(content.count("<bbox>") for content in contents) == len(line["objects"]["bbox"]) == 3
    assert sum(content.count("<ref-object>") for content in contents) == len(line["objects"]["ref"]) == 2


def test_qwen3_gets_thousandths(tmp_path: Path, sample: Sample) -> None:
    one, two = (json.loads(line["messages"][1]["content"]) for line in _read(Qwen3Export(tmp_path), sample))
    assert one == [{"bbox_2d": [26, 184, 361, 742], "label": 'left "cup"'}]  # 8.5 / 333, 40 / 217, ...
    assert [answer["label"] for answer in two] == ["beide Bälle"] * 2
    assert two[1]["bbox_2d"] == [300, 415, 1000, 1000]


@pytest.mark.parametrize(("low", "high"), [(3136, 12845056), (3136, 20_000), (400_000, 12845056)])
def test_qwen25_gets_pixels_of_the_image_that_its_processor_makes(
    tmp_path: Path, sample: Sample, low: int, high: int
) -> None:
    line = _read(Qwen25Export(tmp_path, min_pixels=low, max_pixels=high), sample)[1]
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": low, "longest_edge": high}, patch_size=14, merge_size=2)
    made = processor(images=np.zeros((217, 333, 3), np.uint8), return_tensors="np")
    _, rows, columns = made["image_grid_thw"][0]
    (_, ball) = json.loads(line["messages"][1]["content"])
    assert ball["bbox_2d"][2:] == [columns * 14, rows * 14]  # it ends in the corner of the image
    assert ball["bbox_2d"][:2] == [round(100 * columns * 14 / 333), round(90 * rows * 14 / 217)]


def test_an_image_that_qwen_refuses_is_left_out_and_counted(tmp_path: Path) -> None:
    query = Query(query_id="1", text="cup", boxes_xyxy=((0, 0, 1, 1),), split="train", source="toy")
    thin = make_sample(width=201, height=1, image=make_png(201, 1), instances=(), queries=(query,))
    export = Qwen25Export(tmp_path)
    export.add(thin)
    assert export.left_out.total() == 1
    assert not export.num_queries


def test_llava_gets_fractions_of_the_padded_square(tmp_path: Path, sample: Sample) -> None:
    (entry,) = _read(LlavaExport(tmp_path), sample, "train.json")
    assert (entry["id"], entry["image"]) == ("toy-1", "images/toy-1.png")
    human, gpt, human_2, gpt_2 = entry["conversations"]
    assert human["value"].startswith("<image>\nPlease provide the bounding box") and "<image>" not in human_2["value"]
    assert gpt == {"from": "gpt", "value": "[0.03, 0.29, 0.36, 0.66]"}  # y: (40 + 58) / 333, (161 + 58) / 333
    assert gpt_2["value"] == "[0.03, 0.23, 0.09, 0.31], [0.3, 0.44, 1.0, 0.83]"


def test_florence2_reads_its_location_tokens_back(tmp_path: Path, sample: Sample) -> None:
    one, two = _read(Florence2Export(tmp_path), sample)
    assert one["prefix"] == '<CAPTION_TO_PHRASE_GROUNDING>left "cup"'
    assert one["suffix"] == 'left "cup"<loc_25><loc_184><loc_361><loc_741>'
    places = torch.tensor([int(place) for place in re.findall(r"<loc_(\d+)>", two["suffix"])]).reshape(-1, 4)
    reader = Florence2PostProcessor.__new__(Florence2PostProcessor)
    reader.quantize_bins = (1000, 1000)
    assert torch.equal(reader.quantize(torch.tensor(BALLS), size=(333, 217)), places)
    torch.testing.assert_close(
        reader.dequantize(places, size=(333, 217)).float(), torch.tensor(BALLS), atol=1.0, rtol=0
    )
