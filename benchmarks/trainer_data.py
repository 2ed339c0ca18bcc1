"""Data of RefCOCO's kind for ``benchmarks.trainer``: images, queries, shards, and a plain dataset."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pipeline import Item, Job, PlanRow, Stage, run_job
from shards.schema import Instance, Query, Sample
from shards.writer import SampleSink
from trainer.data.config import AugmentationConfig
from trainer.data.processor import Processor
from trainer.data.transforms import transform_for_training

NUM_QUERIES = {2: 41, 3: 53, 4: 31, 5: 177, 6: 696, 7: 17, 8: 80, 9: 169, 10: 18, 11: 57, 12: 74, 13: 10, 14: 12}
NUM_QUERIES |= {15: 28, 16: 4, 17: 11, 18: 4, 19: 3, 20: 5, 21: 3, 22: 1, 24: 3, 25: 1, 26: 1, 27: 1}
"""RefCOCO val: queries to how many of its 1,500 images have so many; 10,834 in all."""

NUM_WORDS = {1: 92, 2: 266, 3: 235, 4: 162, 5: 96, 6: 57, 7: 37, 8: 21, 9: 14, 10: 8, 11: 4, 12: 7}
"""Words per query in RefCOCO val, with their share of queries in thousandths."""

WORDS = (
    "left",
    "right",
    "red",
    "blue",
    "striped",
    "cup",
    "ball",
    "hat",
    "small",
    "large",
    "second",
    "from",
    "the",
    "of",
)
PRIOR_DIM = 512


def sample_histogram(histogram: dict[int, int], random: Random) -> int:
    return random.choices(list(histogram), list(histogram.values()))[0]


def sample_query(random: Random) -> str:
    return " ".join(random.choice(WORDS) for _ in range(sample_histogram(NUM_WORDS, random)))


@cache
def make_image(number: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """Return a JPEG with about as many bytes and as much detail as an image of COCO."""
    noise = np.random.default_rng(number)
    layers = [(noise.integers(0, 256, (side, side, 3)), weight) for side, weight in ((5, 0.55), (40, 0.3), (160, 0.15))]
    image = sum(
        weight * np.asarray(Image.fromarray(values.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), np.float32)
        for values, weight in layers
    )
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_sample(key: str, num_queries: int) -> Sample:
    """Return an image with that many queries about boxes in it."""
    random = Random(key)
    boxes = []
    for _ in range(num_queries):
        x, y = random.uniform(0, 440), random.uniform(0, 300)
        boxes.append((x, y, x + random.uniform(60, 200), y + random.uniform(60, 180)))
    queries = [
        Query(
            query_id=f"{key}-{i}",
            text=sample_query(random),
            boxes_xyxy=(box,),
            split="train",
            source="drawn",
            instances=(i,),
        )
        for i, box in enumerate(boxes)
    ]
    priors = np.random.default_rng(len(key)).standard_normal((num_queries, PRIOR_DIM)).astype(np.float16)
    return Sample(
        key=key,
        width=640,
        height=480,
        image_name=f"{key}.jpg",
        image=make_image(int(key)),
        instances=tuple(Instance(box_xyxy=box, category="cup") for box in boxes),
        queries=tuple(queries),
        priors=priors,
    )


class MakeSamplesStage(Stage[Item, Sample]):
    """Stage that makes the sample of each row."""

    def process(self, items: list[Item]) -> list[Any]:
        return [make_sample(item.key, **item.payload) for item in items]


def write_shards(run: Path, num_images: int, num_queries: int) -> None:
    """Write images of 640 x 480 with so many queries each."""
    rows = [PlanRow(key=f"{i:06d}", payload={"num_queries": num_queries}, group="train") for i in range(num_images)]
    job = Job(
        name="drawn",
        fingerprint={},
        inputs=lambda: rows,
        items_per_shard=64,
        seed=0,
        stages=[MakeSamplesStage()],
        sink=SampleSink(),
    )
    run_job(job, run)


@dataclass(frozen=True, kw_only=True)
class PlainDataset(Dataset[tuple[Tensor, ...]]):
    """Dataset of one query per sample: image opened, decoded, transformed and normalized, query padded to 40 tokens."""

    files: list[Path]
    queries: list[tuple[int, str, tuple[float, float, float, float]]]
    """File, query and box of each sample."""

    processor: Processor
    canvas_px: int
    augmentation: AugmentationConfig

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        number, text, box = self.queries[i]
        with Image.open(self.files[number]) as opened:
            image = opened.convert("RGB")
        boxes = torch.tensor([box])
        transformed = transform_for_training(image, boxes, [text], self.canvas_px, self.augmentation, Random(i))
        pixels = self.processor.normalize(transformed.canvas[None], transformed.padding[None])[0]
        encoded = self.processor.tokenizer(
            transformed.query_texts[0], padding="max_length", truncation=True, max_length=40, return_tensors="pt"
        )
        return (
            pixels,
            transformed.padding,
            encoded["input_ids"][0],
            encoded["attention_mask"][0].bool(),
            transformed.targets[0],
        )


def make_plain_dataset(
    folder: Path, num_images: int, num_queries: int, processor: Processor, canvas_px: int
) -> PlainDataset:
    """Make the images and queries of ``write_shards`` as JPEG files and a list."""
    folder.mkdir(parents=True)
    files, queries = [], []
    for i in range(num_images):
        one = make_sample(f"{i:06d}", num_queries)
        files.append(folder / one.image_name)
        files[-1].write_bytes(one.image)
        queries += [(i, query.text, query.box_xyxy) for query in one.queries]
    Random(0).shuffle(queries)
    return PlainDataset(
        files=files, queries=queries, processor=processor, canvas_px=canvas_px, augmentation=AugmentationConfig()
    )
