"""Train the grounding network on packed shards, with ``accelerate launch``.

    make train                                        # priors and scenes, the miniature network
    make train ARGS="--arm base"                      # the same network without either (VLTVG)
    make train ARGS="--dataset refcoco --recipe published --processes 4 -- --mixed-precision bf16"

What follows ``--`` is passed on to ``trainer.train``; ``python -m trainer.train miniature --help`` lists it. The same
command goes on with an interrupted training.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from upath import UPath

from workflows.console import UserError, lies_in, run
from workflows.layout import DATA, folders
from workflows.presets.miniature import WEIGHTS
from workflows.prior_config import load_prior_config, save_prior_config

Arm = Literal["base", "priors", "scenes", "both"]

MINIATURE_EPOCHS = {"base": 10, "priors": 10, "scenes": 7, "both": 7}
"""Scenes are a third more data: fewer epochs give every arm about the same number of steps."""


@dataclass(frozen=True, kw_only=True)
class TrainCommandConfig:
    """Which data, which arm, which recipe."""

    dataset: str = "miniature"
    arm: Arm = "both"
    """``base``: neither; ``priors``: the semantic priors; ``scenes``: the generated scenes as further training data."""

    recipe: Literal["miniature", "published"] = "miniature"
    output: Path | None = None
    """Folder of the run; ``runs/<dataset>-<arm>`` where not given."""

    data: UPath = DATA
    epochs: int | None = None
    """Where not given, the recipe's; for the miniature as many as give every arm about the same number of steps."""

    processes: int = 1
    """Processes on each machine, one for each GPU."""

    machines: int = 1
    """Machines that train together; this command runs on each of them, into one folder that all of them share."""

    machine_rank: int = 0
    """Which of the machines this is; 0 writes the checkpoints."""

    main_address: str = "127.0.0.1:29500"
    """Host and port at which machine 0 can be reached."""

    rest: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train``."""

    def __post_init__(self) -> None:
        if self.processes < 1 or self.machines < 1 or not 0 <= self.machine_rank < self.machines:
            raise UserError(
                f"processes and machines must be at least 1 and machine_rank below machines, got {self.processes}, "
                f"{self.machines} and {self.machine_rank}"
            )
        host, _, port = self.main_address.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"main_address must be host:port, got {self.main_address!r}")

    @property
    def run_folder(self) -> Path:
        return self.output or Path("runs") / f"{self.dataset}-{self.arm}"


def arguments(config: TrainCommandConfig) -> list[str]:
    """The command line of ``trainer.train``."""
    place = folders(config.dataset, config.data)
    train = [place.packed("samples")]
    if config.arm in ("scenes", "both"):
        train.append(place.packed("scenes"))
    for folder in train:
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; run `make generate-priors augment pack` first")
    chosen = [config.recipe, "--output", str(config.run_folder), "--train", *map(str, train)]
    if config.recipe == "miniature":
        chosen += ["--text-encoder", str(WEIGHTS / "bert"), "--visual-start", str(WEIGHTS / "detector")]
    if config.arm in ("base", "scenes"):
        chosen += ["--network.no-use-prior"]
    epochs = config.epochs
    if epochs is None and config.recipe == "miniature":
        epochs = MINIATURE_EPOCHS[config.arm]
    if epochs is not None:
        chosen += ["--epochs", str(epochs)]
    return [*chosen, *config.rest]


def launcher(config: TrainCommandConfig) -> list[str]:
    """The command line of accelerate; with several processes torchrun starts them, on GPUs or CPUs."""
    total = config.processes * config.machines
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(total)]
    launch += ["--num_machines", str(config.machines), "--mixed_precision", "no", "--dynamo_backend", "no", "--quiet"]
    if total > 1:
        host, _, port = config.main_address.rpartition(":")
        launch += ["--multi_gpu", "--machine_rank", str(config.machine_rank)]
        launch += ["--main_process_ip", host, "--main_process_port", port]
    return launch


def main(config: TrainCommandConfig) -> None:
    """Launch, wait, and pass the exit status on; how the priors were made is kept beside the network."""
    chosen = arguments(config)
    prior = load_prior_config(folders(config.dataset, config.data).prior_config)
    if config.machine_rank == 0:
        save_prior_config(config.run_folder / "prior.json", prior)
    done = subprocess.run([*launcher(config), "-m", "trainer.train", *chosen], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    lies_in("the trained network", config.run_folder / "best")


if __name__ == "__main__":
    run(main, TrainCommandConfig, __doc__)
