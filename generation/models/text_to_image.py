"""From prompts to images, with any text-to-image checkpoint of diffusers.

    Renderer(RenderConfig(checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5")).render(["a red cup"], seeds=[7])

A image depends on its prompt, its seed and the configuration alone: every image has a generator of its own on the
CPU, so neither the batch it is in nor the worker that draws it matters (up to the rounding of batched arithmetic).
"""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import diffusers
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoModel, AutoPipelineForText2Image, DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.logging import disable_progress_bar
from torch import Tensor

from generation.errors import GenerationError
from generation.models.checkpoints import find_local_folder, resolve_device, resolve_dtype

logger = logging.getLogger(__name__)

RgbImage = npt.NDArray[np.uint8]
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

    num_inference_steps: int = 20
    """Denoising steps."""

    guidance_scale: float = 7.5
    """Classifier-free guidance scale; 1 or less switches it off, and the negative prompt with it."""

    image_size_px: int = 512
    """Side of the square image; a multiple of 8, the VAE's stride."""

    batch_size: int = 8
    """Images drawn at a time; halved, and said so, where the GPU's memory does not hold as many."""

    small_vae: str | None = None
    """Hub id or folder of a smaller VAE for the same latents, such as ``madebyollin/taesd``.

    With few steps the checkpoint's own takes half of the time. Refused where its images are not the same to CLIP.
    """

    compile: bool = False
    """``torch.compile`` the denoiser: minutes at the start, faster steps on a GPU; worth it for long runs."""

    safety_checker: bool = False
    """Load the checkpoint's own filter, which turns what it objects to black; off, as priors are never shown.

    Images that it made black are counted.
    """

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: str = "auto"

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


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """One image as it came out."""

    image: RgbImage
    nsfw_filtered: bool = False
    """Whether the safety checker objected, and so made it black."""


