"""Configuration of a training run: data, network, starting points and recipe."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro import MISSING
from upath import UPath

from pipeline import LimitedConfig, OpenShare, PositiveInt, Share
from trainer.config_file import convert_to_record, flatten_record, read_config, write_config
from trainer.data.config import AugmentationConfig, ExemplarConfig, ProcessorConfig
from trainer.errors import TrainerError
from trainer.model.config import ExemplarScoringConfig, NetworkConfig, make_miniature_config, make_published_config
from trainer.training.optimizer import OptimizationConfig

CONFIG_FILE = "train_config.json"
"""Name of the configuration file in a run's folder."""

DEFAULT_TEXT_ENCODER = "google-bert/bert-base-uncased"

CHANGEABLE_FIELDS = frozenset(
    {
        "output",
        "epochs",
        "num_workers",
        "save_every_steps",
        "stop_after_steps",
        "log_every_steps",
        "resume",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "compile",
        "tracker",
        "validate_batch_images",
    }
)
"""Fields that may differ when a run is resumed."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LimitedConfig):
    """Configuration of a training run; the defaults are the published recipe."""

    output: Path
    """Folder of the run: ``train_config.json``, checkpoints ``last`` and ``best``, ``metrics.json`` and ``log``."""

    train: tuple[UPath, ...]
    """Runs of training samples, such as real samples and generated scenes."""

    train_split: str | None = "train"
    """Split of the first of ``train``, default ``train``; None: all splits. The other runs are used whole."""

    validate: UPath | None = None
    """Run of validation samples; default the first of ``train``."""

    validate_split: str | None = "val"
    """Split for validation, default ``val``. None: no validation, and the last checkpoint is the best."""

    start: str | None = None
    """Network whose weights training starts from, with a new optimizer: a folder that training has saved, a hub id
    (``org/name`` or ``org/name@revision``), or ``miniature``. Its text encoder and tokenizer are used, and the sizes of
    ``network`` must be its own. Parts that it lacks start from random weights. Default None: weights of
    ``text_encoder`` and ``pretrained_visual``."""

    text_encoder: str = DEFAULT_TEXT_ENCODER
    """Hub id or folder of the text encoder and its tokenizer. With ``start``, another one than the default must have
    the vocabulary of the started network."""

    text_from_scratch: bool = False
    """Flag to use only the configuration and the tokenizer of ``text_encoder``, with random weights."""

    pretrained_visual: Path | None = None
    """Detector that initializes the backbone (and the visual encoder); None: random weights. Formats:
    ``trainer.model.pretrained``."""

    transformers_backbone: str | None = None
    """Hub id or folder of a backbone of transformers (ResNet, ConvNeXt, Swin, DINOv2, ...), with its weights, in the
    place of the published ResNet. Its stride must divide ``network.image_size_px`` (448 or 672 for DINOv2)."""

    network: NetworkConfig = field(default_factory=make_published_config)
    """Sizes of the network."""

    processor: ProcessorConfig = field(default_factory=ProcessorConfig)
    """Preparation of images and queries."""

    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Augmentation of training images."""

    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    """Learning rates and their schedule."""

    epochs: PositiveInt = 90
    """Length of the training in epochs, at least 1."""

    steps: PositiveInt | None = None
    """Length of the training in steps, instead of ``epochs``. The last epoch ends early, and schedules span the steps.
    A run resumes only with the same number, because an epoch that ended early is not continued."""

    batch_images: PositiveInt = 64
    """Images of a step over all processes; a multiple of the number of processes."""

    max_queries: PositiveInt = 1
    """Largest number of queries about one image in a step; 1 is the published recipe, 4 costs little more time."""

    verification_loss_weight: float = 0.0
    """Weight of ``compute_verification_loss``; default 0, as in the published recipe."""

    exemplars: Annotated[ExemplarConfig | None, tyro.conf.AvoidSubcommands] = None
    """Training with exemplars, for a network with ``exemplar_scoring``; default None, as published."""

    crop_features: tuple[UPath, ...] = ()
    """Crop features of each of ``train``, in their order, for training with exemplars."""

    gradient_accumulation_steps: PositiveInt = 1
    """Parts of a step that are computed one after another to save memory. The result stays the same; with exemplars it
    changes a little, since the instances of one part are compared."""

    mixing_ratios: tuple[float, ...] = ()
    """Part of each of ``train`` in an epoch, default 1 for each. With ``1 0.5``, an epoch has all real queries and half
    of the scenes, and the next epoch has the other half."""

    max_synthetic_fraction: float | None = None
    """Largest fraction of an epoch's images that the runs after the first of ``train`` may have, between 0 and 1. The
    remaining images are used in later epochs. Default None: all of them in each epoch, or as in ``mixing_ratios``."""

    gradient_checkpointing: bool = False
    """Flag to recompute activations in the backward pass: a third slower, a fraction of the memory."""

    compile: bool = False
    """Flag to compile each kind of block and layer (torch.compile): minutes in the first steps, then faster ones. Steps
    are padded to the same numbers of images and queries, and validation is not compiled."""

    ema_decay: OpenShare | None = None
    """Decay of the exponential moving average of the weights, between 0 and 1, such as 0.9998. The average is validated
    and saved. Default None: no average."""

    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Tracker of losses, scores and images, in ``output/log``; ``wandb`` needs ``pip install wandb``."""

    prior_dropout: Share = 0.0
    """Probability in 0..1 that a query loses its prior, to train a network that also works without priors."""

    validate_every_epochs: PositiveInt = 1
    """Epochs from one validation to the next, at least 1; the last epoch is always validated."""

    validate_batch_images: int = 32
    """Images of a validation batch of one process."""

    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Precision of the forward pass, ``no`` for float32. Losses of ``fp16``, for GPUs without ``bf16``, are scaled.
    Default None: as `accelerate config` says, or else float32."""

    float32_matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Precision of float32 matrix products, see ``torch.set_float32_matmul_precision``: ``high`` lets GPUs that have
    TF32 use it, ``medium`` bf16. The default ``highest`` is PyTorch's. Convolutions use TF32 in any case."""

    num_workers: int = 2
    """Background processes that build batches, for each process; 0 builds them between steps."""

    save_every_steps: int = 500
    """Steps from one checkpoint to the next within an epoch; the end of an epoch saves one, too."""

    stop_after_steps: int | None = None
    """Number of steps of this call, for machines with time limits: training saves, stops, and can be resumed."""

    log_every_steps: PositiveInt = 50
    """Steps from one log line to the next, at least 1."""

    resume: Literal["auto", "never"] = "auto"
    """Treatment of a folder with a checkpoint: ``auto`` resumes it, ``never`` refuses it."""

    seed: int = 42
    """Seed of weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.exemplars is None) != (self.network.exemplar_scoring is None):
            raise ValueError(
                "exemplars of the training and exemplar_scoring of the network need each other, got "
                f"{self.exemplars} and {self.network.exemplar_scoring}; set both, or neither"
            )
        if len(self.crop_features) != (0 if self.exemplars is None else len(self.train)):
            raise ValueError(
                f"crop_features must be one run for each of train ({len(self.train)}) with exemplars, and none "
                f"without, got {len(self.crop_features)}; make them by `make crop-features`"
            )
        if not self.train:
            raise ValueError("train must name at least one run of samples, got none")
        if self.mixing_ratios and (len(self.mixing_ratios) != len(self.train) or min(self.mixing_ratios) <= 0):
            raise ValueError(
                f"mixing_ratios must be one positive number for each of train ({len(self.train)}), "
                f"got {self.mixing_ratios}"
            )
        if self.max_synthetic_fraction is not None and (self.mixing_ratios or not 0 < self.max_synthetic_fraction < 1):
            raise ValueError(
                f"max_synthetic_fraction must lie between 0 and 1, and instead of mixing_ratios, "
                f"got {self.max_synthetic_fraction}"
            )

    def describe_training(self) -> dict[str, Any]:
        """Return the fields that decide the trained weights, with dotted names, as JSON values."""
        values = flatten_record(convert_to_record(self))
        return {name: value for name, value in values if name.split(".")[0] not in CHANGEABLE_FIELDS}


def claim_run_folder(config: TrainConfig, write: bool = True) -> Path:
    """Save the configuration to its run's folder, if that folder is new or holds a run of the same configuration.

    Args:
        config: configuration of the run.
        write: False: only check, for all processes but one.

    Returns:
        The configuration file, for ``trainer.train --config``.

    Raises:
        TrainerError: the folder holds a run with another configuration, or ``resume`` is never.
    """
    path, last = config.output / CONFIG_FILE, config.output / "last"
    if last.is_symlink() != last.exists():  # the link leads nowhere, or it is no link
        raise TrainerError(
            f"{last} must be a link to a checkpoint folder beside it, got "
            f"{'a link to ' + str(last.readlink()) if last.is_symlink() else 'a folder'}; restore the link "
            f"(`ln -sfn checkpoint-... {last}`), or remove {config.output} to start again"
        )
    if last.exists():
        if config.resume == "never":
            raise TrainerError(f"{config.output} already holds a run; give another output, or --resume auto to resume")
        check_same_training(read_config(TrainConfig, path), config)
    if write:
        write_config(config, path)
    return path


def check_same_training(saved: TrainConfig, config: TrainConfig) -> None:
    """Check that a run may be resumed with a configuration.

    Raises:
        TrainerError: a field that decides the weights differs; names each with both values.
    """
    then, now = saved.describe_training(), config.describe_training()
    differences = [
        f"{name}: {then.get(name)!r} then, {now.get(name)!r} now"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if differences:
        raise TrainerError(
            f"{config.output} holds a run with another configuration ({'; '.join(differences)}); "
            "give another output, or the configuration of that run"
        )


def add_exemplars(
    config: TrainConfig, crop_features: tuple[UPath, ...], appearance_words: tuple[str, ...]
) -> TrainConfig:
    """Return a recipe with exemplars: priors are compared with the image, which all annotated instances teach.

    Args:
        config: recipe of a network with priors.
        crop_features: crop features of each of its ``train``.
        appearance_words: words in lower case that a prior shows.
    """
    return replace(
        config,
        network=replace(config.network, exemplar_scoring=ExemplarScoringConfig()),
        exemplars=ExemplarConfig(appearance_words=appearance_words, limit_words=config.text_from_scratch),
        crop_features=crop_features,
        prior_dropout=0.5,
        verification_loss_weight=config.verification_loss_weight or 2.0,
    )


def make_published_recipe(output: Path = MISSING, train: tuple[UPath, ...] = MISSING) -> TrainConfig:
    """Return the recipe of ResVG on RefCOCO-like datasets: 90 epochs of the network of the published sizes."""
    return TrainConfig(output=output, train=train)


def make_miniature_recipe(output: Path = MISSING, train: tuple[UPath, ...] = MISSING) -> TrainConfig:
    """Return the recipe of the miniature network on the miniature world: minutes on two CPU cores.

    The backbone comes from the miniature detector, which takes pixels in 0..1. The recipe differs from the published
    one: positions are added to the features, a loss acts on the verification score, and the only augmentation is the
    flip. The values were chosen on val in short runs of one seed, and several values changed at once.
    """
    return TrainConfig(
        output=output,
        train=train,
        network=make_miniature_config(),
        text_from_scratch=True,
        processor=ProcessorConfig(image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0)),
        augmentation=AugmentationConfig(
            long_sides=(1.0,), crop_probability=0.0, jitter_probability=0.0, random_placement=False
        ),
        optimization=OptimizationConfig(
            learning_rate=3e-4,
            pretrained_learning_rate=3e-4,
            freeze_epochs=0,
            schedule="cosine",
            warmup_steps=100,
            max_grad_norm=1.0,
        ),
        epochs=10,
        batch_images=8,
        max_queries=4,
        verification_loss_weight=2.0,
        validate_every_epochs=2,
        num_workers=0,
    )
