from pathlib import Path

import pytest

from workflows.cli.accelerate_launch import build_launch_command, launch
from workflows.cli.console import UserError
from workflows.train import TrainCommandConfig


def test_the_launcher_is_told_of_all_machines() -> None:
    config = TrainCommandConfig(num_processes=4, num_machines=2, machine_rank=1, main_address="node1:29500")
    line = " ".join(build_launch_command(config))
    assert "--num_processes 8 --num_machines 2" in line
    assert "--multi_gpu --machine_rank 1 --main_process_ip node1 --main_process_port 29500" in line
    assert "--multi_gpu" not in build_launch_command(TrainCommandConfig())


def test_the_user_s_accelerate_config_is_used_unless_an_option_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    config = TrainCommandConfig()
    assert not config.needs_launcher and TrainCommandConfig(num_processes=2).needs_launcher
    assert "--num_processes 1 --num_machines 1 --mixed_precision no" in " ".join(build_launch_command(config))
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("num_processes: 2")
    assert config.needs_launcher and build_launch_command(config)[-1] == "--quiet"
    assert "--num_processes 1 " in " ".join(build_launch_command(TrainCommandConfig(num_processes=1)))
    assert "--num_processes 3 --num_machines 3" in " ".join(build_launch_command(TrainCommandConfig(num_machines=3)))


@pytest.mark.slow
def test_the_precision_of_the_user_s_accelerate_config_reaches_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: bf16\nnum_processes: 1\n"
        "num_machines: 1\nmachine_rank: 0\nuse_cpu: true\n"
    )
    (tmp_path / "show.py").write_text("from accelerate import Accelerator\nprint(Accelerator().mixed_precision)\n")
    launch(TrainCommandConfig(), [str(tmp_path / "show.py")])
    launch(TrainCommandConfig(num_processes=1), [str(tmp_path / "show.py")])
    assert capfd.readouterr().out.split() == ["bf16", "no"]


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_the_user_comes_as_one_line(num_processes: int, capfd: pytest.CaptureFixture[str]) -> None:
    config = TrainCommandConfig(num_processes=num_processes, main_address="127.0.0.1:0")
    with pytest.raises(UserError, match=r"^absent\.json does not exist"):
        launch(config, ["-m", "trainer.train", "--config", "absent.json"])
    assert "absent.json" not in capfd.readouterr().err
