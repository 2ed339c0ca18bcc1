from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode
from upath import UPath

from shards.errors import SchemaError
from shards.reader import SampleReader
from tests.trainer.conftest import STILL
from trainer.config import TrainConfig, add_exemplars
from trainer.data.dataset import Samples
from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig, evaluate
from trainer.model.state_dict import read_safetensors
from trainer.train import train
from trainer.training.checkpoint import read_state
from trainer.training.loop import Trainer
from trainer.training.losses import compute_box_losses, compute_verification_loss
from trainer.training.optimizer import OptimizationConfig
from trainer.training.setup import build_exemplar_sampler, build_network, build_processor
from trainer.training.step_losses import StepCounts

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


MakeCrops = Callable[[Path], Path]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_safetensors(folder / "last" / "model.safetensors")


def _without_dropout(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_a_few_samples_are_overfitted(make_run: MakeRun, overfitting_config: MakeConfig) -> None:
    metrics = train(overfitting_config(make_run(train=8), epochs=100, max_queries=1))
    assert metrics["best_accuracy"] == 1
    assert metrics["history"][-1]["validation"]["mean_iou"] > 0.7


def test_scenes_make_a_quarter_of_an_epoch_at_most(run: Path, make_run: MakeRun, tiny_config: MakeConfig) -> None:
    scenes = make_run(train=40)
    trainer = Trainer(tiny_config(train=(run, scenes), max_synthetic_fraction=0.25))
    real, generated = trainer.stream.sampler.groups_per_epoch
    assert generated == round(real / 3)
    with pytest.raises(
        ValueError, match=r"max_synthetic_fraction must lie between 0 and 1, and instead of mixing_ratios, got 0\.25"
    ):
        tiny_config(train=(run, scenes), max_synthetic_fraction=0.25, mixing_ratios=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"max_synthetic_fraction must lie between 0 and 1"):
        tiny_config(train=(run, scenes), max_synthetic_fraction=1.0)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    whole = tiny_config(train=(run,), output=tmp_path / "whole", batch_images=2, epochs=2)
    parts = replace(whole, output=tmp_path / "parts", stop_after_steps=2)  # three steps an epoch
    losses = [record["loss"] for record in train(whole)["history"]]
    assert not train(parts)["finished"]
    assert not train(parts)["finished"]
    finished = train(replace(parts, num_workers=1))
    assert finished["finished"] and [record["loss"] for record in finished["history"]] == losses
    expected, found = _weights(whole.output), _weights(parts.output)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert train(parts)["finished"]  # nothing is left to do


def test_a_resumed_run_with_exemplars_equals_an_uninterrupted_one(
    run: Path, make_crops: MakeCrops, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), output=tmp_path / "whole", batch_images=2, epochs=1, verification_loss_weight=1)
    whole = add_exemplars(config, (make_crops(run),), ("red", "blue"))
    assert train(whole)["finished"]
    parts = replace(whole, output=tmp_path / "parts", stop_after_steps=2)
    assert not train(parts)["finished"]
    assert train(replace(parts, num_workers=1))["finished"]
    expected, found = _weights(whole.output), _weights(parts.output)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert expected["exemplar_scoring.mean_feature"].any()
    processor = Processor.from_pretrained(whole.output / "last")
    assert "square" in processor.config.known_words  # the text encoder starts from random weights
    mode = EvaluateConfig(
        checkpoint=whole.output / "last", data=run, splits=("val",), output=tmp_path, priors=("own", "none")
    )
    assert len(evaluate(mode)) == 2 * 6


def test_the_loss_of_a_step_weighs_queries_exemplars_words_and_instances(
    run: Path, make_crops: MakeCrops, tiny_config: MakeConfig
) -> None:
    config = tiny_config(train=(run,), validate_split=None, verification_loss_weight=3.0)
    config = add_exemplars(config, (make_crops(run),), ("red", "green", "blue", "yellow"))
    trainer = Trainer(config)
    (batch,) = next(trainer.stream.iterate_epoch(0))
    assert batch.exemplars is not None
    trainer.network.eval()
    output = trainer.network(trainer.processor.normalize_inputs(batch.inputs))
    counts = StepCounts(*trainer.losses.count([batch, replace(batch, counts=False)]))
    means = trainer.losses.compute(output, batch, counts, trainer.network.exemplar_scoring)

    is_exemplar, is_whole = batch.exemplars.is_exemplar, batch.exemplars.is_whole
    num_queries, num_exemplars = int((~is_exemplar).sum()), int(is_exemplar.sum())
    assert num_queries == 8 and num_exemplars > 4 and 0 < int(is_whole.sum()) < 8
    assert counts.instances == 8 and counts.weight == 8 + num_exemplars / 2
    boxes = compute_box_losses(output.boxes, batch.targets).per_query
    score = compute_verification_loss(output.scores, output.padding, batch.targets)
    assert output.appearance is not None
    words = compute_verification_loss(output.appearance.text_scores, output.padding, batch.targets)
    each = boxes + 3 * score
    total = (each[~is_exemplar].sum() + each[is_exemplar].sum() / 2) / (8 + num_exemplars / 2)
    expected = total + 3 * words[is_whole].sum() / 8 + 0.3 * means["appearance"]
    torch.testing.assert_close(means["loss"], expected)


