from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.model.state_dict import read_safetensors
from trainer.train import train
from trainer.training.checkpoint import read_state
from trainer.training.loop import Trainer

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_safetensors(folder / "last" / "model.safetensors")


def test_a_run_folder_is_not_continued_with_another_configuration(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=1, validate_split=None)
    train(config)
    with pytest.raises(TrainerError, match="seed: 42 then, 43 now"):
        train(replace(config, seed=43))
    with pytest.raises(TrainerError, match="already holds a run"):
        train(replace(config, resume="never"))


def test_others_may_read_the_files_of_a_checkpoint(run: Path, tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(train=(run,), epochs=1, validate_split=None)
    train(config)
    (tmp_path / "new").touch()
    modes = {path.name: path.stat().st_mode for path in (config.output / "last").iterdir() if path.is_file()}
    assert set(modes.values()) == {(tmp_path / "new").stat().st_mode}, modes


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


def test_averaged_weights_are_saved_and_training_resumes_from_the_others(
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
