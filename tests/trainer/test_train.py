from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig

from trainer.config import TrainConfig, add_exemplars
from trainer.config_file import write_config
from trainer.evaluate import EvaluateConfig, evaluate
from trainer.model.state_dict import read_safetensors
from trainer.train import train
from trainer.training.optimizer import OptimizationConfig
from workflows.cli.accelerate_launch import LaunchConfig, build_launch_command

pytestmark = pytest.mark.slow

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


ROOT = Path(__file__).resolve().parents[2]


SCRIPT = """
import os, signal, sys
from trainer.train import parse_command_line
from trainer.training.loop import Trainer

trainer = Trainer(parse_command_line(sys.argv[1:]))
rank, left = trainer.accelerator.process_index, int(os.environ.get("DIE_AFTER_STEPS", -1))

def die(*_):
    global left
    left -= 1
    if left < 0 and rank == int(os.environ["DYING_RANK"]):
        os.kill(os.getpid(), signal.SIGKILL)

if left >= 0:
    trainer.network.register_forward_pre_hook(die)
trainer.run()
"""


CHECK_THREADS = """
from pathlib import Path

threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], threads  # they can abort a process that ends
"""


EVALUATION = """
from trainer.evaluate import main

main()
"""


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=9, val=7)


@pytest.fixture
def config(run: Path, tiny_config: MakeConfig, text_encoder: str, tmp_path: Path) -> TrainConfig:
    """Ten steps in two epochs, the first with frozen parts; no dropout, which differs by process."""
    encoder = tmp_path / "encoder"
    BertConfig.from_pretrained(text_encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).save_pretrained(
        encoder
    )
    for path in Path(text_encoder).glob("*token*"):
        (encoder / path.name).write_bytes(path.read_bytes())
    made = tiny_config(
        train=(run,),
        output=tmp_path / "whole",
        text_encoder=str(encoder),
        batch_images=4,
        max_queries=1,
        epochs=2,
        save_every_steps=1,
        validate_split=None,
        optimization=OptimizationConfig(
            learning_rate=1e-3, pretrained_learning_rate=1e-3, freeze_epochs=1, max_grad_norm=1.0
        ),
    )
    return replace(made, network=replace(made.network, dropout=0.0))


def _launch(command: list[str], num_processes: int, **environment: str) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    launch = build_launch_command(LaunchConfig(num_processes=num_processes, main_address=address))
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([*launch, *command], env=variables, cwd=ROOT, timeout=300, check=False).returncode


def _train(config: TrainConfig, folder: Path, num_processes: int = 1, **environment: str) -> int:
    script, file = folder / "script.py", folder / "config.json"
    script.write_text(SCRIPT + CHECK_THREADS)
    write_config(config, file)
    return _launch([str(script), "--config", str(file)], num_processes, **environment)


def _weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return read_safetensors(config.output / "last" / "model.safetensors")


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(config: TrainConfig, tmp_path: Path) -> None:
    train(config)
    killed = replace(config, output=tmp_path / "killed")
    for steps in (0, 3, 5):
        assert _train(killed, tmp_path, DIE_AFTER_STEPS=str(steps), DYING_RANK="0") != 0
    assert _train(killed, tmp_path) == 0
    expected, found = _weights(config), _weights(killed)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_run_resumes_with_more_and_with_fewer_processes_in_the_same_order(
    config: TrainConfig, tmp_path: Path
) -> None:
    train(config)
    changing = replace(config, output=tmp_path / "changing", stop_after_steps=3)
    for num_processes in (1, 2, 1, 2):
        assert _train(changing, tmp_path, num_processes) == 0
    expected, found = _weights(config), _weights(changing)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=5e-4, rtol=0)  # ten steps of up to 1e-3


def test_two_processes_train_with_exemplars_though_most_images_have_none(
    config: TrainConfig, make_run: MakeRun, make_crops: Callable[[Path], Path], tmp_path: Path
) -> None:
    trained = add_exemplars(config, (make_crops(make_run(train=1)),), ("red",))  # instances of one image of nine
    assert _train(trained, tmp_path, 2) == 0
    weights = _weights(trained)
    assert (
        all(tensor.isfinite().all() for tensor in weights.values()) and weights["exemplar_scoring.mean_feature"].any()
    )


def test_a_lost_process_ends_the_run_and_the_next_one_resumes(config: TrainConfig, tmp_path: Path) -> None:
    lost = replace(config, output=tmp_path / "lost")
    assert _train(lost, tmp_path, 2, DIE_AFTER_STEPS="4", DYING_RANK="1") != 0
    _weights(lost)
    assert _train(lost, tmp_path, 2) == 0
    train(config)
    for name, tensor in _weights(config).items():
        torch.testing.assert_close(_weights(lost)[name], tensor, atol=5e-4, rtol=0)


def test_evaluation_gives_the_same_digits_on_one_two_and_three_processes(
    config: TrainConfig, run: Path, tmp_path: Path
) -> None:
    train(replace(config, epochs=1))
    one = EvaluateConfig(
        checkpoint=config.output / "best", data=run, splits=("val", "train"), output=tmp_path / "1", batch_images=2
    )
    evaluate(one)
    script = tmp_path / "evaluation.py"
    script.write_text(EVALUATION + CHECK_THREADS)
    for num_processes in (2, 3):
        output = tmp_path / str(num_processes)
        write_config(replace(one, output=output), output / "evaluate_config.json")
        assert _launch([str(script), "--config", str(output / "evaluate_config.json")], num_processes) == 0
        for name in ("predictions.jsonl", "scores.json"):
            assert (output / name).read_bytes() == (one.output / name).read_bytes()