@pytest.mark.parametrize("change", [{"mixed_precision": "bf16"}, {"gradient_checkpointing": True}])
def test_training_with_exemplars_trains_all_weights(
    change: dict[str, Any], run: Path, make_crops: MakeCrops, tiny_config: MakeConfig
) -> None:
    AcceleratorState._reset_state(True)  # its precision is that of the process
    config = add_exemplars(tiny_config(train=(run,), steps=1, validate_split=None), (make_crops(run),), ())
    config = replace(config, **change)
    torch.manual_seed(config.seed)
    first = {name: tensor.clone() for name, tensor in build_network(config)[0].state_dict().items()}
    train(config)
    changed = {name for name, tensor in _weights(config.output).items() if not torch.equal(tensor, first[name])}
    assert {name for name in first if name.startswith("exemplar_scoring.")} <= changed
    AcceleratorState._reset_state(True)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a GPU has fp16")
def test_a_precision_that_the_device_does_not_have_is_refused(run: Path, tiny_config: MakeConfig) -> None:
    AcceleratorState._reset_state(True)
    with pytest.raises(TrainerError, match=r"the precision fp16 cannot be used: fp16 needs a GPU; pass another"):
        Trainer(tiny_config(train=(run,), mixed_precision="fp16"))
    AcceleratorState._reset_state(True)


def test_the_precision_of_float32_products_is_that_of_the_configuration(run: Path, tiny_config: MakeConfig) -> None:
    before = torch.get_float32_matmul_precision()
    config = tiny_config(train=(run,), steps=1, validate_split=None)
    try:
        train(replace(config, float32_matmul_precision="high"))
        assert torch.get_float32_matmul_precision() == "high"
        with pytest.raises(TrainerError, match=r"float32_matmul_precision: 'high' then, 'highest' now"):
            train(config)
        Trainer(replace(config, output=config.output / "default"))
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


def test_crop_features_of_another_length_are_refused(run: Path, make_crops: MakeCrops, tiny_config: MakeConfig) -> None:
    config = add_exemplars(tiny_config(train=(run,)), (make_crops(run),), ())
    missing = replace(config, crop_features=(UPath("missing"),))
    with pytest.raises(SchemaError, match="missing does not exist; make the crop features with `make crop-features`"):
        Trainer(missing)
    samples = Samples([SampleReader(run, "train")])
    longer = replace(config, network=replace(config.network, prior_dim=7))
    with pytest.raises(TrainerError, match="crop features have 6 numbers, the priors of the network 7"):
        build_exemplar_sampler(longer, samples, build_processor(config, samples))


