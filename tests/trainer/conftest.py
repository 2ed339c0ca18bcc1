"""A dataset of colored squares, and a network small enough to overfit it in seconds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import BertConfig, BertTokenizer

from pipeline import Item, Job, MapStage, PlanRow, Stage, run_job
from shards.crop_features import CropFeatureSink, InstanceCrops
from shards.reader import SampleReader
from shards.schema import Instance, Query, Sample
from shards.writer import SampleSink
from trainer.config import TrainConfig
from trainer.data.config import AugmentationConfig
from trainer.data.places import PLACE_WORDS
from trainer.model.config import BackboneConfig, NetworkConfig
from trainer.training.optimizer import OptimizationConfig

COLORS = ("red", "green", "blue", "yellow")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *COLORS, "square", "##most", *PLACE_WORDS)
PRIOR_DIM = 6
STILL = AugmentationConfig(
    long_sides=(1.0,), crop_probability=0, jitter_probability=0, flip_probability=0, random_placement=False
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def squares_sample(
    key: str,
    split: str = "train",
    with_priors: bool = True,
    num_queries: int = 2,
    num_without_target: int = 0,
    num_for_both: int = 0,
) -> Sample:
    """A 60 x 40 image of two squares of 16 px, side by side; which colors and where follows from the key.

    Queries without a target come before the others, those for both squares after them.
    """
    random = np.random.RandomState(sum(key.encode()))
    image = Image.new("RGB", (60, 40), "grey")
    first, second = random.permutation(len(COLORS))[:2]
    boxes = []
    for x0, color in ((2, first), (32, second)):
        x, y = x0 + int(random.randint(0, 8)), int(random.randint(0, 20))
        boxes.append((x, y, x + 16, y + 16))
        ImageDraw.Draw(image).rectangle((x, y, x + 15, y + 15), fill=COLORS[color])
    texts = [f"{COLORS[first]} square", f"the {COLORS[second]} square", "left square", "rightmost square"]
    queries = tuple(
        Query(
            query_id=f"{key}-{i}",
            text=texts[i],
            boxes_xyxy=(boxes[i % 2],),
            split=split,
            source="squares",
            instances=(i % 2,),
        )
        for i in range(num_queries)
    )
    none = tuple(
        Query(query_id=f"{key}-none-{i}", text="third square", boxes_xyxy=(), split=split, source="squares")
        for i in range(num_without_target)
    )
    both = tuple(
        Query(
            query_id=f"{key}-both-{i}",
            text="both squares",
            boxes_xyxy=tuple(boxes),
            split=split,
            source="squares",
            instances=(0, 1),
        )
        for i in range(num_for_both)
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    priors = random.standard_normal((num_queries, PRIOR_DIM)).astype(np.float16)
    before, after = (np.zeros((count, PRIOR_DIM), np.float16) for count in (num_without_target, num_for_both))
    priors = np.concatenate([before, priors, after])
    return Sample(
        key=key,
        width=60,
        height=40,
        image_name=f"{key}.png",
        image=buffer.getvalue(),
        instances=tuple(Instance(box_xyxy=box, category="square") for box in boxes),
        queries=none + queries + both,
        priors=priors if with_priors else None,
    )


class MakeSquares(Stage[Item, Sample]):
    """Draws the sample of each row."""

    def process(self, items: list[Item]) -> list[Any]:
        return [squares_sample(item.key, **item.payload) for item in items]


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Makes a finished run of samples: ``make_run(train=4, val=2, with_priors=True, num_queries=2)``."""

    def make(
        *,
        with_priors: bool = True,
        num_queries: int = 2,
        num_without_target: int = 0,
        num_for_both: int = 0,
        **splits: int,
    ) -> Path:
        rows = [
            PlanRow(
                key=f"{split}-{i}",
                payload={
                    "split": split,
                    "with_priors": with_priors,
                    "num_queries": num_queries,
                    "num_without_target": num_without_target,
                    "num_for_both": num_for_both,
                },
                group=split,
            )
            for split, count in sorted(splits.items())
            for i in range(count)
        ]
        run = tmp_path_factory.mktemp("run") / "samples"
        run_job(
            Job(
                name="squares",
                fingerprint={},
                inputs=lambda: rows,
                items_per_shard=4,
                seed=0,
                stages=[MakeSquares()],
                sink=SampleSink(),
            ),
            run,
        )
        return run

    return make


