"""Batches of few sizes for compiled parts: what is added changes nothing, and nothing is compiled again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig

from trainer.config import TrainConfig, add_exemplars
from trainer.data.batch import Batch
from trainer.model.network import GroundingNetwork
from trainer.training.loop import Trainer
from trainer.training.step_losses import StepCounts

MakeRun = Callable[..., Path]


@pytest.fixture
def config(
    tiny_config: Callable[..., TrainConfig], make_run: MakeRun, text_encoder: str, tmp_path: Path
) -> TrainConfig:
    """Steps of four images, the last one of an epoch of two, with one to four queries each; no dropout."""
    BertConfig.from_pretrained(text_encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).save_pretrained(
        tmp_path / "encoder"
    )
    for path in Path(text_encoder).glob("*token*"):
        (tmp_path / "encoder" / path.name).symlink_to(path)
    run = make_run(train=5, num_queries=4, num_without_target=1, num_for_both=1)
    config = tiny_config(
        train=(run,),
        text_encoder=str(tmp_path / "encoder"),
        validate_split="train",
        max_queries=4,
        verification_loss_weight=1.0,
    )
    return replace(config, network=replace(config.network, dropout=0.0, presence=True))


def _compute_step(trainer: Trainer, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the losses and gradients of a batch."""
    trainer.network.zero_grad()
    counts = StepCounts(*trainer.losses.count([batch]))
    output = trainer.network(trainer.processor.normalize_inputs(batch.inputs))
    losses = trainer.losses.compute(output, batch, counts, trainer.network.exemplar_scoring)
    losses["loss"].backward()
    return losses, {name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["one token", "three tokens", "exemplars"])
def test_padding_of_images_queries_and_lengths_changes_no_loss_and_no_gradient(
    kind: str, config: TrainConfig, make_run: MakeRun, make_crops: Callable[[Path], Path]
) -> None:
    if kind == "three tokens":
        config = replace(config, network=replace(config.network, num_target_tokens=3))
    if kind == "exemplars":
        run = make_run(train=5, num_queries=4)
        config = replace(config, train=(run,), network=replace(config.network, presence=False))
        config = add_exemplars(config, (make_crops(run),), ())
    trainer = Trainer(config)
    *_, (batch,) = trainer.stream.iterate_epoch(0)
    builder = replace(trainer.stream.batch_builder, min_images=4, min_queries=24, length_multiple=16)
    *_, (padded,) = replace(trainer.stream, batch_builder=builder).iterate_epoch(0)
    assert len(batch.inputs.images) == batch.num_images == padded.num_images < 4
    assert len(padded.inputs.images) == 4 and padded.inputs.queries.token_ids.shape == (24, 16)
    assert len(batch.targets) == len(padded.targets) < 24
    (losses, gradients), (expected_losses, expected) = (_compute_step(trainer, one) for one in (padded, batch))
    torch.testing.assert_close(losses, expected_losses)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=2e-5, rtol=1e-4, msg=name)


def test_a_compiled_training_compiles_in_its_first_step_alone(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_parts = partialmethod(GroundingNetwork.compile_parts, "aot_eager")
    monkeypatch.setattr(GroundingNetwork, "compile_parts", compile_parts)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    num_graphs, num_queries = list[int](), set[int]()

    class WatchedTrainer(Trainer):
        def _run_step(self, parts: Any) -> Any:
            num_queries.update(len(part.targets) for part in parts)
            result = super()._run_step(parts)
            num_graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
            return result

    histories = []
    for compiled in (False, True):
        trainer = WatchedTrainer(replace(config, compile=compiled, output=tmp_path / str(compiled)))
        histories.append(trainer.run()["history"])
    num_steps = len(num_graphs) // 2
    assert len(num_queries) > 2  # steps of several sizes, and validations between them
    assert num_graphs == num_steps * [0] + num_steps * [num_graphs[num_steps]] and num_graphs[-1] > 0
    for plain, compiled in zip(*histories, strict=True):
        assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-4)
        assert compiled["validation"]["mean_iou"] == pytest.approx(plain["validation"]["mean_iou"], abs=1e-3)
