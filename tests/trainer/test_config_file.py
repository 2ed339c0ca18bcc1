from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.config_file import parse_overrides, read_config, split_config_option, write_config
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig
from trainer.train import parse_command_line

MakeConfig = Callable[..., TrainConfig]


def test_a_configuration_is_read_as_it_was_written(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(train=("data/samples", "s3://bucket/scenes"), mixing_ratios=(1.0, 0.5))
    write_config(config, tmp_path / "config.json")
    read = read_config(TrainConfig, tmp_path / "config.json")
    assert [str(run) for run in read.train] == ["data/samples", "s3://bucket/scenes"]
    assert replace(read, train=config.train) == config


def test_options_change_values_of_the_file(
    tiny_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tiny_config(train=("data/samples",)), tmp_path / "config.json")
    config = parse_command_line(
        ["--epochs", "3", "--config", str(tmp_path / "config.json"), "--network.num-heads", "4"]
    )
    assert (config.epochs, config.network.num_heads, config.network.width) == (3, 4, 32)
    with pytest.raises(SystemExit):
        parse_overrides(config, ["--epochs", "0"])
    assert "epochs must be at least 1, got 0" in capsys.readouterr().err


def test_a_recipe_needs_no_file() -> None:
    config = parse_command_line(["miniature", "--output", "runs/a", "--train", "data/a", "--epochs", "2"])
    assert (config.output, config.epochs, config.network.image_size_px) == (Path("runs/a"), 2, 128)
    assert split_config_option(["miniature", "--epochs", "2"]) == (None, ["miniature", "--epochs", "2"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, r"not a TrainConfig of version 1, its \(type, version\) is \('TrainConfig', 0\)"),
        ({"type": "EvaluateConfig"}, "not a TrainConfig"),
        ({"ephocs": 3}, "unknown keys ephocs"),
        ({"optimization": {"rate": 1}}, r"unknown keys optimization\.rate"),
        ({"epochs": "many"}, "epochs: Input should be a valid integer, .*, got 'many'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(
    change: dict[str, object], message: str, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    write_config(tiny_config(train=("data/samples",)), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TrainerError, match=message):
        read_config(TrainConfig, path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"config\.json does not exist"):
        read_config(EvaluateConfig, tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TrainerError, match=r"config\.json is not JSON"):
        read_config(EvaluateConfig, tmp_path / "config.json")
