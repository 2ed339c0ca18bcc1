"""The presence head: training, evaluation and prediction with queries that have no target."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.images import decode_rgb_image
from shards.reader import SampleReader
from trainer.config import TrainConfig
from trainer.data.batch import WHOLE_CANVAS, Batch, BatchBuilder
from trainer.data.config import AugmentationConfig, ProcessorConfig
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.sampler import QueryGroup
from trainer.evaluate import GENERALIZED, EvaluateConfig, evaluate
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork, GroundingOutput
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder
from trainer.train import train
from trainer.training.losses import compute_box_losses
from trainer.training.optimizer import OptimizationConfig
from trainer.training.step_losses import StepCounts, StepLosses

MakeRun = Callable[..., Path]

STILL = AugmentationConfig(
    long_sides=(1.0,), crop_probability=0, jitter_probability=0, flip_probability=0, random_placement=False
)


def _build_batch(samples: Samples, text_encoder: str, *queries: int, augments: bool = False) -> Batch:
    builder = BatchBuilder(
        processor=Processor(ProcessorConfig(), load_tokenizer(text_encoder)),
        canvas_px=64,
        prior_dim=None,
        augmentation=AugmentationConfig(crop_probability=1.0) if augments else None,
    )
    return builder.build_batch(samples, [QueryGroup(sample=0, queries=queries)])


def test_the_head_is_an_option_of_the_network_and_leaves_the_rest_alone(
    tiny_network: NetworkConfig, text_encoder: str
) -> None:
    tiny_network = choose_text_encoder(tiny_network, text_encoder)
    plain, config = GroundingNetwork(tiny_network), replace(tiny_network, presence=True)
    added = GroundingNetwork(config).state_dict().keys() - plain.state_dict().keys()
    assert added == {"presence_head.weight", "presence_head.bias"}
    assert "presence" not in tiny_network.to_json() and NetworkConfig.from_json(config.to_json(), "") == config


def test_a_batch_masks_the_queries_without_a_target(make_run: MakeRun, text_encoder: str) -> None:
    run = make_run(train=1, num_queries=2, num_without_target=1)
    samples = Samples([SampleReader(run)], keep_without_target=True)
    assert samples.runs == [[3]] and samples.num_left_out == 0
    batch, plain = (
        _build_batch(samples, text_encoder, 1, 0, 2),
        _build_batch(Samples([SampleReader(run)]), text_encoder, 0, 1),
    )
    assert batch.has_target.tolist() == [True, False, True] and batch.num_without_target == 1
    assert torch.equal(batch.targets[[0, 2]], plain.targets) and batch.targets[1].tolist() == list(WHOLE_CANVAS)
    assert plain.has_target is None and plain.num_without_target == 0
    alone = _build_batch(samples, text_encoder, 0, augments=True)
    assert alone.has_target.tolist() == [False] and alone.targets.tolist() == [list(WHOLE_CANVAS)]


def test_queries_without_a_target_have_the_presence_loss_alone(make_run: MakeRun, text_encoder: str) -> None:
    run = make_run(train=1, num_queries=1, num_without_target=1)
    batch = _build_batch(Samples([SampleReader(run)], keep_without_target=True), text_encoder, 0, 1)
    output = GroundingOutput(
        boxes=torch.full((2, 2, 4), 0.5),
        scores=torch.ones(2, 4),
        padding=torch.zeros(2, 4, dtype=torch.bool),
        presence=torch.tensor([0.0, 0.0]),
    )
    losses = StepLosses(verification_loss_weight=0.0, exemplars=None)
    counts = StepCounts(*losses.count([batch]))
    assert [int(count) for count in counts] == [1, 2, 0]
    computed = losses.compute(output, batch, counts._replace(instances=torch.tensor(1.0)), None)
    of_target = compute_box_losses(output.boxes[:, 1:], batch.targets[1:]).per_query[0]
    assert computed["presence"].item() == pytest.approx(0.693147, abs=1e-5)  # log 2, of both
    torch.testing.assert_close(computed["loss"], of_target + computed["presence"])


def test_a_network_learns_which_squares_are_there(
    make_run: MakeRun, tiny_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    run = make_run(train=8, num_queries=2, num_without_target=1)
    config = tiny_config(
        train=(run,),
        validate_split="train",
        validate_every_epochs=1000,
        augmentation=STILL,
        epochs=80,
        max_queries=3,
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
    config = replace(config, network=replace(config.network, presence=True, dropout=0.0))
    history = train(config)["history"]
    scores = history[-1]["generalized"]
    assert (scores["num_queries"], scores["num_without_target"]) == (24, 8)
    assert scores["n_acc"] == scores["t_acc"] == 1
    checkpoint = config.output / "last"
    records = evaluate(EvaluateConfig(checkpoint=checkpoint, data=run, splits=("train",), output=tmp_path / "scores"))
    assert len(records) == 16  # those with a target
    assert json.loads((tmp_path / "scores" / GENERALIZED).read_text())["own"]["train"] == scores
    grounder = Grounder.from_pretrained(checkpoint)
    sample = SampleReader(run).read(0)
    grounder.set_image(decode_rgb_image(sample.image))
    assert [one.is_probably_absent for one in grounder.predict_all([query.text for query in sample.queries])] == [
        not query.boxes_xyxy for query in sample.queries
    ]
