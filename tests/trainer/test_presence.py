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
from tests.trainer.conftest import STILL
from trainer.config import TrainConfig
from trainer.data.batch import WHOLE_CANVAS, Batch, BatchBuilder
from trainer.data.config import AugmentationConfig, ProcessorConfig
from trainer.data.dataset import Samples
from trainer.data.processor import Processor, load_tokenizer
from trainer.data.sampler import QueryGroup
from trainer.errors import TrainerError
from trainer.evaluate import GENERALIZED, EvaluateConfig, evaluate
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork, GroundingOutput
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder
from trainer.train import train
from trainer.training.losses import compute_box_losses
from trainer.training.step_losses import StepCounts, StepLosses

MakeRun = Callable[..., Path]


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
    make_run: MakeRun, overfitting_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    run = make_run(train=8, num_queries=2, num_without_target=1)
    config = overfitting_config(run, epochs=80, max_queries=3, presence=True)
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


def test_several_tokens_need_presence_and_one_is_the_published_network(
    tiny_network: NetworkConfig, text_encoder: str
) -> None:
    with pytest.raises(ValueError, match="num_target_tokens 2 needs presence"):
        replace(tiny_network, num_target_tokens=2)
    with pytest.raises(ValueError, match="num_target_tokens must be at least 1, got 0"):
        replace(tiny_network, num_target_tokens=0)
    one = replace(choose_text_encoder(tiny_network, text_encoder), presence=True)
    several = replace(one, num_target_tokens=3)
    assert "num_target_tokens" not in one.to_json() and NetworkConfig.from_json(several.to_json(), "") == several
    added = GroundingNetwork(several).state_dict().keys() - GroundingNetwork(one).state_dict().keys()
    assert added == {"decoder.target_embedding"}


def test_the_prediction_of_several_tokens_is_that_of_the_most_probable(
    tiny_network: NetworkConfig, make_run: MakeRun, text_encoder: str
) -> None:
    config = replace(choose_text_encoder(tiny_network, text_encoder), presence=True, num_target_tokens=3)
    network = GroundingNetwork(config).eval()
    samples = Samples([SampleReader(make_run(train=1))])
    batch = _build_batch(samples, text_encoder, 0, 1)
    output = network(Processor(ProcessorConfig(), load_tokenizer(text_encoder)).normalize_inputs(batch.inputs))
    assert output.tokens.boxes.shape[1:] == (2, 3, 4) and output.tokens.presence.shape == (2, 3)
    for query, best in enumerate(output.tokens.presence.argmax(1).tolist()):
        assert torch.equal(output.boxes[:, query], output.tokens.boxes[:, query, best])
        assert output.presence[query] == output.tokens.presence[query, best]


def test_a_batch_has_all_targets_that_a_crop_leaves(make_run: MakeRun, text_encoder: str) -> None:
    samples = Samples(
        [SampleReader(make_run(train=1, num_queries=1, num_without_target=1, num_for_both=1))], keep_without_target=True
    )
    builder = BatchBuilder(
        processor=Processor(ProcessorConfig(), load_tokenizer(text_encoder)),
        canvas_px=64,
        prior_dim=None,
        augmentation=STILL,
        sets=True,
    )
    batch = builder.build_batch(samples, [QueryGroup(sample=0, queries=(0, 1, 2))])
    assert batch.sets is not None and batch.sets.counts.tolist() == [0, 1, 2]
    assert torch.equal(batch.sets.boxes[0], batch.targets[1]) and torch.equal(batch.sets.boxes[0], batch.sets.boxes[1])
    x1, x2 = (batch.sets.boxes[1:, 0] + sign * batch.sets.boxes[1:, 2] / 2 for sign in (-1, 1))
    left, right = batch.targets[2, 0] - batch.targets[2, 2] / 2, batch.targets[2, 0] + batch.targets[2, 2] / 2
    torch.testing.assert_close(torch.stack([x1.min(), x2.max()]), torch.stack([left, right]))  # the box around both


def test_a_network_learns_one_square_or_both(
    make_run: MakeRun, overfitting_config: Callable[..., TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(train=4, num_queries=2, num_without_target=1, num_for_both=1)
    config = overfitting_config(run, epochs=150, max_queries=4, presence=True, num_target_tokens=2)
    scores = train(config)["history"][-1]["generalized"]
    assert (scores["num_queries"], scores["num_without_target"], scores["num_with_several"]) == (16, 4, 4)
    assert scores["precision_f1"] > 0.8
    assert "target tokens (2)" not in capsys.readouterr().err
    grounder = Grounder.from_pretrained(config.output / "last")
    sample = SampleReader(run).read(0)
    grounder.set_image(decode_rgb_image(sample.image))
    predictions = grounder.predict_all([query.text for query in sample.queries])
    assert [len(one.boxes) for one in predictions] == [len(query.boxes_xyxy) for query in sample.queries]
    assert predictions[1].boxes[0].box_xyxy == predictions[1].box_xyxy
    assert len(predictions[-1].to_dict()["boxes"]) == 2


def test_training_says_what_it_cannot_learn(
    make_run: MakeRun, tiny_config: Callable[..., TrainConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(train=(make_run(train=4, num_for_both=1),), validate_split=None, steps=1)
    train(replace(config, network=replace(config.network, presence=True)))
    said = " ".join(capfd.readouterr().err.split())
    assert "no training query is without a target, so presence learns to be 1" in said
    assert "4 training queries have more targets than the network has target tokens (1)" in said
    with pytest.raises(TrainerError, match="no queries with a target in"):
        only_absent = make_run(train=2, num_queries=0, num_without_target=1)
        train(replace(config, train=(only_absent,), network=replace(config.network, presence=True)))


def test_a_trained_network_can_start_one_with_presence_and_several_tokens(
    make_run: MakeRun, tiny_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    run = make_run(train=4, num_without_target=1)
    before = tiny_config(train=(run,), validate_split=None, steps=1, output=tmp_path / "before")
    train(before)
    network = replace(before.network, presence=True, num_target_tokens=2)
    after = replace(before, output=tmp_path / "after", network=network, start=str(tmp_path / "before" / "last"))
    train(after)
    card = (tmp_path / "after" / "last" / "README.md").read_text()
    assert "at most 2; it is empty if the object is probably absent" in " ".join(card.split())
    config = json.loads((tmp_path / "after" / "last" / "config.json").read_text())
    assert (config["presence"], config["num_target_tokens"]) == (True, 2)
