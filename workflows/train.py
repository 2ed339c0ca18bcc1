"""Train the grounding network, with ``accelerate launch``.

    make train                                        # priors and scenes, the miniature network
    make train ARGS="--variant base"                  # the same network without either (VLTVG)
    make train ARGS="--dataset refcoco --detr-weights detr --num-processes 4 -- --mixed-precision bf16"
    make train ARGS="--dataset mine --recipe miniature --start miniature --epochs 5"  # fine-tune a network

Options after ``--`` change single values of the training; ``python -m trainer.train miniature --help`` lists them. The
run's folder then holds the whole configuration, ``train_config.json``. To resume, run the same command again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from upath import UPath

from trainer.config import (
    TrainConfig,
    add_exemplars,
    claim_run_folder,
    make_miniature_recipe,
    make_published_recipe,
)
from trainer.config_file import parse_overrides
from workflows.cli.accelerate_launch import LaunchConfig, launch
from workflows.cli.console import UserError, print_path, run
from workflows.cli.paths import DatasetConfig
from workflows.miniature import BACKBONE, WEIGHTS
from workflows.presets.published import DETR_WEIGHTS
from workflows.priors.config import load_prior_config, save_prior_config
from workflows.priors.query_parsing import QuerySource, list_appearance_words
from workflows.reports.training_plots import plot_learning

Variant = Literal["base", "priors", "scenes", "both"]
Recipe = Literal["miniature", "published"]

MINIATURE_STEPS = 3_100
"""Steps of every variant on the miniature world, so that all have the same budget."""


@dataclass(frozen=True, kw_only=True)
class TrainCommandConfig(DatasetConfig, LaunchConfig):
    """Data, variant and recipe of a training run."""

    variant: Variant = "both"
    """Training data: ``base`` needs only ``make ingest``, ``priors`` adds semantic priors, ``scenes`` adds generated
    scenes, ``both`` adds both."""

    recipe: Recipe | None = None
    """Recipe; default ``miniature`` for the miniature world and ``published`` for all other datasets."""

    output: Path | None = None
    """Folder of the run; default ``runs/<dataset>-<variant>``."""

    epochs: int | None = None
    """Length of the training in epochs; default the recipe's, for the miniature 3,100 steps."""

    max_synthetic_fraction: float | None = 0.25
    """Largest fraction of an epoch's images that are generated scenes; None: all scenes in each epoch. More than a
    quarter made networks worse (docs/study.md)."""

    pretrained_visual: Path | None = None
    """Detector that initializes the backbone. The default of the miniature recipe is part of the miniature models, and
    was pretrained on object appearance."""

    detr_weights: Path | None = None
    """Folder of VLTVG's files (``detr-r50-unc.pth``, ...) for the recipe ``published``. The file for the dataset is
    used, which was trained without its test images. For other detectors, use ``--pretrained-visual``."""

    start: str | None = None
    """Network whose weights training starts from, to fine-tune it on other data: a folder that training has saved,
    ``miniature``, or a hub id, ``org/name`` or ``org/name@revision``."""

    random_weights: bool = False
    """Flag to start the backbone from random weights."""

    exemplars: bool | None = None
    """Flag to compare priors with the image, and to train that on all annotated instances (`make crop-features`).
    Default: with priors in the recipe ``miniature``; not in ``published``, whose priors start the target token."""

    trainer_args: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Options of ``trainer.train``, after ``--``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        starts = (self.detr_weights, self.pretrained_visual, self.start, self.random_weights or None)
        if sum(start is not None for start in starts) > 1:
            raise UserError(
                "--detr-weights, --pretrained-visual, --start and --random-weights all choose the backbone's weights; "
                "give one of them"
            )
        if self.exemplars and not self.has_priors:
            raise UserError(f"--exemplars is for the variants priors and both, got {self.variant}, which has no priors")

    @property
    def has_priors(self) -> bool:
        """Whether the variant has priors."""
        return self.variant in ("priors", "both")

    @property
    def uses_exemplars(self) -> bool:
        """Whether priors are compared with the image."""
        return self.has_priors and (self.chosen_recipe == "miniature" if self.exemplars is None else self.exemplars)

    @property
    def chosen_recipe(self) -> Recipe:
        """Recipe that was given, or the dataset's."""
        return self.recipe or ("miniature" if self.dataset == "miniature" else "published")

    @property
    def run_folder(self) -> Path:
        """Folder that was given, or the default."""
        return self.output or Path("runs") / f"{self.dataset}-{self.variant}"


