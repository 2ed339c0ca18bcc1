"""Configuration of priors and their ids.

A prompt has one id under one configuration, however many queries share it. All settings that change the image change
the id. The encoder does not change the image and is not part of the id. A store names its encoder and refuses a second
one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from generation.models.checkpoints import compute_fingerprint
from generation.models.config import EncoderConfig, RenderConfig
from generation.priors.prompt import Prompt, PromptConfig
from pipeline import LimitedConfig, PositiveInt, Range

_ID_LENGTH = 32
"""Number of hexadecimal digits: 128 bits, so that even 10^12 prompts do not collide."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig(LimitedConfig):
    """Configuration of prompts, rendering and encoding."""

    render: RenderConfig
    prompt: PromptConfig = field(default_factory=PromptConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    num_images: PositiveInt = 1
    """Number of images of each prompt, at least 1; their features are averaged."""

    num_plain_images: PositiveInt | None = None
    """Number of images of a prompt that names no color, pattern, material or clothing ("a cup"), at least 1; one image
    would show it in an arbitrary color. None for ``num_images``."""

    seed: int = 0
    """Seed of the noise, combined with the prompt and the number of the image."""

    min_clip_score: Annotated[float, Range(0, 100, high_open=True)] = 0.0
    """Minimum CLIP score (100 times the cosine), below which a prompt is rendered again; 0 disables it."""

    max_retries: PositiveInt = 3
    """Maximum number of renderings after the first; the best one is kept."""

    def count_images(self, prompt: Prompt) -> int:
        """Count the images of a prompt."""
        return self.num_plain_images or self.num_images if prompt.is_plain else self.num_images


def build_image_settings(config: PriorConfig) -> dict[str, Any]:
    """Build the JSON values of all settings that change an image, without the prompt.

    This reads a local checkpoint to hash it, so call it once and pass the result on.
    """
    render = config.render
    gate = {"min_clip_score": config.min_clip_score, "max_retries": config.max_retries}
    return {
        "model": compute_fingerprint(render.checkpoint, render.revision),
        "negative_prompt": config.prompt.negative_prompt,
        "scheduler": render.scheduler,
        "steps": render.num_inference_steps,
        "guidance": render.guidance_scale,
        "image_size_px": render.image_size_px,
        "safety_checker": render.safety_checker,
        **set_num_images({}, config.num_images),
        "seed": config.seed,
        **(gate if config.min_clip_score > 0 else {}),
        **({"small_vae": compute_fingerprint(render.small_vae)} if render.small_vae else {}),
    }


def set_num_images(settings: dict[str, Any], num_images: int) -> dict[str, Any]:
    """Return the settings of a prompt of so many images."""
    # Features of several images once were means of length 1, which does not tell how far the images agree.
    return {**settings, "num_images": num_images, **({"feature": "mean"} if num_images > 1 else {})}


def compute_encoder_fingerprint(config: PriorConfig) -> str:
    """Compute the fingerprint of the encoder of the features."""
    return compute_fingerprint(config.encoder.checkpoint, config.encoder.revision)


def identify_prior(prompt: Prompt, config: PriorConfig, settings: dict[str, Any]) -> str:
    """Compute the id of a prompt with its number of images."""
    return compute_prior_id(prompt.text, set_num_images(settings, config.count_images(prompt)))


def compute_prior_id(prompt: str, settings: dict[str, Any]) -> str:
    """Compute the id of a prompt under ``build_image_settings``: 32 hexadecimal digits."""
    identity = json.dumps({"prompt": prompt, **settings}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(identity.encode()).hexdigest()[:_ID_LENGTH]
