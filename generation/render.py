"""From prompts to pictures, with any text-to-image checkpoint of diffusers.

    Renderer(RenderConfig(checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5")).render(["a red cup"], seeds=[7])

A picture depends on its prompt, its seed and the configuration alone: every picture has a generator of its own on the
CPU, so neither the batch it is in nor the worker that draws it matters (up to the rounding of batched arithmetic).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoPipelineForText2Image, DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.logging import disable_progress_bar

from generation.checkpoints import local_folder, resolved_device, resolved_dtype
from generation.errors import GenerationError
from generation.seeds import image_seed
from pipeline.stage import Item, Rejected, Resources, Stage

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """A text-to-image checkpoint and how it is run."""

    checkpoint: str
    """Hub id or local folder of a diffusers text-to-image pipeline."""

    revision: str | None = None
    """Branch, tag or commit on the hub; not for folders."""

    scheduler: str | None = None
    """Name of a diffusers scheduler class, such as ``DDIMScheduler``; None takes the checkpoint's own."""

    steps: int = 20
    """Denoising steps."""

    guidance: float = 7.5
    """Classifier-free guidance scale; 1 or less switches it off, and the negative prompt with it."""

    image_size_px: int = 512
    """Side of the square picture; a multiple of 8, the VAE's stride."""

    batch_size: int = 8
    """Pictures drawn at a time."""

    safety_checker: bool = False
    """Load the checkpoint's own filter, which turns what it objects to black; off, as priors are never shown."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.image_size_px <= 0 or self.image_size_px % 8:
            raise ValueError(
                f"image_size_px must be a positive multiple of 8 (the VAE's stride), got {self.image_size_px}; "
                f"try {max(8, self.image_size_px // 8 * 8)}"
            )
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"steps and batch_size must be at least 1, got {self.steps} and {self.batch_size}")
        if self.guidance < 0:
            raise ValueError(f"guidance must not be negative, got {self.guidance}")


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The pictures of one prompt."""

    key: str
    prompt: str
    images: tuple[Picture, ...] = field(repr=False)
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The plan's row, kept for the record."""


class Renderer:
    """A loaded text-to-image pipeline.

    Raises:
        GenerationError: the checkpoint is no text-to-image pipeline, or the scheduler is unknown.
    """

    def __init__(self, config: RenderConfig) -> None:
        self.config = config
        device = resolved_device(config.device)
        self._pipeline = _load_pipeline(config, resolved_dtype(config.dtype, device)).to(device)
        self._pipeline.set_progress_bar_config(disable=True)

    def render(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str = "") -> list[Picture]:
        """Draw one picture for each prompt with its seed.

        Raises:
            GenerationError: a picture holds NaN, as half-precision VAEs give at times.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        pictures: list[Picture] = []
        for start in range(0, len(prompts), self.config.batch_size):
            batch = slice(start, start + self.config.batch_size)
            pictures += self._render_batch(prompts[batch], seeds[batch], negative_prompt)
        return pictures

    @torch.inference_mode()
    def _render_batch(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str) -> list[Picture]:
        arguments: dict[str, Any] = {}
        if negative_prompt and self.config.guidance > 1:
            arguments["negative_prompt"] = [negative_prompt] * len(prompts)
        values = self._pipeline(
            prompt=list(prompts),
            height=self.config.image_size_px,
            width=self.config.image_size_px,
            num_inference_steps=self.config.steps,
            guidance_scale=self.config.guidance,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
            **arguments,
        ).images  # (batch, height, width, 3) in 0..1
        if not np.isfinite(values).all():
            raise GenerationError(
                f"{self.config.checkpoint} drew NaN in {self.config.dtype} precision; set dtype to float32"
            )
        return list((values * 255).round().astype(np.uint8))


class RenderStage(Stage[Item, Rendered]):
    """Draws the pictures of unique prompts; an item's payload has ``prompt`` and may have more for the record.

    Seeds come from the prompt, not from the item: the same prompt gives the same picture in every plan.

    Args:
        config: the checkpoint.
        num_images: pictures of each prompt.
        seed: of the priors, as in ``PriorConfig``.
        negative_prompt: the same for all.
        num_gpus: of one worker; 0 on machines without.
    """

    def __init__(
        self,
        config: RenderConfig,
        *,
        num_images: int = 1,
        seed: int = 0,
        negative_prompt: str = "",
        num_gpus: float = 0.0,
    ) -> None:
        self.config, self.num_images, self.seed, self.negative_prompt = config, num_images, seed, negative_prompt
        self.batch_size = max(1, config.batch_size // num_images)
        self.resources = Resources(num_cpus=1.0, num_gpus=num_gpus)
        self._renderer: Renderer | None = None

    def setup(self) -> None:
        self._renderer = Renderer(self.config)

    def process(self, items: list[Item]) -> list[Rendered | Rejected]:
        if self._renderer is None:
            raise RuntimeError("call setup before process")
        prompts = [str(item.payload["prompt"]) for item in items for _ in range(self.num_images)]
        seeds = [
            image_seed(str(item.payload["prompt"]), self.seed, index)
            for item in items
            for index in range(self.num_images)
        ]
        pictures = self._renderer.render(prompts, seeds, self.negative_prompt)
        return [
            Rendered(
                key=item.key,
                prompt=str(item.payload["prompt"]),
                images=tuple(pictures[i * self.num_images : (i + 1) * self.num_images]),
                payload=item.payload,
            )
            for i, item in enumerate(items)
        ]


def _load_pipeline(config: RenderConfig, dtype: torch.dtype) -> Any:
    local = local_folder(config.checkpoint) is not None
    arguments: dict[str, Any] = {"revision": config.revision, "local_files_only": local}
    try:
        parts = DiffusionPipeline.load_config(config.checkpoint, **arguments)
        if "safety_checker" in parts and not config.safety_checker:
            arguments |= {"safety_checker": None, "requires_safety_checker": False}
        disable_progress_bar()
        pipeline = AutoPipelineForText2Image.from_pretrained(config.checkpoint, torch_dtype=dtype, **arguments)
    except (OSError, ValueError, KeyError) as error:
        raise GenerationError(
            f"{config.checkpoint} is no text-to-image pipeline of diffusers ({str(error).splitlines()[0]}); "
            "give a folder with model_index.json, or the hub id of one"
        ) from error
    if config.scheduler is not None:
        pipeline.scheduler = _scheduler_class(config.scheduler).from_config(pipeline.scheduler.config)
    return pipeline


def _scheduler_class(name: str) -> Any:
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, SchedulerMixin)):
        raise GenerationError(f"diffusers has no scheduler {name!r}; try DDIMScheduler or DPMSolverMultistepScheduler")
    return found
