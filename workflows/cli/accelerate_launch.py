"""Launching with accelerate: one process or several, on one machine or several."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import LimitedConfig, PositiveInt
from trainer.errors import ERROR_FILE
from workflows.cli.console import UserError


@dataclass(frozen=True, kw_only=True)
class LaunchConfig(LimitedConfig):
    """Number and place of the processes."""

    num_processes: PositiveInt | None = None
    """Number of processes on each machine, one for each GPU. Default: as your `accelerate config` says, whose file is
    then used as a whole; 1 without such a file, and on several machines."""

    num_machines: PositiveInt = 1
    """Number of machines; run the command on each of them, with a shared output folder."""

    machine_rank: int = 0
    """Rank of this machine, from 0; machine 0 writes the files."""

    main_address: str = "127.0.0.1:29500"
    """Host and port of machine 0, as ``host:port``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.machine_rank < self.num_machines:
            raise UserError(f"machine_rank must be below num_machines {self.num_machines}, got {self.machine_rank}")
        host, _, port = self.main_address.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"main_address must be host:port, got {self.main_address!r}")

    @property
    def uses_accelerate_config(self) -> bool:
        """Whether the user has a file of `accelerate config`, and no option says otherwise."""
        from huggingface_hub.constants import HF_HOME

        files = [Path(HF_HOME) / "accelerate" / f"default_config.{suffix}" for suffix in ("yaml", "json")]
        return self.num_processes is None and self.num_machines == 1 and any(file.is_file() for file in files)

    @property
    def needs_launcher(self) -> bool:
        """Whether accelerate must start the processes; otherwise this one is enough."""
        return self.uses_accelerate_config or (self.num_processes or 1) * self.num_machines > 1


def build_launch_command(config: LaunchConfig) -> list[str]:
    """Return the command before ``-m module``; torchrun starts several processes, on GPUs or CPUs."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    if config.uses_accelerate_config:
        return launch
    total = (config.num_processes or 1) * config.num_machines
    launch += ["--num_processes", str(total), "--num_machines", str(config.num_machines)]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    if total > 1:
        host, _, port = config.main_address.rpartition(":")
        launch += ["--multi_gpu", "--machine_rank", str(config.machine_rank)]
        launch += ["--main_process_ip", host, "--main_process_port", port]
    return launch


def launch(config: LaunchConfig, arguments: Sequence[str]) -> None:
    """Run Python with these arguments on all processes, and wait for them.

    Raises:
        UserError: a process ended with an error that the user can fix.
        SystemExit: a process failed otherwise, with its status.
    """
    with tempfile.TemporaryDirectory() as folder:
        error = Path(folder) / "error"
        environment = {**os.environ, ERROR_FILE: str(error)}
        completed = subprocess.run([*build_launch_command(config), *arguments], check=False, env=environment)
        if error.is_file():
            raise UserError(error.read_text())
    if completed.returncode:
        sys.exit(completed.returncode)
