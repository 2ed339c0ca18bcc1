"""Size of a rehearsal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pipeline import LimitedConfig, NotNegativeInt, PositiveInt, Range


@dataclass(frozen=True, kw_only=True)
class RehearsalConfig(LimitedConfig):
    """Number of images and steps; the defaults are for a GPU, and the presets' own."""

    num_images: Annotated[int, Range(8)] = 100
    """Number of images of the dataset, at least 8; a tenth is in each of val, testA and testB."""

    num_scenes: Annotated[int, Range(6)] = 96
    """Number of scenes over three composers, at least 6."""

    image_size_px: PositiveInt = 512
    """Side of the rendered images, a multiple of 8."""

    num_inference_steps: PositiveInt = 20
    """Number of denoising steps of a rendered image."""

    num_views: PositiveInt = 5
    """Number of crops of each instance."""

    train_steps: Annotated[int, Range(2)] = 20
    """Number of steps of each training, at least 2; the first one is not counted in the times."""

    batch_images: PositiveInt = 64
    """Number of images of a training step, each with one query."""

    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of training and evaluation."""

    num_workers: NotNegativeInt = 4
    """Number of processes that build the batches of a training."""

    device: Literal["auto", "cpu"] = "auto"
    """Device: the first GPU, or the CPU without one; ``cpu`` hides the GPUs."""

    smoke: bool = False
    """Flag to test every step in minutes on a CPU: the models have the same classes and a few small layers. Other
    options are then ignored, except ``device`` and ``output``."""

    output: Path | None = None
    """Folder of models, data, networks and report; by default ``runs/rehearsal``, or ``runs/rehearsal-smoke``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size_px % 8:
            raise ValueError(
                f"image_size_px must be a multiple of 8 (the VAE's stride), got {self.image_size_px}; "
                f"try {max(8, self.image_size_px // 8 * 8)}"
            )

    @property
    def folder(self) -> Path:
        """Folder that was given, or the default."""
        return self.output or Path("runs") / ("rehearsal-smoke" if self.smoke else "rehearsal")

    @property
    def sized(self) -> RehearsalConfig:
        """Return the configuration itself, or with ``smoke`` one of small sizes."""
        if not self.smoke:
            return self
        return replace(
            self,
            num_images=16,
            num_scenes=12,
            image_size_px=64,
            num_inference_steps=2,
            num_views=2,
            train_steps=2,
            batch_images=2,
            num_workers=0,
        )
