from workflows.cli.accelerate_launch import build_launch_command
from workflows.train import TrainCommandConfig


def test_the_launcher_is_told_of_all_machines() -> None:
    config = TrainCommandConfig(num_processes=4, num_machines=2, machine_rank=1, main_address="node1:29500")
    line = " ".join(build_launch_command(config))
    assert "--num_processes 8 --num_machines 2" in line
    assert "--multi_gpu --machine_rank 1 --main_process_ip node1 --main_process_port 29500" in line
    assert "--multi_gpu" not in build_launch_command(TrainCommandConfig())
