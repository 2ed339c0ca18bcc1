"""A stream of query groups over seven images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shards.reader import SampleReader
from trainer.data.batch import BatchBuilder
from trainer.data.config import AugmentationConfig, ProcessorConfig
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.stream import TrainStream


@pytest.fixture(scope="session")
def run(make_run: Callable[..., Path]) -> Path:
    """Run of seven training and three validation images with three queries each."""
    return make_run(train=7, val=3, num_queries=3)


@pytest.fixture
def stream(run: Path, text_encoder: str) -> TrainStream:
    """Two query groups an image, 14 in all, in batches of four."""
    return TrainStream(
        samples=Samples([SampleReader(run, "train")]),
        batch_builder=BatchBuilder(
            processor=Processor(ProcessorConfig(), load_tokenizer(text_encoder)),
            canvas_px=64,
            prior_dim=6,
            seed=3,
            augmentation=AugmentationConfig(),
        ),
        batch_images=4,
        max_queries=2,
    )
