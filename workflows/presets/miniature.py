"""Default configuration: the small models in the repository. Other models are other paths."""

from __future__ import annotations

from pathlib import Path

from augmentation.composers.blending import BlendConfig
from augmentation.composers.layouts import LayoutConfig
from augmentation.composers.pasted import PastedConfig
from augmentation.detection.config import DetectorConfig
from augmentation.planning.vocabulary import VocabularyConfig
from generation.models.config import EncoderConfig, RenderConfig
from generation.priors.config import PriorConfig
from generation.priors.prompt import PromptConfig
from workflows.miniature import WEIGHTS
from workflows.miniature.world.drawing import COLORS, PATTERNS, PLURALS


def render_config() -> RenderConfig:
    """Return the miniature Stable Diffusion."""
    return RenderConfig(
        checkpoint=str(WEIGHTS / "stable-diffusion"),
        num_inference_steps=12,
        guidance_scale=2.5,
        image_size_px=64,
        batch_size=32,
        dtype="float32",
    )


def prior_config() -> PriorConfig:
    """Return priors of the miniature; a garment is an object ("red hat") and does not stand for its wearer.

    A single image of "a cup" has an arbitrary color. The mean of five says what cups have in common.
    """
    return PriorConfig(
        num_plain_images=5,
        render=render_config(),
        prompt=PromptConfig(garments_mean_wearers=False),
        encoder=EncoderConfig(checkpoint=str(WEIGHTS / "clip")),
    )


STANDING = ("ball", "cup", "bottle", "house", "mushroom", "hat")
"""Categories that stand on a box or a car."""


def vocabulary() -> VocabularyConfig:
    """Return the world's categories, with counts up to five, which the miniature Stable Diffusion knows.

    Prompts have number and category alone, as published: networks learn more from objects of different appearances
    (docs/study.md).
    """
    return VocabularyConfig(
        categories=dict(PLURALS),
        quantifiers=("two", "three", "four", "five"),
        supports={"box": STANDING, "car": STANDING},
        containers={"cup": ("ball", "star", "heart", "fish", "bottle", "mushroom", "kite")},
        attributes={"pattern": tuple(p for p in PATTERNS if p != "plain"), "color": tuple(COLORS)},
    )


def detector_config() -> DetectorConfig:
    """Return stricter limits than the default.

    Of 388 rendered scenes that passed limits of 0.6 and 0.25, 60 were counted by eye. Two were wrong: the detector had
    missed a malformed kite and had two cars in one box. With these limits both are uncertain.
    """
    return DetectorConfig(checkpoint=str(WEIGHTS / "detector"), confident_score=0.7, min_score=0.15)


def pasted_config() -> PastedConfig:
    """Return the composer of ``workflows.miniature.world.cutouts``: flat as the world, without light and shadow.

    Images are a little larger than the world's, so that eight objects fit.
    """
    return PastedConfig(
        cutouts=Path("data/miniature/cutouts"),
        backgrounds=Path("data/miniature/backgrounds"),
        sizes_px=((96, 96), (112, 84), (84, 112)),
        layout=LayoutConfig(min_size=0.12),
        blend=BlendConfig(feather_px=0, lighting=0, cast=0, shadow=0, max_contrast=1),
    )