class MakeSquareCrops(MapStage[Item, InstanceCrops]):
    """Gives each square one feature for its color, with a little noise in all views but the first."""

    def process_item(self, item: Item) -> InstanceCrops:
        random = np.random.RandomState(sum(item.key.encode()))
        features = np.zeros((2, 3, PRIOR_DIM), np.float32)  # of both squares
        for i, text in enumerate(item.payload["texts"][:2]):
            features[i, :, COLORS.index(next(word for word in text.split() if word in COLORS))] = 1
        features[:, 1:] += 0.05 * random.standard_normal(features[:, 1:].shape)
        unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
        return InstanceCrops(key=item.key, features=unit.astype(np.float16))


@pytest.fixture(scope="session")
def make_crops(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Makes the crop features of a run of ``make_run``; each sample has at least two queries."""

    def make(samples: Path) -> Path:
        reader = SampleReader(samples)
        rows = [
            PlanRow(key=one.key, payload={"texts": [query.text for query in one.queries]}, group="train")
            for one in reader
        ]
        run = tmp_path_factory.mktemp("crops") / "crop_features"
        run_job(
            Job(name="crops", fingerprint={}, inputs=lambda: rows, stages=[MakeSquareCrops()], sink=CropFeatureSink()),
            run,
        )
        return run

    return make


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a small BERT's configuration and tokenizer, without weights."""
    folder = tmp_path_factory.mktemp("bert")
    BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    ).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tiny_network() -> NetworkConfig:
    """64 px, 4 x 4 features."""
    return NetworkConfig(
        image_size_px=64,
        backbone=BackboneConfig(block="basic", stem_width=8, widths=(8, 16, 24), depths=(1, 1, 1), num_frozen_stages=0),
        width=32,
        num_heads=2,
        feedforward_width=64,
        num_encoder_layers=1,
        num_stages=2,
        num_text_layers=2,
        add_position_to_features=True,
        mask_padding=True,
        prior_dim=PRIOR_DIM,
        dropout=0.1,
    )


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_network: NetworkConfig, text_encoder: str) -> Callable[..., TrainConfig]:
    """Makes a training configuration of a small network: ``tiny_config(train=(run,), epochs=2)``."""

    def make(**changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "output": tmp_path / "training",
            "text_encoder": text_encoder,
            "text_from_scratch": True,
            "network": tiny_network,
            "augmentation": AugmentationConfig(),
            "optimization": OptimizationConfig(
                learning_rate=1e-3, pretrained_learning_rate=1e-3, freeze_epochs=0, max_grad_norm=1.0
            ),
            "epochs": 2,
            "batch_images": 4,
            "max_queries": 2,
            "num_workers": 0,
            "log_every_steps": 1000,
        }
        return TrainConfig(**{**values, **changes})

    return make


@pytest.fixture
def overfitting_config(tiny_config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """Makes a training that learns a few samples by heart: ``overfitting_config(run, epochs=80, max_queries=2)``.

    Further arguments are fields of the network.
    """

    def make(run: Path, *, epochs: int, max_queries: int, **network: Any) -> TrainConfig:
        config = tiny_config(
            train=(run,),
            validate_split="train",
            validate_every_epochs=1000,
            augmentation=STILL,
            epochs=epochs,
            max_queries=max_queries,
            verification_loss_weight=1.0,
            save_every_steps=10_000,
            optimization=OptimizationConfig(
                learning_rate=3e-3,
                pretrained_learning_rate=3e-3,
                freeze_epochs=0,
                max_grad_norm=1.0,
                schedule="cosine",
                warmup_steps=10,
            ),
        )
        return replace(config, network=replace(config.network, dropout=0.0, **network))

    return make
