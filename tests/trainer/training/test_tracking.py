from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.train import train

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def test_trackers_get_figures_and_images(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=1, log_every_steps=1, verification_loss_weight=1.0)
    train(config)
    events = EventAccumulator(str(config.output / "log"))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= {
        "loss", "l1", "giou", "verification", "learning_rate", "grad_norm", "data_wait_s", "queries_per_s",
        "peak_memory_gb", "accuracy", "mean_iou",
    }  # fmt: skip
    assert len(events.Images("predictions")) == 1
    with pytest.raises(TrainerError, match="wandb is not installed; pip install wandb, or use --tracker none"):
        train(replace(config, output=config.output / "other", tracker="wandb"))