def build_train_config(config: TrainCommandConfig) -> TrainConfig:
    """Return the configuration of the training: the recipe, this command's choices, and ``trainer_args`` on top.

    Raises:
        UserError: data are missing, or the published recipe has no weights to start from.
        SystemExit: ``trainer_args`` have an unknown option, or a value breaks a rule.
    """
    is_miniature = config.chosen_recipe == "miniature"
    make_recipe = make_miniature_recipe if is_miniature else make_published_recipe
    recipe = make_recipe(config.run_folder, tuple(find_training_data(config)))
    if is_miniature:
        recipe = replace(recipe, steps=MINIATURE_STEPS)
    if config.start is not None:
        recipe = replace(recipe, start=config.start)
    elif is_miniature:
        recipe = replace(recipe, text_encoder=str(WEIGHTS / "bert"))
    if config.epochs is not None:
        recipe = replace(recipe, epochs=config.epochs, steps=None)
    if not config.has_priors:
        recipe = replace(recipe, network=replace(recipe.network, use_prior=False))
    if config.uses_exemplars:
        prior = load_prior_config(config.paths.prior_config)
        recipe = add_exemplars(recipe, tuple(find_crop_features(config)), list_appearance_words(prior))
    recipe = replace(recipe, pretrained_visual=find_pretrained_weights(config))
    train_config = parse_overrides(recipe, config.trainer_args)
    if len(train_config.train) > 1 and not train_config.mixing_ratios and train_config.max_synthetic_fraction is None:
        train_config = replace(train_config, max_synthetic_fraction=config.max_synthetic_fraction)
    starts = (train_config.pretrained_visual, train_config.start, config.random_weights or None)
    if not is_miniature and starts == (None, None, None):
        raise UserError(
            "the published recipe starts from a pretrained detector, whose layers it freezes at first; give "
            "--detr-weights FOLDER or --pretrained-visual FILE (docs/faq.md links DETR-R50), --start NETWORK, or "
            "--random-weights"
        )
    return train_config


def find_training_data(config: TrainCommandConfig) -> list[UPath]:
    """Return the runs of the variant: samples, scenes if it has them, packed with priors if it has those.

    Raises:
        UserError: a run does not exist; names the command that makes it.
    """
    paths = config.paths
    if config.has_priors:
        needed = {
            paths.get_packed_run("samples"): "generate-priors pack",
            paths.get_packed_run("scenes"): "augment pack",
        }
    else:
        needed = {paths.samples: "ingest", paths.scenes: "augment"}
    train = list(needed)[: 2 if config.variant in ("scenes", "both") else 1]
    config.check_exists(paths.samples, "ingest")
    return [config.check_exists(folder, needed[folder]) for folder in train]


def find_crop_features(config: TrainCommandConfig) -> list[UPath]:
    """Return the crop features of each run of the variant.

    Raises:
        UserError: a run does not exist; names the command that makes it.
    """
    sources: tuple[QuerySource, ...] = ("samples", "scenes") if config.variant == "both" else ("samples",)
    return [config.check_exists(config.paths.get_crop_features_run(source), "crop-features") for source in sources]


def find_pretrained_weights(config: TrainCommandConfig) -> Path | None:
    """Return the detector that initializes the backbone: the one that was given, or the recipe's; None without one.

    Raises:
        UserError: the file of ``detr_weights`` does not exist, or there is none for the dataset.
    """
    if config.detr_weights is not None:
        return _find_detr_weights(config.detr_weights, config)
    given = (config.pretrained_visual, config.start, config.random_weights or None)
    if given == (None, None, None) and config.chosen_recipe == "miniature":
        return BACKBONE
    return config.pretrained_visual


def _find_detr_weights(folder: Path, config: TrainCommandConfig) -> Path:
    if config.chosen_recipe != "published" or config.dataset not in DETR_WEIGHTS:
        raise UserError(
            f"--detr-weights is for the recipe published and the datasets {', '.join(DETR_WEIGHTS)}, got "
            f"{config.chosen_recipe} and {config.dataset}; name a detector with --pretrained-visual"
        )
    path = folder / DETR_WEIGHTS[config.dataset]
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; download it from VLTVG's authors, or name a detector with --pretrained-visual"
        )
    return path


def main(config: TrainCommandConfig) -> None:
    """Write the configuration, launch the trainer, and pass its exit status on."""
    train_config = build_train_config(config)
    folder = train_config.output
    path = claim_run_folder(train_config)  # by every machine, with the same bytes: none waits for another's file
    if config.machine_rank == 0:
        prior = load_prior_config(config.paths.prior_config)
        save_prior_config(folder / "prior.json", prior)
    try:
        launch(config, ["-m", "trainer.train", "--config", str(path)])
    finally:
        if config.machine_rank == 0 and (folder / "metrics.json").is_file():
            plot_learning(folder / "metrics.json", folder / "learning.png")
    print_path("the trained network", folder / "best")


if __name__ == "__main__":
    run(main, TrainCommandConfig, __doc__)
