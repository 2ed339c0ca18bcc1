from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shards.reader import SampleReader
from trainer.config import TrainConfig
from trainer.data.transforms import AugmentationConfig
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig, compute_scores_by_split, evaluate, read_predictions
from trainer.model.state_dict import read_safetensors
from trainer.predict import Grounder
from trainer.train import Trainer, new_network, train
from trainer.training.checkpoint import read_state
from trainer.training.error_messages import translate_errors
from trainer.training.optimizer import OptimizationConfig, compute_lr_factor, compute_lr_scale

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., TrainConfig]
STILL = AugmentationConfig(
    long_sides=(1.0,), crop_probability=0, jitter_probability=0, flip_probability=0, random_placement=False
)


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_safetensors(folder / "last" / "model.safetensors")


def test_a_few_samples_are_learned_by_heart(make_run: MakeRun, tiny_config: MakeConfig) -> None:
    run = make_run(train=8)
    config = tiny_config(
        train=(run,),
        validate_split="train",
        validate_every_epochs=1000,
        augmentation=STILL,
        epochs=100,
        max_queries=1,
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
    config = replace(config, network=replace(config.network, dropout=0.0))
    metrics = train(config)
    assert metrics["best_accuracy"] == 1
    assert metrics["history"][-1]["validation"]["mean_iou"] > 0.7


def test_scenes_make_a_quarter_of_an_epoch_at_most(run: Path, make_run: MakeRun, tiny_config: MakeConfig) -> None:
    scenes = make_run(train=40)
    trainer = Trainer(tiny_config(train=(run, scenes), max_synthetic_fraction=0.25))
    real, generated = trainer.stream.order.groups_per_epoch
    assert generated == round(real / 3)
    with pytest.raises(
        ValueError, match=r"max_synthetic_fraction must lie between 0 and 1, and instead of shares, got 0\.25"
    ):
        tiny_config(train=(run, scenes), max_synthetic_fraction=0.25, mixing_ratios=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"max_synthetic_fraction must lie between 0 and 1"):
        tiny_config(train=(run, scenes), max_synthetic_fraction=1.0)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    whole = tiny_config(train=(run,), output=tmp_path / "whole", batch_images=2, epochs=2)
    parts = replace(whole, output=tmp_path / "parts", stop_after_steps=2)  # three steps an epoch
    train(whole)
    assert not train(parts)["finished"]
    assert not train(parts)["finished"]
    assert train(replace(parts, num_workers=1))["finished"]
    expected, found = _weights(whole.output), _weights(parts.output)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert train(parts)["finished"]  # nothing is left to do


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
    first = {name: tensor.clone() for name, tensor in new_network(config)[0].state_dict().items()}

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


def test_a_run_folder_is_not_continued_with_another_configuration(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=1, validate_split=None)
    train(config)
    with pytest.raises(TrainerError, match="seed: 42 then, 43 now"):
        train(replace(config, seed=43))
    with pytest.raises(TrainerError, match="already holds a run"):
        train(replace(config, resume="never"))


def test_a_loss_that_is_no_number_stops_the_run_and_spares_its_checkpoint(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=3, validate_split=None)
    train(replace(config, stop_after_steps=2))
    before = _weights(config.output)
    trainer = Trainer(config)
    with torch.no_grad():
        trainer.network.box_head.layers[0].weight.fill_(float("nan"))
    with pytest.raises(TrainerError, match="the loss is nan at epoch 1, step 0"):
        trainer.run()
    assert all(torch.equal(tensor, _weights(config.output)[name]) for name, tensor in before.items())


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


def _without_dropout(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_averaged_weights_are_saved_and_training_goes_on_from_the_others(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    plain = tiny_config(train=(run,), epochs=2, output=tmp_path / "plain")
    whole = replace(plain, output=tmp_path / "whole", ema_decay=0.5)
    parts = replace(whole, output=tmp_path / "parts", stop_after_steps=3)
    for config in (plain, whole, parts, parts):
        train(config)
    expected, found, unaveraged = _weights(whole.output), _weights(parts.output), _weights(plain.output)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert not torch.equal(expected["box_head.layers.0.weight"], unaveraged["box_head.layers.0.weight"])
    raw = read_state(parts.output)["weights"]
    assert all(torch.equal(tensor, raw[name]) for name, tensor in unaveraged.items())


def test_memory_that_runs_out_is_explained_and_spares_the_checkpoint(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=3, validate_split=None)
    train(replace(config, stop_after_steps=2))
    before = _weights(config.output)
    trainer = Trainer(config)

    def exhaust(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    trainer.network.decoder.register_forward_hook(exhaust)
    with pytest.raises(
        TrainerError,
        match=r"memory ran out at epoch 1, step 0.*80 GiB.*--gradient-accumulation-steps 2 .*--gradient-checkpointing",
    ):
        trainer.run()
    assert all(torch.equal(tensor, _weights(config.output)[name]) for name, tensor in before.items())


def test_a_dead_loader_process_ends_the_run_with_its_checkpoint_intact(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=50, validate_split=None, num_workers=1)
    train(replace(config, stop_after_steps=2))
    trainer = Trainer(config)

    def kill(*_: object) -> None:
        for child in psutil.Process().children():
            child.kill()

    trainer.network.decoder.register_forward_hook(kill)
    with pytest.raises(TrainerError, match=r"batches died at epoch \d+, step \d, and .* is intact .*num_workers"):
        trainer.run()
    _weights(config.output)


def test_trackers_get_figures_and_pictures(run: Path, tiny_config: MakeConfig) -> None:
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


def test_learning_rates_follow_the_size_of_a_step() -> None:
    scales = [compute_lr_scale(OptimizationConfig(lr_scaling=how), 256) for how in ("none", "sqrt", "linear")]
    assert scales == [1.0, 2.0, 4.0]


def test_learning_rates_rise_then_drop_at_their_epoch() -> None:
    config = OptimizationConfig(warmup_steps=4, lr_drop_epoch=3)
    factors = [compute_lr_factor(config, step, 10, 50) for step in (0, 3, 29, 30)]
    assert factors == pytest.approx([0.25, 1.0, 1.0, 0.1])
    cosine = OptimizationConfig(schedule="cosine")
    assert [compute_lr_factor(cosine, s, 10, 20) for s in (0, 10)] == pytest.approx([1.0, 0.5])


def test_a_trained_folder_is_all_that_evaluation_and_prediction_need(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), epochs=1)
    train(config)
    best = config.output / "best"
    found = evaluate(EvaluateConfig(checkpoint=best, data=run, splits=("val", "train"), output=tmp_path / "evaluation"))
    lines = (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()
    report = json.loads((tmp_path / "evaluation" / "scores.json").read_text())["own"]
    assert report == compute_scores_by_split(found)["own"] and report["val"]["num_queries"] == 6
    assert {(one.num_distractors, one.category) for one in found} == {(1, "square")}
    assert len({json.loads(line)["query_id"] for line in lines}) == len(lines) == 18
    assert json.loads((config.output / "metrics.json").read_text())["history"][0]["validation"] == report["val"]

    sample = SampleReader(run, "val").read(0)
    first = json.loads(lines[0])
    image = tmp_path / "image.png"
    image.write_bytes(sample.image)
    assert sample.priors is not None
    grounder = Grounder.from_pretrained(best)
    prediction = grounder.predict(image, sample.queries[0].text, prior=sample.priors[0])
    assert prediction.box_xyxy == pytest.approx(first["box_xyxy"], abs=1e-3)
    asked: list[str] = []

    def make_prior(phrase: str) -> np.ndarray:
        asked.append(phrase)
        return sample.priors[0]  # type: ignore[index]

    assert grounder.predict(image, sample.queries[0].text, prior=make_prior) == prediction
    assert asked == [sample.queries[0].text]
    assert grounder.predict(image, sample.queries[0].text) != prediction
    with pytest.raises(TrainerError, match=r"has shape \(3,\), the network takes \(6,\)"):
        grounder.predict(image, "cup", prior=np.zeros(3))
    with pytest.raises(TrainerError, match="must not be empty"):
        grounder.predict(image, " ")


def test_without_and_with_shuffled_priors_the_answers_are_others(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), epochs=1)
    train(config)
    chosen = EvaluateConfig(
        checkpoint=config.output / "best",
        data=run,
        splits=("train",),
        output=tmp_path / "evaluation",
        priors=("own", "none", "shuffled"),
    )
    found = evaluate(chosen)
    assert read_predictions(tmp_path / "evaluation") == found
    boxes = {mode: [one.box_xyxy for one in found if one.priors == mode] for mode in chosen.priors}
    assert {len(some) for some in boxes.values()} == {12}
    assert boxes["own"] != boxes["none"] != boxes["shuffled"] != boxes["own"]


def test_a_network_without_priors_is_asked_once(run: Path, tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(train=(run,), epochs=1)
    config = replace(config, network=replace(config.network, use_prior=False))
    train(config)
    chosen = EvaluateConfig(
        checkpoint=config.output / "best", data=run, splits=("val",), output=tmp_path, priors=("own", "shuffled")
    )
    assert {one.priors for one in evaluate(chosen)} == {"none"}


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), RuntimeError("DataLoader worker 1")])
def test_however_a_dead_loader_is_noticed_it_is_said_in_words(error: Exception) -> None:
    with (
        pytest.raises(TrainerError, match="prepares batches died at step 7"),
        translate_errors(lambda: "at step 7", ""),
    ):
        raise error
    with pytest.raises(RuntimeError, match="another"), translate_errors(lambda: "at step 7", ""):
        raise RuntimeError("another")
