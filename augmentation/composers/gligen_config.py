"""Configuration of GLIGEN, apart from its composer so that it loads no library of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from augmentation.composers.layouts import LayoutConfig
from pipeline import LimitedConfig, NotNegativeFloat, PositiveInt, Range, Share


@dataclass(frozen=True, kw_only=True)
class GligenConfig(LimitedConfig):
    """GLIGEN checkpoint, sampling settings and layouts."""

    checkpoint: str
    """Hub id or local folder of a text-to-image GLIGEN in diffusers' format, which takes a phrase for each box."""

    revision: str | None = None
    """Branch, tag or commit on the hub; not for folders."""

    num_inference_steps: PositiveInt = 50
    """Denoising steps."""

    guidance_scale: NotNegativeFloat = 7.5
    """Classifier-free guidance scale; 1 or less switches it off, and the negative prompt with it."""

    grounded_share: Share = 0.3
    """Share of the steps that see the boxes, the first ones, in [0, 1]. Positions are settled early, and without boxes
    the underlying text-to-image model renders better (scheduled sampling, tau in arXiv:2301.07093)."""

    image_size_px: int = 512
    """Side of the square image; a multiple of 8, the VAE's stride."""

    batch_size: PositiveInt = 4
    """Number of images rendered at a time."""

    layout: LayoutConfig = field(default_factory=LayoutConfig)
    aspect_ratios: Mapping[str, float] = field(default_factory=dict)
    """Width / height of the boxes by category, such as ``{"person": 0.4}``."""

    max_aspect_ratio: Annotated[float, Range(1)] = 1.5
    """Maximum width / height of the boxes of other categories, at least 1; its inverse is the minimum. A scene samples
    one ratio per category."""

    dtype: Literal["auto", "float64", "float32", "float16", "bfloat16"] = "auto"
    """Precision of the weights; ``auto`` is float16 on a CUDA GPU and float32 elsewhere. float64 is for comparisons."""

    device: str = "auto"
    """Device of torch, or ``auto``: the first GPU, or the CPU without one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size_px <= 0 or self.image_size_px % 8:
            raise ValueError(
                f"image_size_px must be a positive multiple of 8 (the VAE's stride), got {self.image_size_px}; "
                f"try {max(8, self.image_size_px // 8 * 8)}"
            )
        if any(ratio <= 0 for ratio in self.aspect_ratios.values()):
            raise ValueError(f"aspect_ratios must be positive, got {dict(self.aspect_ratios)}")
