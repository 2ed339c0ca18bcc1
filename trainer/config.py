"""What a training run is: data, network, starting points, recipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro import MISSING
from upath import UPath

from trainer.data.processor import ProcessorConfig
from trainer.data.transforms import AugmentationConfig
from trainer.model.config import NetworkConfig, make_miniature_config, make_published_config
from trainer.training.optimizer import OptimizationConfig

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
class TrainConfig:
    """The defaults are the published recipe."""

    output: Path
    """Folder of the run: ``last`` and ``best`` (checkpoints), ``metrics.json``, ``log`` (tensorboard)."""

    train: tuple[UPath, ...]
    """Runs of training samples, such as the real ones and generated scenes; all their queries are asked."""

    train_split: str | None = "train"
    """Split of the first of ``train``; the others are taken whole. None for the whole first one, too."""

    validate: UPath | None = None
    """Run of validation samples; the first of ``train`` where not given."""

    validate_split: str | None = "val"
    """None: no validation; the last checkpoint counts as the best."""

    text_encoder: str = "google-bert/bert-base-uncased"
    """Hub id or folder of the text encoder and its tokenizer."""

    text_from_scratch: bool = False
    """Take only the configuration and the tokenizer of ``text_encoder``."""

    pretrained_visual: Path | None = None
    """Detector whose backbone (and visual encoder) the network starts from; see ``trainer.model.pretrained``."""

    network: NetworkConfig = field(default_factory=make_published_config)
    processor: ProcessorConfig = field(default_factory=ProcessorConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)

    epochs: int = 90
    steps: int | None = None
    """Length of the training, instead of ``epochs``: the last epoch ends with them, and schedules run over them. A run
    goes on only with the same number, since an epoch that was cut is not taken up again."""

    batch_images: int = 64
    """Images of a step, of all processes together; a multiple of their number."""

    max_queries: int = 1
    """Queries asked of an image at once; 1 is the published composition, 4 costs little more a step."""

    verification_loss_weight: float = 0.0
    """Weight of ``losses.attention_loss``; the published recipe has none."""

    prior_loss_weight: float = 0.0
    """Weight of ``losses.prior_loss``, for a network whose priors verify; the published recipe has none."""

    gradient_accumulation_steps: int = 1
    """Parts in which a step is computed, one after another, to save memory; its result stays that of the whole."""

    mixing_ratios: tuple[float, ...] = ()
    """How much of each of ``train`` an epoch asks, such as ``1 0.5``: all of the real queries, and of the generated
    scenes one half in each epoch, in turn. All of everything where not given."""

    max_synthetic_fraction: float | None = None
    """Largest share of an epoch's images that runs after the first of ``train`` may have, such as 0.25 of generated
    scenes; the rest of them comes in the next epochs, in turn. None: all in each epoch, or as ``mixing_ratios``
    says."""

    gradient_checkpointing: bool = False
    """Keep no activations between layers but compute them anew for the gradients: a third slower, a fraction of the
    memory (gradient checkpointing)."""

    compile: bool = False
    """Compile the network's parts (torch.compile): minutes at the start, faster steps afterwards."""

    ema_decay: float | None = None
    """Average the weights over steps with this decay, such as 0.9998; the average is what is validated and saved."""

    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Where figures and images of each run go, below ``output/log``; ``wandb`` needs ``pip install wandb``."""

    prior_dropout: float = 0.0
    """Probability that a query goes without its prior, so that the network also works without."""

    validate_every_epochs: int = 1
    validate_batch_images: int = 32
    mixed_precision: Literal["no", "bf16"] = "no"
    num_workers: int = 2
    """Processes that prepare batches; 0 prepares them in between steps."""

    save_every_steps: int = 500
    """Checkpoint within an epoch; one is saved at the end of each epoch, too."""

    stop_after_steps: int | None = None
    """Save and stop after so many steps of this call, for time-sliced machines."""

    log_every_steps: int = 50
    resume: Literal["auto", "never"] = "auto"
    """``auto`` goes on from ``output/last`` if there is one; ``never`` refuses then."""

    seed: int = 42

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "batch_images",
            "max_queries",
            "gradient_accumulation_steps",
            "validate_every_epochs",
            "log_every_steps",
        )
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.prior_dropout <= 1:
            raise ValueError(f"prior_dropout must lie in 0..1, got {self.prior_dropout}")
        if self.prior_loss_weight and not self.network.use_prior_verification:
            raise ValueError(
                f"prior_loss_weight {self.prior_loss_weight} needs a network with use_prior_verification; "
                f"set that, or 0"
            )
        if not self.train:
            raise ValueError("train must name at least one run of samples")
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
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, such as 0.9998, got {self.ema_decay}")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return record

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What of another run's ``to_json`` differs in a way that forbids to go on with it."""
        own = self.to_json()
        return [
            f"{name}: {other.get(name)!r} then, {own[name]!r} now"
            for name in own
            if name not in CHANGEABLE_FIELDS and own[name] != other.get(name)
        ]


def make_published_recipe(output: Path = MISSING, train: tuple[UPath, ...] = MISSING) -> TrainConfig:
    """ResVG on RefCOCO-like data sets: 90 epochs of the network of the published sizes."""
    return TrainConfig(output=output, train=train)


def make_miniature_recipe(output: Path = MISSING, train: tuple[UPath, ...] = MISSING) -> TrainConfig:
    """The miniature network on the miniature world: minutes on two CPU cores.

    Its backbone comes from the miniature detector, which takes pixels in 0..1 as they are. Not the published recipe in
    two ways: positions are added to the features, and a loss acts on the verification score. Of the augmentation only
    the flip is left. All of this was chosen on val in short runs of one seed that changed several objects at once.
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
