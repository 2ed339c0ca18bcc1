from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from pipeline import PipelineError
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


def test_two_trainings_do_not_write_into_one_folder(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=1, validate_split=None)
    trainer = Trainer(config)
    with (config.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match=f"another process is running into {config.output}"):
            trainer.run()
    assert not (config.output / "last").exists()
    assert trainer.run()["finished"]


def test_a_full_disk_spares_the_last_checkpoint(
    run: Path, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(train=(run,), epochs=2, validate_split=None, ema_decay=0.9)
    train(replace(config, stop_after_steps=2))
    before = {path.name: path.read_bytes() for path in (config.output / "last").glob("*.*")}
    full = OSError(errno.ENOSPC, "No space left on device")
    for method in ("weights", "state"):
        with monkeypatch.context() as patch:
            if method == "weights":
                patch.setattr("trainer.model.state_dict.save_file", raise_error(full))
            else:  # torch's own writer has an error without a number
                patch.setattr("torch.save", raise_error(RuntimeError("[enforce fail at inline_container.cc:672]")))
                patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
            with pytest.raises(TrainerError, match=f"cannot be written to {config.output} .*free some space"):
                train(config)
        assert not (config.output / ".checkpoint.partial").exists()
        assert before == {path.name: path.read_bytes() for path in (config.output / "last").glob("*.*")}
    assert train(config)["finished"]


def raise_error(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_damaged_checkpoint_is_not_resumed(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=2, validate_split=None)
    train(replace(config, stop_after_steps=2))
    last = config.output / "last"
    for name in ("model.safetensors", "training_state.pt"):
        content = (last / name).read_bytes()
        flipped = bytearray(content)
        flipped[-100] ^= 4
        (last / name).write_bytes(flipped)
        with pytest.raises(TrainerError, match=f"{name} is missing or not as it was written"):
            train(config)
        (last / name).write_bytes(content)
    state = torch.load(last / "training_state.pt", weights_only=True)
    torch.save({**state, "version": 1}, last / "training_state.pt")
    (last / "sha256.json").unlink()
    with pytest.raises(TrainerError, match=r"has version 1, this code resumes version \d; train in a new"):
        train(config)


def test_last_must_be_a_link_to_a_checkpoint(run: Path, tiny_config: MakeConfig) -> None:
    config = tiny_config(train=(run,), epochs=2, validate_split=None)
    train(replace(config, stop_after_steps=2))
    last = config.output / "last"
    target = last.resolve()
    target.rename(target.with_name("moved"))
    with pytest.raises(TrainerError, match="last must be a link to a checkpoint folder beside it, got a link to check"):
        train(config)
    last.unlink()
    target.with_name("moved").rename(last)
    with pytest.raises(TrainerError, match="last must be a link to a checkpoint folder beside it, got a folder"):
        train(config)


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
