"""Rendering of prompts by any text-to-image checkpoint of diffusers.

    Renderer(RenderConfig(checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5")).render(["a red cup"], seeds=[7])

An image depends only on its prompt, its seed and the configuration, since each image has its own random generator on
the CPU. The batch and the worker do not matter, up to the rounding of batched arithmetic.

The device starts a batch before the host takes the images of the last one, so that it does not wait for the host.
"""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers import AutoModel, AutoPipelineForText2Image, DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.logging import disable_progress_bar
from torch import Tensor

from generation.errors import GenerationError
from generation.models.checkpoints import find_local_folder, resolve_device, resolve_dtype, suggest_download
from generation.models.config import RenderConfig, RgbImage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """Rendered image."""

    image: RgbImage
    nsfw_filtered: bool = False
    """The safety checker made the image black."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StartedImages:
    """Images that the device may still be rendering; the host waits for them in ``wait``."""

    prompts: Sequence[str]
    seeds: Sequence[int]
    nsfw_filtered: Sequence[bool]
    pixels: Tensor = field(repr=False)
    """(N, height, width, 3) uint8 on the host; undefined where an image has NaN."""

    finite: Tensor
    """(N,) bool on the host; false where an image has NaN."""

    copied: torch.cuda.Event | None
    """Event after the copies to the host; None without a GPU."""

    def wait(self) -> None:
        """Wait until ``pixels`` and ``finite`` are there."""
        if self.copied is not None:
            self.copied.synchronize()


class Renderer:
    """Text-to-image pipeline.

    Raises:
        GenerationError: the checkpoint is no text-to-image pipeline, or the scheduler is unknown.
    """

    def __init__(self, config: RenderConfig) -> None:
        self.config = config
        self.batch_size = config.batch_size
        """Number of images rendered at once; less than configured after memory ran out."""

        device = resolve_device(config.device)
        self._dtype = resolve_dtype(config.dtype, device)
        self._pipeline = _load_pipeline(config, self._dtype).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        if device.type == "cuda":
            _use_channels_last(self._pipeline)
        if config.compile:
            (getattr(self._pipeline, "unet", None) or self._pipeline.transformer).compile()
            if config.small_vae is None:
                _compile_decoder(self._pipeline)
        self._embeddings: OrderedDict[tuple[str, str], tuple[Tensor | None, ...]] = OrderedDict()

    def use_small_vae(self) -> None:
        """Use ``small_vae`` as the decoder from now on.

        Raises:
            GenerationError: it is no VAE of diffusers, or its latents have other channels.
        """
        self._pipeline.vae = _load_vae(str(self.config.small_vae), self._pipeline.vae, self._dtype)
        if self._pipeline.device.type == "cuda":
            _use_channels_last(self._pipeline)
        if self.config.compile:
            _compile_decoder(self._pipeline)

    def render(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str = "") -> list[RgbImage]:
        """Render one image for each prompt with its seed.

        Raises:
            GenerationError: an image has NaN even in float32, or memory is too small for one image.
        """
        return [one.image for batch in self.iterate_batches(prompts, seeds, negative_prompt) for one in batch]

    def iterate_batches(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str = "", multiple_of: int = 1
    ) -> Iterator[list[RenderedImage]]:
        """Yield the images of ``render`` in batches, each with a multiple of ``multiple_of`` images."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        done, waiting = 0, None
        while done < len(prompts):
            size = max(multiple_of, self.batch_size // multiple_of * multiple_of)
            batch = slice(done, done + size)
            started = self._start_batch(prompts[batch], seeds[batch], negative_prompt, size)
            if waiting is not None:
                yield self._finish_batch(waiting, negative_prompt)
            done, waiting = done + size, started
        if waiting is not None:
            yield self._finish_batch(waiting, negative_prompt)

    def _start_batch(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str, size: int
    ) -> list[_StartedImages]:
        """Start a batch of at most ``size`` images in parts that fit the memory."""
        result: list[_StartedImages] = []
        done = 0
        while done < len(prompts):
            part = slice(done, done + self.batch_size)
            # Compiled models would be compiled again for each other number of images.
            num_images = min(size, self.batch_size) if self.config.compile else 0
            try:
                result.append(self._run_pipeline(prompts[part], seeds[part], negative_prompt, num_images))
            except torch.OutOfMemoryError as error:
                self._reduce_batch_size(error)
                continue
            done += len(result[-1].prompts)
        return result

    def _finish_batch(self, started: Sequence[_StartedImages], negative_prompt: str) -> list[RenderedImage]:
        """Wait for the images of a batch; render those with NaN again in float32."""
        result: list[RenderedImage] = []
        for part in started:
            part.wait()
            images: list[RgbImage] = list(part.pixels.numpy().copy())  # pinned memory is scarce
            bad = [i for i, finite in enumerate(part.finite.tolist()) if not finite]
            if bad:
                again = self._render_in_float32(
                    [part.prompts[i] for i in bad], [part.seeds[i] for i in bad], negative_prompt
                )
                for i, image in zip(bad, again, strict=True):
                    images[i] = image
            result += [RenderedImage(image, black) for image, black in zip(images, part.nsfw_filtered, strict=True)]
        return result

    def _reduce_batch_size(self, error: torch.OutOfMemoryError) -> None:
        torch.cuda.empty_cache()
        if self.batch_size == 1:
            raise GenerationError(
                f"the device's memory is too small for one image of {self.config.image_size_px} px by "
                f"{self.config.checkpoint} ({str(error).splitlines()[0]}); try a smaller image size, or float16"
            ) from error
        self.batch_size = max(1, self.batch_size // 2)
        logger.warning("out of memory: rendering %d images at once from now on", self.batch_size)

    def _render_in_float32(self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str) -> list[RgbImage]:
        """Render images that overflow half precision."""
        if self._dtype == torch.float32:
            raise GenerationError(
                f"{self.config.checkpoint} rendered NaN in float32 for {prompts[0]!r}; its weights may be damaged"
            )
        logger.warning("%d image(s) have NaN in %s; rendering them again in float32", len(prompts), self._dtype)
        half, self._dtype = self._dtype, torch.float32
        self._embeddings.clear()
        self._pipeline.to(torch.float32)
        try:
            with torch.compiler.set_stance("force_eager"):  # compiling for a few images takes longer
                parts = [
                    self._run_pipeline([prompt], [seed], negative_prompt)
                    for prompt, seed in zip(prompts, seeds, strict=True)
                ]
            return [image.image for image in self._finish_batch(parts, negative_prompt)]
        finally:
            self._dtype = half
            self._embeddings.clear()
            self._pipeline.to(half)

    @torch.inference_mode()
    def _run_pipeline(
        self, prompts: Sequence[str], seeds: Sequence[int], negative_prompt: str, min_images: int = 0
    ) -> _StartedImages:
        """Start the images of prompts; at least ``min_images`` are rendered, and those beyond the prompts dropped."""
        num_images, missing = len(prompts), max(0, min_images - len(prompts))
        output = self._pipeline(
            **self._build_text_arguments([*prompts, *[prompts[-1]] * missing], negative_prompt),
            height=self.config.image_size_px,
            width=self.config.image_size_px,
            num_inference_steps=self.config.num_inference_steps,
            guidance_scale=self.config.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in [*seeds, *[seeds[-1]] * missing]],
            output_type="pt" if hasattr(self._pipeline, "image_processor") else "np",
        )
        flags = getattr(output, "nsfw_content_detected", None) or [False] * num_images
        if isinstance(output.images, Tensor):
            values = output.images[:num_images].permute(0, 2, 3, 1)  # (N, height, width, 3)
        else:
            values = torch.from_numpy(output.images[:num_images])
        on_gpu = values.is_cuda
        pixels = (values.float() * 255).round().to(torch.uint8)
        return _StartedImages(
            prompts=prompts,
            seeds=seeds,
            nsfw_filtered=[bool(flag) for flag in flags[:num_images]],
            pixels=pixels.contiguous().to("cpu", non_blocking=on_gpu),
            finite=values.isfinite().flatten(1).all(1).to("cpu", non_blocking=on_gpu),
            copied=torch.cuda.current_stream(values.device).record_event() if on_gpu else None,
        )

    def _build_text_arguments(self, prompts: Sequence[str], negative_prompt: str) -> dict[str, Any]:
        """Build the pipeline's text arguments: cached embeddings if the pipeline takes them, else the prompts."""
        guided = self.config.guidance_scale > 1
        negative = negative_prompt if guided else ""
        parameters = inspect.signature(type(self._pipeline).__call__).parameters
        takes_embeddings = hasattr(self._pipeline, "encode_prompt") and "negative_prompt_embeds" in parameters
        rows = self._encode_prompts(prompts, negative) if takes_embeddings else []
        names = _EMBEDDING_NAMES.get(len(rows[0])) if rows else None
        if names is None:
            return {"prompt": list(prompts)} | ({"negative_prompt": [negative] * len(prompts)} if negative else {})
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return {name: torch.cat(column) for name, column in columns if guided or "negative" not in name}

    def _encode_prompts(self, prompts: Sequence[str], negative_prompt: str) -> list[tuple[Tensor | None, ...]]:
        """Encode each prompt as a tuple of (1, ...) embeddings; those absent from the cache are encoded together."""
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
"""Names of the values of ``encode_prompt``, by their number: Stable Diffusion 1 and 2; XL and 3."""


def _use_channels_last(pipeline: Any) -> None:
    """Set the memory format in which a GPU's convolutions in half precision are fastest."""
    for part in (getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)):
        if part is not None:
            part.to(memory_format=torch.channels_last)


