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


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_the_user_comes_as_one_line(num_processes: int, capfd: pytest.CaptureFixture[str]) -> None:
    config = TrainCommandConfig(num_processes=num_processes, main_address="127.0.0.1:0")
    with pytest.raises(UserError, match=r"^absent\.json does not exist"):
        launch(config, ["-m", "trainer.train", "--config", "absent.json"])
    assert "absent.json" not in capfd.readouterr().err
