"""What decides a prior, and the id that stands for it.

The same prompt under the same configuration has the same id, however many queries share it; anything that changes
the image changes the id. The encoder is not part of the id, since it does not change the image: a store names its
encoder, and refuses to mix two.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from generation.models.checkpoints import compute_fingerprint
from generation.models.image_encoder import EncoderConfig
from generation.models.text_to_image import RenderConfig
from generation.priors.prompt import PromptConfig

_ID_LENGTH = 32
"""Hexadecimal digits: 128 bits, so that even 10^12 prompts do not collide."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """From a query to its prior: wording, drawing, encoding."""

    render: RenderConfig
    prompt: PromptConfig = field(default_factory=PromptConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    num_images: int = 1
    """Images of each prompt, whose features are averaged."""

    seed: int = 0
    """Together with the prompt it decides the noise of each image."""

    min_clip_score: float = 0.0
    """A prompt whose images score less (100 times the cosine) is drawn again, and the best try kept; 0 never."""

    max_retries: int = 3
    """Tries beyond the first."""

    def __post_init__(self) -> None:
        if self.num_images < 1:
            raise ValueError(f"num_images must be at least 1, got {self.num_images}")
        if not 0 <= self.min_clip_score < 100 or self.max_retries < 1:
            raise ValueError(
                f"min_clip_score must be 0 to 100 (20 to 30 suits CLIP) and max_retries at least 1, "
                f"got {self.min_clip_score} and {self.max_retries}"
            )


def build_image_settings(config: PriorConfig) -> dict[str, Any]:
    """Everything but the prompt that decides the image, as JSON values.

    Reads a local checkpoint once to hash it; make it once and pass it on.
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
    """What identifies the encoder of the features."""
    return compute_fingerprint(config.encoder.checkpoint, config.encoder.revision)


def prior_id(prompt: str, settings: dict[str, Any]) -> str:
    """32 hexadecimal digits for a prompt under ``build_image_settings``."""
    identity = json.dumps({"prompt": prompt, **settings}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(identity.encode()).hexdigest()[:_ID_LENGTH]
