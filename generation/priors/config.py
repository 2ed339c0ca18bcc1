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
from generation.priors.prompt import PromptConfig
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

    seed: int = 0
    """Seed of the noise, combined with the prompt and the number of the image."""

    min_clip_score: Annotated[float, Range(0, 100, high_open=True)] = 0.0
    """Minimum CLIP score (100 times the cosine), below which a prompt is rendered again; 0 disables it."""

    max_retries: PositiveInt = 3
    """Maximum number of renderings after the first; the best one is kept."""


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
        "num_images": config.num_images,
        "seed": config.seed,
        **(gate if config.min_clip_score > 0 else {}),
        **({"small_vae": compute_fingerprint(render.small_vae)} if render.small_vae else {}),
    }


def compute_encoder_fingerprint(config: PriorConfig) -> str:
    """Compute the fingerprint of the encoder of the features."""
    return compute_fingerprint(config.encoder.checkpoint, config.encoder.revision)


def compute_prior_id(prompt: str, settings: dict[str, Any]) -> str:
    """Compute the id of a prompt under ``build_image_settings``: 32 hexadecimal digits."""
    identity = json.dumps({"prompt": prompt, **settings}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(identity.encode()).hexdigest()[:_ID_LENGTH]
