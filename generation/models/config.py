"""Configurations and array types of the models, apart from these so that they load no library of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RgbImage = npt.NDArray[np.uint8]
"""(height, width, 3) RGB array."""

Feature = npt.NDArray[np.float16]
"""(dim,) array of length 1 up to rounding; shorter if it is the mean over several images."""


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Text-to-image checkpoint and settings of its sampler."""

    checkpoint: str
    """Hub id or local folder of a diffusers text-to-image pipeline."""

    revision: str | None = None
    """Branch, tag or commit on the hub; ignored for folders."""

    scheduler: str | None = None
    """Name of a diffusers scheduler class, such as ``DDIMScheduler``; None uses the checkpoint's own."""

    num_inference_steps: int = 20
    """Number of denoising steps, at least 1."""

    guidance_scale: float = 7.5
    """Scale of classifier-free guidance; 1 or less disables guidance and the negative prompt."""

    image_size_px: int = 512
    """Side of the square image; a multiple of 8, the VAE's stride."""

    batch_size: int = 8
    """Number of images rendered at once; halved, with a warning, if the GPU's memory is too small."""

    small_vae: str | None = None
    """Hub id or folder of a smaller VAE for the same latents, such as ``madebyollin/taesd``.

    With few steps, the checkpoint's own VAE takes half of the time. A VAE with other images for CLIP is refused.
    """

    compile: bool = False
    """Compilation of the denoiser and of the VAE's decoder; off by default.

    It takes one or two minutes at the start of each worker, then a GPU renders faster. Batches are filled up to
    ``batch_size``, since another number of images would be compiled again.
    """

    safety_checker: bool = False
    """Use of the checkpoint's own filter, which makes images black and counts them; off, as priors are never shown.
    """

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Precision of the weights; ``auto`` is float16 on a CUDA GPU and float32 elsewhere."""

    device: str = "auto"
    """Device of torch, or ``auto``: the first GPU, or the CPU without one."""

    def __post_init__(self) -> None:
        if self.image_size_px <= 0 or self.image_size_px % 8:
            raise ValueError(
                f"image_size_px must be a positive multiple of 8 (the VAE's stride), got {self.image_size_px}; "
                f"try {max(8, self.image_size_px // 8 * 8)}"
            )
        if self.num_inference_steps < 1 or self.batch_size < 1:
            raise ValueError(
                f"steps and batch_size must be at least 1, got {self.num_inference_steps} and {self.batch_size}"
            )
        if self.guidance_scale < 0:
            raise ValueError(f"guidance must not be negative, got {self.guidance_scale}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Checkpoint of an image encoder with a projection into a space shared with text."""

    checkpoint: str = "openai/clip-vit-base-patch32"
    """Hub id or local folder of a CLIP, or of its vision tower with projection, which gives no CLIP score."""

    revision: str | None = None
    """Branch, tag or commit on the hub; ignored for folders."""

    batch_size: int = 32
    """Number of images that are encoded at once."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "float32"
    """Precision of the weights; ``auto`` is float16 on a CUDA GPU and float32 elsewhere."""

    device: str = "auto"
    """Device of torch, or ``auto``: the first GPU, or the CPU without one."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
