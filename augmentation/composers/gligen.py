"""Composer of layouts: GLIGEN renders objects of given phrases in given boxes (Li et al., CVPR 2023).

composer = LayoutComposer(GligenConfig(checkpoint="masterful/gligen-1-4-generation-text-box"))
composer.setup()
composer.process(items)[0].requested[0].box_xyxy    # requested box; a detector finds what was rendered

This module has its own denoising loop, since diffusers deprecated its GLIGEN pipeline. That pipeline also takes one
layout for all images of a batch, but every scene here has its own. The models are those of diffusers, in the folders of
a GLIGEN checkpoint. For one layout, the images equal those of the pipeline.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from augmentation.composers.composed import ComposedScene, RgbImage
from augmentation.composers.gligen_config import GligenConfig
from augmentation.composers.layouts import sample_layout, sort_far_to_near
from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import SceneSpec
from augmentation.relations.scene import SceneObject
from generation.errors import GenerationError
from generation.models.checkpoints import find_local_folder, resolve_device, resolve_dtype
from generation.parsing.english import add_article
from pipeline import Item, Rejected, Resources, Stage
from shards.boxes import Box

MAX_OBJECTS = 30
"""Number of grounding tokens, as in training; unused ones hold a learned null token."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Prompt, phrases and boxes of one image."""

    prompt: str
    """Prompt of the whole image."""

    phrases: tuple[str, ...]
    """Phrase of each object."""

    boxes_xyxy: tuple[Box, ...]
    """Box of each object, in pixels."""

    seed: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.phrases) == len(self.boxes_xyxy) <= MAX_OBJECTS:
            raise ValueError(
                f"a layout has 1 to {MAX_OBJECTS} boxes with a phrase each, "
                f"got {len(self.boxes_xyxy)} boxes and {len(self.phrases)} phrases"
            )


