"""Full-size text-to-image models by name: ``python -m workflows.generate_priors --preset sd15``.

Options beside ``--preset`` change single values. The encoder is OpenAI's CLIP ViT-B/32 (512 features), as in the paper.
Licenses: the weights of SD-Turbo and SDXL-Turbo are non-commercial.
"""

from __future__ import annotations

from collections.abc import Callable

from generation.models.config import RenderConfig
from generation.priors.config import PriorConfig
from generation.priors.prompt import PHOTO_NEGATIVE_PROMPT, PHOTO_TEMPLATES, PromptConfig
from workflows.presets import miniature


def sd15() -> PriorConfig:
    """Return Stable Diffusion 1.5, as in the paper; DPM-Solver++ needs 20 steps instead of 50."""
    return PriorConfig(
        render=RenderConfig(
            checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5",
            scheduler="DPMSolverMultistepScheduler",
            batch_size=16,
        ),
        prompt=PromptConfig(templates=PHOTO_TEMPLATES, negative_prompt=PHOTO_NEGATIVE_PROMPT),
    )


def sdxl() -> PriorConfig:
    """Return Stable Diffusion XL, which is better at attributes and several times slower."""
    return PriorConfig(
        render=RenderConfig(
            checkpoint="stabilityai/stable-diffusion-xl-base-1.0", image_size_px=1024, guidance_scale=6.0, batch_size=4
        ),
        prompt=PromptConfig(templates=PHOTO_TEMPLATES, negative_prompt=PHOTO_NEGATIVE_PROMPT),
    )


def lcm() -> PriorConfig:
    """Return Stable Diffusion 1.5 distilled to four steps; guidance is an input of the model."""
    return PriorConfig(
        render=RenderConfig(
            checkpoint="SimianLuo/LCM_Dreamshaper_v7",
            num_inference_steps=4,
            guidance_scale=8.0,
            batch_size=16,
            small_vae="madebyollin/taesd",
        ),
        prompt=PromptConfig(templates=PHOTO_TEMPLATES),
    )


def sd_turbo() -> PriorConfig:
    """Return Stable Diffusion 2.1 distilled to one step, without guidance; non-commercial."""
    return PriorConfig(
        render=RenderConfig(
            checkpoint="stabilityai/sd-turbo",
            num_inference_steps=1,
            guidance_scale=0.0,
            batch_size=16,
            small_vae="madebyollin/taesd",
        ),
        prompt=PromptConfig(templates=PHOTO_TEMPLATES),
    )


def sdxl_turbo() -> PriorConfig:
    """Return Stable Diffusion XL distilled to four steps, without guidance; non-commercial."""
    return PriorConfig(
        render=RenderConfig(
            checkpoint="stabilityai/sdxl-turbo",
            num_inference_steps=4,
            guidance_scale=0.0,
            batch_size=16,
            small_vae="madebyollin/taesdxl",
        ),
        prompt=PromptConfig(templates=PHOTO_TEMPLATES),
    )


PRESETS: dict[str, Callable[[], PriorConfig]] = {
    "miniature": miniature.prior_config,
    "sd15": sd15,
    "sdxl": sdxl,
    "lcm": lcm,
    "sd-turbo": sd_turbo,
    "sdxl-turbo": sdxl_turbo,
}