def _compile_decoder(pipeline: Any) -> None:
    """Compile the decoder of the VAE, if the pipeline has one."""
    decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
    if decoder is not None:
        decoder.compile()


def _load_pipeline(config: RenderConfig, dtype: torch.dtype) -> Any:
    local = find_local_folder(config.checkpoint) is not None
    arguments: dict[str, Any] = {"revision": config.revision, "local_files_only": local}
    try:
        parts = DiffusionPipeline.load_config(config.checkpoint, **arguments)
        absent = [name for name, kind in parts.items() if isinstance(kind, (list, tuple)) and not any(kind)]
        arguments |= dict.fromkeys(absent)  # such as T5 in a Stable Diffusion 3 that was saved without it
        if "safety_checker" in parts and not config.safety_checker:
            arguments |= {"safety_checker": None, "requires_safety_checker": False}
        disable_progress_bar()
        pipeline = AutoPipelineForText2Image.from_pretrained(config.checkpoint, torch_dtype=dtype, **arguments)
    except (OSError, ValueError, KeyError) as error:
        raise GenerationError(
            f"{config.checkpoint} is no text-to-image pipeline of diffusers ({str(error).splitlines()[0]}); "
            f"give a folder with model_index.json, or the hub id of one{suggest_download(config.checkpoint)}"
        ) from error
    if config.scheduler is not None:
        scheduler: Any = getattr(diffusers, config.scheduler, None)
        is_scheduler = isinstance(scheduler, type) and issubclass(scheduler, SchedulerMixin)
        if not is_scheduler:
            raise GenerationError(
                f"diffusers has no scheduler {config.scheduler!r}; try DDIMScheduler or DPMSolverMultistepScheduler"
            )
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    return pipeline


def _load_vae(checkpoint: str, own: Any, dtype: torch.dtype) -> Any:
    """Load another VAE to the device of the checkpoint's own."""
    local = find_local_folder(checkpoint) is not None
    try:
        vae = AutoModel.from_pretrained(checkpoint, torch_dtype=dtype, local_files_only=local)
        channels = vae.config.latent_channels
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise GenerationError(
            f"{checkpoint} is no VAE of diffusers ({str(error).splitlines()[0]}); give a folder with config.json, or a "
            f"hub id such as madebyollin/taesd{suggest_download(checkpoint)}"
        ) from error
    if channels != own.config.latent_channels:
        raise GenerationError(
            f"{checkpoint} decodes latents of {channels} channels, the checkpoint has {own.config.latent_channels}; "
            "give the small VAE for it (taesd for Stable Diffusion 1 and 2, taesdxl for XL, taesd3 for 3)"
        )
    return vae.to(own.device).eval()