class Renderer:
    """A loaded text-to-image pipeline.

    Raises:
        GenerationError: the checkpoint is no text-to-image pipeline, or the scheduler is unknown.
    """

    def __init__(self, config: RenderConfig) -> None:
        self.config = config
        self.batch_size = config.batch_size
        """Images drawn at a time; less than configured once memory ran out."""

        device = resolve_device(config.device)
        self._dtype = resolve_dtype(config.dtype, device)
        self._pipeline = _load_pipeline(config, self._dtype).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        if device.type == "cuda":
            _use_channels_last(self._pipeline)
        if config.compile:
            _compile_denoiser(self._pipeline)
        self._embeddings: OrderedDict[tuple[str, str], tuple[Tensor | None, ...]] = OrderedDict()

    def use_small_vae(self) -> None:
        """From here on decode with ``small_vae``.

        Raises:
            GenerationError: it is no VAE of diffusers, or one of other latents.
        """
        self._pipeline.vae = _load_vae(str(self.config.small_vae), self._pipeline.vae, self._dtype)
        if self._pipeline.device.type == "cuda":
            _use_channels_last(self._pipeline)

    def render(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str = "") -> list[RgbImage]:
        """Draw one image for each prompt with its seed.

        Raises:
            GenerationError: a image holds NaN even in float32, or memory does not hold a single one.
        """
        return [one.image for batch in self.iterate_batches(prompts, seeds, negative_prompt) for one in batch]

    def iterate_batches(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str = "", multiple_of: int = 1
    ) -> Iterator[list[RenderedImage]]:
        """As ``render``, batch by batch as they are drawn; each batch's size is a multiple of ``multiple_of``."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        done = 0
        while done < len(prompts):
            size = max(multiple_of, self.batch_size // multiple_of * multiple_of)
            batch = slice(done, done + size)
            yield self._render_batch(prompts[batch], seeds[batch], negative_prompt)
            done += size

    def _render_batch(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str) -> list[RenderedImage]:
        """One batch, in as many parts as the device's memory asks for; what holds NaN once more in float32."""
        result: list[RenderedImage] = []
        while len(result) < len(prompts):
            part = slice(len(result), len(result) + self.batch_size)
            try:
                values, nsfw_filtered = self._run_pipeline(prompts[part], seeds[part], negative_prompt)
            except torch.OutOfMemoryError as error:
                self._reduce_batch_size(error)
                continue
            bad = [i for i in range(len(values)) if not np.isfinite(values[i]).all()]
            if bad:
                values[bad] = self._render_in_float32(
                    [prompts[part][i] for i in bad], [seeds[part][i] for i in bad], negative_prompt
                )
            images = (values * 255).round().astype(np.uint8)
            result += [RenderedImage(image, black) for image, black in zip(images, nsfw_filtered, strict=True)]
        return result

    def _reduce_batch_size(self, error: torch.OutOfMemoryError) -> None:
        torch.cuda.empty_cache()
        if self.batch_size == 1:
            raise GenerationError(
                f"the device's memory does not hold one image of {self.config.image_size_px} px by "
                f"{self.config.checkpoint} ({str(error).splitlines()[0]}); try a smaller image size, or float16"
            ) from error
        self.batch_size = max(1, self.batch_size // 2)
        logger.warning("out of memory: from here on %d images are drawn at a time", self.batch_size)

    def _render_in_float32(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str
    ) -> npt.NDArray[np.float32]:
        """(N, height, width, 3) of images that overflowed half precision."""
        if self._dtype == torch.float32:
            raise GenerationError(
                f"{self.config.checkpoint} drew NaN in float32 for {prompts[0]!r}; its weights may be damaged"
            )
        logger.warning("%d image(s) held NaN in %s and are drawn again in float32", len(prompts), self._dtype)
        half, self._dtype = self._dtype, torch.float32
        self._embeddings.clear()
        self._pipeline.to(torch.float32)
        try:
            parts = [
                self._run_pipeline([prompt], [seed], negative_prompt)[0]
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
        finally:
            self._dtype = half
            self._embeddings.clear()
            self._pipeline.to(half)
        values = np.concatenate(parts)
        if not np.isfinite(values).all():
            raise GenerationError(
                f"{self.config.checkpoint} drew NaN in float32 for {prompts[0]!r}; its weights may be damaged"
            )
        return values

    @torch.inference_mode()
    def _run_pipeline(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str
    ) -> tuple[npt.NDArray[np.float32], list[bool]]:
        """(N, height, width, 3) in 0..1, perhaps with NaN; and which ones the safety checker made black."""
        output = self._pipeline(
            **self._build_text_arguments(prompts, negative_prompt),
            height=self.config.image_size_px,
            width=self.config.image_size_px,
            num_inference_steps=self.config.num_inference_steps,
            guidance_scale=self.config.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
        )
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
        return output.images, [bool(flag) for flag in flags]

    def _build_text_arguments(self, prompts: Sequence[str], negative_prompt: str) -> dict[str, Any]:
        """The pipeline's arguments for the text: embeddings, each encoded once, where the pipeline takes them."""
        guided = self.config.guidance_scale > 1
        negative = negative_prompt if guided else ""
        rows = self._encode_prompts(prompts, negative) if self._supports_embeddings() else []
        names = _EMBEDDING_NAMES.get(len(rows[0])) if rows else None
        if names is None:
            return {"prompt": list(prompts)} | ({"negative_prompt": [negative] * len(prompts)} if negative else {})
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return {name: torch.cat(column) for name, column in columns if guided or "negative" not in name}

    def _supports_embeddings(self) -> bool:
        parameters = inspect.signature(type(self._pipeline).__call__).parameters
        return hasattr(self._pipeline, "encode_prompt") and "negative_prompt_embeds" in parameters

    def _encode_prompts(self, prompts: Sequence[str], negative_prompt: str) -> list[tuple[Tensor | None, ...]]:
        """What the text encoders make of each prompt, (1, ...) each; those not remembered are encoded together."""
        cache = self._embeddings
        new = [prompt for prompt in dict.fromkeys(prompts) if (prompt, negative_prompt) not in cache]
        if new:
            encode = self._pipeline.encode_prompt
            others = {name: None for name in ("prompt_2", "prompt_3") if name in inspect.signature(encode).parameters}
            encoded = encode(
                prompt=new,
                **others,
                device=self._pipeline.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=self.config.guidance_scale > 1,
                negative_prompt=[negative_prompt] * len(new) if negative_prompt else None,
            )
            for i, prompt in enumerate(new):
                row = tuple(None if part is None else part[i : i + 1] for part in encoded)
                cache[prompt, negative_prompt] = row
        rows = [cache[prompt, negative_prompt] for prompt in prompts]
        for prompt in prompts:
            cache.move_to_end((prompt, negative_prompt))
        while len(cache) > _EMBEDDING_CACHE_SIZE:
            cache.popitem(last=False)
        return rows


_EMBEDDING_CACHE_SIZE = 64
_EMBEDDING_NAMES = {
    2: ("prompt_embeds", "negative_prompt_embeds"),
    4: ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
}
"""What ``encode_prompt`` returns, by its length: Stable Diffusion 1 and 2; XL and 3."""


def _use_channels_last(pipeline: Any) -> None:
    """Channels last is what a GPU's convolutions in half precision are fastest with."""
    for part in (getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)):
        if part is not None:
            part.to(memory_format=torch.channels_last)


def _compile_denoiser(pipeline: Any) -> None:
    name = "unet" if getattr(pipeline, "unet", None) is not None else "transformer"
    setattr(pipeline, name, torch.compile(getattr(pipeline, name)))


def _load_pipeline(config: RenderConfig, dtype: torch.dtype) -> Any:
    local = find_local_folder(config.checkpoint) is not None
    arguments: dict[str, Any] = {"revision": config.revision, "local_files_only": local}
    try:
        parts = DiffusionPipeline.load_config(config.checkpoint, **arguments)
        absent = [name for name, kind in parts.items() if isinstance(kind, (list, tuple)) and not any(kind)]
        arguments |= dict.fromkeys(absent)  # such as the T5 of a Stable Diffusion 3 that was saved without
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
        pipeline.scheduler = _find_scheduler_class(config.scheduler).from_config(pipeline.scheduler.config)
    return pipeline


def _load_vae(checkpoint: str, own: Any, dtype: torch.dtype) -> Any:
    """Another VAE, on the device of the checkpoint's own."""
    local = find_local_folder(checkpoint) is not None
    try:
        vae = AutoModel.from_pretrained(checkpoint, torch_dtype=dtype, local_files_only=local)
        channels = vae.config.latent_channels
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise GenerationError(
            f"{checkpoint} is no VAE of diffusers ({str(error).splitlines()[0]}); give a folder with config.json, or a "
            "hub id such as madebyollin/taesd"
        ) from error
    if channels != own.config.latent_channels:
        raise GenerationError(
            f"{checkpoint} decodes latents of {channels} channels, the checkpoint draws {own.config.latent_channels}; "
            "take the small VAE that belongs to it (taesd for Stable Diffusion 1 and 2, taesdxl for XL, taesd3 for 3)"
        )
    return vae.to(own.device).eval()


def _find_scheduler_class(name: str) -> Any:
    result = getattr(diffusers, name, None)
    if not (isinstance(result, type) and issubclass(result, SchedulerMixin)):
        raise GenerationError(f"diffusers has no scheduler {name!r}; try DDIMScheduler or DPMSolverMultistepScheduler")
    return result