def test_a_step_reads_no_tensor_on_the_host(run: Path, make_crops: MakeCrops, tiny_config: MakeConfig) -> None:
    class CountReads(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
                reads.append("".join(traceback.format_stack(limit=6)))
            return function(*args, **kwargs or {})

    reads: list[str] = []
    config = tiny_config(train=(run,), validate_split=None, verification_loss_weight=1.0)
    trainer = Trainer(add_exemplars(config, (make_crops(run),), ()))
    parts = next(trainer.stream.iterate_epoch(0))
    trainer._run_step(parts)  # the optimizer makes its state
    with CountReads():
        trainer._run_step(parts)
    assert not reads, reads[0]


def test_a_step_in_bf16_casts_its_weights_once_for_all_parts(run: Path, tiny_config: MakeConfig) -> None:
    class CountCasts(TorchDispatchMode):
        """Counts the elements of each weight that are cast to bf16."""

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function.overloadpacket is torch.ops.aten._to_copy and (kwargs or {}).get("dtype") is torch.bfloat16:
                name = names.get(args[0].untyped_storage().data_ptr())
                casts[name] = casts.get(name, 0) + args[0].numel()
            return function(*args, **kwargs or {})

    AcceleratorState._reset_state(True)
    trainer = Trainer(
        tiny_config(train=(run,), validate_split=None, mixed_precision="bf16", gradient_accumulation_steps=2)
    )
    parts = next(trainer.stream.iterate_epoch(0))
    trainer._run_step(parts)  # the optimizer makes its state
    weights = {name: weight for name, weight in trainer.network.named_parameters() if weight.requires_grad}
    names = {weight.untyped_storage().data_ptr(): name for name, weight in weights.items()}
    casts = dict[str | None, int]()
    with CountCasts():
        trainer._run_step(parts)
    AcceleratorState._reset_state(True)
    in_parts = {name for name in weights if "in_proj" in name}  # a third for each of queries, keys and values
    whole = {name: count for name, count in casts.items() if name is not None and name not in in_parts}
    assert len(whole) > 30
    assert whole == {name: weights[name].numel() for name in whole}
    for name in in_parts - {"verification.context_attention.in_proj_weight"}:  # whose keys' third is used twice
        assert casts[name] <= 2 * weights[name].numel()


def test_figures_that_are_read_later_are_those_of_their_step(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    reported: dict[int, list[tuple[int, float, float]]] = {1: [], 2: []}

    class WatchedTrainer(Trainer):
        def _report(self, figures: dict[str, float], wait_s: float, step_s: float) -> None:
            kept = (self._global_step, figures["loss"], figures["learning_rate"])
            reported[self.config.save_every_steps].append(kept)
            super()._report(figures, wait_s, step_s)

    optimization = OptimizationConfig(max_grad_norm=1.0, freeze_epochs=0, warmup_steps=5)
    for save_every_steps in reported:  # before a save, no figures are left
        WatchedTrainer(
            tiny_config(
                train=(run,),
                output=tmp_path / str(save_every_steps),
                batch_images=2,
                steps=5,
                validate_split=None,
                save_every_steps=save_every_steps,
                optimization=optimization,
            )
        ).run()
    assert reported[1] == reported[2]
    assert [number for number, *_ in reported[2]] == [1, 2, 3, 4, 5]  # three steps an epoch
    assert len({rate for *_, rate in reported[2]}) == 5


def test_a_length_in_steps_cuts_the_last_epoch_also_of_a_resumed_run(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    whole = tiny_config(train=(run,), output=tmp_path / "whole", batch_images=2, steps=4, validate_split=None)
    metrics = train(whole)  # three steps an epoch
    assert metrics["finished"] and [one["epoch"] for one in metrics["history"]] == [0, 1]
    taken = read_state(whole.output)["optimizer"]["state"].values()
    assert max(int(one["step"]) for one in taken) == 4
    with pytest.raises(TrainerError, match=r"steps: 4 then, 5 now"):
        train(replace(whole, steps=5))
    parts = replace(whole, output=tmp_path / "parts", stop_after_steps=3)
    assert not train(parts)["finished"]
    assert train(parts)["finished"]
    expected, found = _weights(whole.output), _weights(parts.output)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_data_without_a_validation_split_is_told_what_to_do(run: Path, tiny_config: MakeConfig) -> None:
    with pytest.raises(TrainerError, match=r"has no split 'dev'.*--validate-split, or None for no validation"):
        train(tiny_config(train=(run,), epochs=1, validate_split="dev"))


def test_pretrained_parts_stay_as_they_are_while_frozen(run: Path, tiny_config: MakeConfig) -> None:
    optimization = OptimizationConfig(freeze_epochs=1, max_grad_norm=1.0)
    config = tiny_config(train=(run,), optimization=optimization, epochs=2, validate_split=None)
    torch.manual_seed(config.seed)
    first = {name: tensor.clone() for name, tensor in build_network(config)[0].state_dict().items()}

    def changed() -> set[str]:
        return {
            "text.model" if name.startswith("text.model") else name.split(".")[0]
            for name, tensor in _weights(config.output).items()
            if not torch.equal(tensor, first[name])
        }

    train(replace(config, stop_after_steps=2))
    assert changed() == {"text", "verification", "decoder", "box_head"}
    train(config)
    assert changed() >= {"backbone", "input_projection", "encoder", "text.model"}


def test_a_step_in_parts_gives_the_same_weights(run: Path, tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(train=(run,), batch_images=4, epochs=1, validate_split=None, augmentation=STILL)
    config = replace(config, network=replace(config.network, dropout=0.0), text_from_scratch=True)
    found = []
    for changes in (
        {},
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 4},
        {"gradient_checkpointing": True},
    ):
        one = replace(config, output=tmp_path / str(len(found)), **changes)
        trainer = Trainer(one)
        _without_dropout(trainer.network)
        trainer.run()
        found.append(_weights(one.output))
    for other in found[1:]:
        for name, tensor in found[0].items():
            torch.testing.assert_close(other[name], tensor, atol=2e-4, rtol=0)  # a step moves 1e-3