class LayoutRenderer:
    """Renderer of layouts with a loaded GLIGEN.

    Raises:
        AugmentationError: the checkpoint is missing, incomplete, or no GLIGEN for phrases in boxes.
    """

    def __init__(self, config: GligenConfig) -> None:
        self._config = config
        self._device = resolve_device(config.device)
        self._dtype = resolve_dtype(config.dtype, self._device)
        try:
            self._load()
        except (OSError, ValueError, KeyError, AttributeError, GenerationError) as error:
            raise AugmentationError(
                f"{config.checkpoint} is no GLIGEN of diffusers ({str(error).splitlines()[0]}); give a folder with "
                "model_index.json, unet, vae, text_encoder, tokenizer and scheduler, or the hub id of one"
            ) from error

    def _load(self) -> None:
        source: dict[str, Any] = {"revision": self._config.revision}
        source["local_files_only"] = find_local_folder(self._config.checkpoint) is not None
        checkpoint, parts = self._config.checkpoint, DiffusionPipeline.load_config(self._config.checkpoint, **source)
        unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet", torch_dtype=self._dtype, **source)
        _check_grounded(checkpoint, unet.config.attention_type)
        vae = AutoencoderKL.from_pretrained(checkpoint, subfolder="vae", torch_dtype=self._dtype, **source)
        text = CLIPTextModel.from_pretrained(checkpoint, subfolder="text_encoder", dtype=self._dtype, **source)
        self._unet, self._vae, self._text = (part.to(self._device).eval() for part in (unet, vae, text))
        self._tokenizer = CLIPTokenizer.from_pretrained(checkpoint, subfolder="tokenizer", **source)
        scheduler = getattr(diffusers, parts["scheduler"][1])
        self._scheduler = scheduler.from_pretrained(checkpoint, subfolder="scheduler", **source)

    @torch.inference_mode()
    def render(self, layouts: Sequence[Layout], negative_prompt: str = "") -> list[RgbImage | None]:
        """Render an image of each layout; None if half precision overflowed."""
        images: list[RgbImage | None] = []
        for start in range(0, len(layouts), self._config.batch_size):
            latents = self.latents(layouts[start : start + self._config.batch_size], negative_prompt)
            values = self._vae.decode(latents / self._vae.config.scaling_factor).sample.float()
            batch = (values / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()  # (layouts, height, width, 3)
            images += [(one * 255).round().astype(np.uint8) if np.isfinite(one).all() else None for one in batch]
        return images

    @torch.inference_mode()
    def latents(self, layouts: Sequence[Layout], negative_prompt: str = "") -> Tensor:
        """Denoise one batch to latents, (layouts, channels, height / stride, width / stride)."""
        is_guided = self._config.guidance_scale > 1
        generators = [torch.Generator("cpu").manual_seed(layout.seed) for layout in layouts]
        prompts = self._embed([layout.prompt for layout in layouts])  # (layouts, tokens, dim)
        grounding = self._build_grounding(layouts)
        if is_guided:
            prompts = torch.cat([self._embed([negative_prompt]).expand_as(prompts), prompts])
            grounding = {name: torch.cat([values, values]) for name, values in grounding.items()}
            grounding["masks"][: len(layouts)] = 0  # the half without the prompt has no boxes
        self._scheduler.set_timesteps(self._config.num_inference_steps, device=self._device)
        timesteps = self._scheduler.timesteps
        num_grounded = int(self._config.grounded_share * len(timesteps))
        latents = self._sample_noise(generators, prompts.dtype)
        adds_noise = "generator" in inspect.signature(self._scheduler.step).parameters
        step_arguments = {"generator": generators} if adds_noise else {}
        for i, timestep in enumerate(timesteps):
            seen = torch.cat([latents, latents]) if is_guided else latents
            noise = self._unet(
                self._scheduler.scale_model_input(seen, timestep),
                timestep,
                encoder_hidden_states=prompts,
                cross_attention_kwargs={"gligen": grounding} if i < num_grounded else None,  # else no gated layer runs
            ).sample
            if is_guided:
                without, with_prompt = noise.chunk(2)
                noise = without + self._config.guidance_scale * (with_prompt - without)
            latents = self._scheduler.step(noise, timestep, latents, **step_arguments).prev_sample
        return latents

    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, (texts, tokens, dim)."""
        ids = self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        embedded: Tensor = self._text(ids.to(self._device)).last_hidden_state
        return embedded

    def _build_grounding(self, layouts: Sequence[Layout]) -> dict[str, Tensor]:
        """Build boxes as shares of the image, features of their phrases, and the mask of used tokens."""
        phrases = list(dict.fromkeys(phrase for layout in layouts for phrase in layout.phrases))
        tokens = self._tokenizer(phrases, padding=True, truncation=True, return_tensors="pt").to(self._device)
        pooled = dict(zip(phrases, self._text(**tokens).pooler_output, strict=True))
        shape = (len(layouts), MAX_OBJECTS)
        boxes = torch.zeros(*shape, 4, device=self._device, dtype=self._dtype)
        features = torch.zeros(*shape, self._unet.config.cross_attention_dim, device=self._device, dtype=self._dtype)
        masks = torch.zeros(*shape, device=self._device, dtype=self._dtype)
        for i, layout in enumerate(layouts):
            num = len(layout.phrases)
            boxes[i, :num] = torch.tensor(layout.boxes_xyxy).to(boxes) / self._config.image_size_px
            features[i, :num] = torch.stack([pooled[phrase] for phrase in layout.phrases])
            masks[i, :num] = 1
        return {"boxes": boxes, "positive_embeddings": features, "masks": masks}

    def _sample_noise(self, generators: list[torch.Generator], dtype: torch.dtype) -> Tensor:
        side = self._config.image_size_px // 2 ** (len(self._vae.config.block_out_channels) - 1)
        shape = (len(generators), self._unet.config.in_channels, side, side)
        noise = randn_tensor(shape, generator=generators, device=self._device, dtype=dtype)
        latents: Tensor = noise * self._scheduler.init_noise_sigma
        return latents


def _check_grounded(checkpoint: str, attention_type: str) -> None:
    if attention_type != "gated":
        raise AugmentationError(
            f"the denoiser of {checkpoint} has attention_type {attention_type!r}; phrases in boxes need 'gated', "
            "such as masterful/gligen-1-4-generation-text-box has"
        )


class LayoutComposer(Stage[Item, ComposedScene]):
    """Stage that renders each scene in a layout of its arrangement; all randomness is the item's seed.

    Args:
        config: checkpoint, sampling settings and layouts.
        negative_prompt: negative prompt of all scenes.
        num_gpus: GPUs of one worker.
    """

    name = "compose"

    def __init__(self, config: GligenConfig, *, negative_prompt: str = "", num_gpus: float = 0.0) -> None:
        self._config = config
        self._negative_prompt = negative_prompt
        self.batch_size = config.batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        self._renderer = LayoutRenderer(self._config)

    def process(self, items: list[Item]) -> list[ComposedScene | Rejected]:
        specs = [SceneSpec.from_payload(item.key, item.payload) for item in items]
        requested = [request_objects(spec, item.seed, self._config) for spec, item in zip(specs, items, strict=True)]
        planned = list(zip(items, specs, requested, strict=True))
        layouts = [
            _make_layout(item, spec, objects) for item, spec, objects in planned if not isinstance(objects, Rejected)
        ]
        images = iter(self._renderer.render(layouts, self._negative_prompt))
        return [
            objects if isinstance(objects, Rejected) else self._make_scene(item, spec, objects, next(images))
            for item, spec, objects in planned
        ]

    def _make_scene(
        self, item: Item, spec: SceneSpec, requested: tuple[SceneObject, ...], image: RgbImage | None
    ) -> ComposedScene | Rejected:
        if image is None:
            detail = f"{self._config.checkpoint} rendered NaN; try the dtype float32"
            return Rejected(key=item.key, reason="not_finite", detail=detail)
        return ComposedScene(
            key=item.key, seed=item.seed, spec=spec, composer="layout", image=image, requested=requested
        )


def request_objects(spec: SceneSpec, seed: int, config: GligenConfig) -> tuple[SceneObject, ...] | Rejected:
    """Request the scene's objects and its clutter in a layout, far to near, without attributes."""
    objects, size = [spec.category] * spec.count + list(spec.clutter), config.image_size_px
    if len(objects) > MAX_OBJECTS:
        return Rejected(key=spec.key, reason="too_many_objects", detail=f"{len(objects)}, more than {MAX_OBJECTS}")
    random, max_log_ratio = Random(seed), math.log(config.max_aspect_ratio)
    ratios = {
        category: config.aspect_ratios.get(category, math.exp(random.uniform(-max_log_ratio, max_log_ratio)))
        for category in dict.fromkeys(objects)
    }
    object_ratios = [ratios[category] for category in objects]
    boxes = sample_layout(spec.arrangement, object_ratios, spec.count, size, size, random, config.layout)
    if boxes is None:
        detail = f"{spec.count} {spec.category} and {len(spec.clutter)} more as {spec.arrangement} on {size} x {size}"
        return Rejected(key=spec.key, reason="does_not_fit", detail=detail)
    return tuple(SceneObject(box_xyxy=boxes[i], category=objects[i]) for i in sort_far_to_near(boxes))


def _make_layout(item: Item, spec: SceneSpec, requested: Sequence[SceneObject]) -> Layout:
    clutter = [_format_phrase(category, spec) for category in spec.clutter]
    return Layout(
        prompt=", ".join([spec.prompt, *clutter]),
        phrases=tuple(_format_phrase(one.category, spec) for one in requested),
        boxes_xyxy=tuple(one.box_xyxy for one in requested),
        seed=item.seed,
    )


def _format_phrase(category: str, spec: SceneSpec) -> str:
    """Format "a striped red cup" for the scene's category, and "a ball" for clutter."""
    attributes = spec.attributes.values() if category == spec.category else ()
    return add_article(" ".join([*attributes, category]))
