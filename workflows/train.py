"""Train the grounding network, with ``accelerate launch``.

    make train                                        # priors and scenes, the miniature network
    make train ARGS="--variant base"                      # the same network without either (VLTVG)
    make train ARGS="--dataset refcoco --detr-weights detr --num-processes 4 -- --mixed-precision bf16"

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

from workflows.cli.accelerate_launch import LaunchConfig, build_launch_command
from workflows.cli.console import UserError, print_path, run
from workflows.cli.paths import DATA, get_dataset_paths
from workflows.miniature import WEIGHTS
from workflows.miniature.models.visual_start import PretrainedVisualConfig
from workflows.miniature.models.visual_start import main as pretrain_backbone
from workflows.presets.published import DETR_WEIGHTS
from workflows.priors.config import load_prior_config, save_prior_config
from workflows.reports.training_plots import plot_learning

Variant = Literal["base", "priors", "scenes", "both"]
Recipe = Literal["miniature", "published"]

MINIATURE_STEPS = 3_100
"""Of every arm, whatever its data."""

MAX_SYNTHETIC_FRACTION = 0.25
"""Of the images that are looked at. More of them make a network worse on what they do not teach: docs/study.md."""


@dataclass(frozen=True, kw_only=True)
class TrainCommandConfig(LaunchConfig):
    """Which data, which arm, which recipe."""

    dataset: str = "miniature"
    variant: Variant = "both"
    """``base``: neither, which needs nothing but ``make ingest``; ``priors``: the semantic priors; ``scenes``: the
    generated scenes as further training data, a quarter of the images at most (``-- --max-synthetic-fraction 0.5``:
    of any other
    share, None of all)."""

    recipe: Recipe | None = None
    """Where not given ``miniature`` for the miniature world, and ``published`` for all other data sets."""

    output: Path | None = None
    """Folder of the run; ``runs/<dataset>-<variant>`` where not given."""

    data: UPath = DATA
    epochs: int | None = None
    """Where not given, the recipe's; for the miniature 3,100 steps, for every arm alike."""

    pretrained_visual: Path | None = None
    """Detector whose backbone the network starts from; for the miniature one that was taught the looks of objects,
    which
    is made where it is missing (``python -m workflows.miniature.models.visual_start``)."""

    detr_weights: Path | None = None
    """Folder of the published starting points (``detr-r50-unc.pth``, ...): with the recipe ``published`` the one that
    was trained without the data set's test images is taken. Other detectors: ``--pretrained-visual``."""

    trainer_args: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detr_weights is not None and self.pretrained_visual is not None:
            raise UserError(
                "--detr-weights and --pretrained-visual both say what the backbone starts from; give one of them"
            )

    @property
    def chosen_recipe(self) -> Recipe:
        return self.recipe or ("miniature" if self.dataset == "miniature" else "published")

    @property
    def run_folder(self) -> Path:
        return self.output or Path("runs") / f"{self.dataset}-{self.variant}"


def build_trainer_args(config: TrainCommandConfig) -> list[str]:
    """The command line of ``trainer.train``."""
    chosen = [
        config.chosen_recipe,
        "--output",
        str(config.run_folder),
        "--train",
        *map(str, find_training_data(config)),
    ]
    if config.chosen_recipe == "miniature":
        chosen += ["--text-encoder", str(WEIGHTS / "bert")]
    if start := find_pretrained_weights(config):
        chosen += ["--pretrained-visual", str(start)]
    if config.variant in ("scenes", "both") and "--mixing-ratios" not in config.trainer_args:
        chosen += ["--max-synthetic-fraction", str(MAX_SYNTHETIC_FRACTION)]
    if config.variant in ("base", "scenes"):
        chosen += ["--network.no-use-prior"]
    if config.epochs is not None:
        chosen += ["--epochs", str(config.epochs)]
    elif config.chosen_recipe == "miniature":
        chosen += ["--steps", str(MINIATURE_STEPS)]
    return [*chosen, *config.trainer_args]


def find_training_data(config: TrainCommandConfig) -> list[UPath]:
    """Samples, and scenes of the arms that have them; joined with priors for the arms that have these.

    Raises:
        UserError: some of them are still to be made.
    """
    paths = get_dataset_paths(config.dataset, config.data)
    if config.variant in ("priors", "both"):
        needed = {
            paths.get_packed_run("samples"): "generate-priors pack",
            paths.get_packed_run("scenes"): "augment pack",
        }
    else:
        needed = {paths.samples: "ingest", paths.scenes: "augment"}
    train = list(needed)[: 2 if config.variant in ("scenes", "both") else 1]
    for folder in train:
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; run `make {needed[folder]}` for {config.dataset!r} first")
    return train


def find_pretrained_weights(config: TrainCommandConfig) -> Path | None:
    """What the backbone starts from: what was named, or what goes with the recipe; None if ``trainer_args`` says it.

    Raises:
        UserError: the published recipe is given nothing to start from.
    """
    if config.pretrained_visual is not None:
        return config.pretrained_visual
    if config.detr_weights is not None:
        return _find_detr_weights(config.detr_weights, config)
    if config.chosen_recipe == "miniature":
        return PretrainedVisualConfig().output
    if "--pretrained-visual" not in config.trainer_args:
        raise UserError(
            "the published recipe starts from a trained detector, whose layers it freezes at first: give "
            "--detr-weights FOLDER "
            "or --pretrained-visual (`-- --pretrained-visual None` for random weights)"
        )
    return None


def _find_detr_weights(folder: Path, config: TrainCommandConfig) -> Path:
    """
    Raises:
        UserError: which file it is cannot be told, or it is not there.
    """
    if config.chosen_recipe != "published" or config.dataset not in DETR_WEIGHTS:
        raise UserError(
            f"--detr-weights is for the recipe published and the data sets {', '.join(DETR_WEIGHTS)}, got "
            f"{config.chosen_recipe} and {config.dataset}; name a detector with --pretrained-visual"
        )
    path = folder / DETR_WEIGHTS[config.dataset]
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; VLTVG's authors publish it, or name a detector with --pretrained-visual"
        )
    return path


def main(config: TrainCommandConfig) -> None:
    """Launch, wait, and pass the exit status on; how the priors were made is kept beside the network."""
    chosen = build_trainer_args(config)
    if find_pretrained_weights(config) == PretrainedVisualConfig().output:
        pretrain_backbone(PretrainedVisualConfig())
    prior = load_prior_config(get_dataset_paths(config.dataset, config.data).prior_config)
    if config.machine_rank == 0:
        save_prior_config(config.run_folder / "prior.json", prior)
    completed = subprocess.run([*build_launch_command(config), "-m", "trainer.train", *chosen], check=False)
    if config.machine_rank == 0 and (config.run_folder / "metrics.json").is_file():
        plot_learning(config.run_folder / "metrics.json", config.run_folder / "learning.png")
    if completed.returncode:
        sys.exit(completed.returncode)
    print_path("the trained network", config.run_folder / "best")


if __name__ == "__main__":
    run(main, TrainCommandConfig, __doc__)
