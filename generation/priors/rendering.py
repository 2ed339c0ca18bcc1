"""Rendering of priors: renders prompts, scores the images by CLIP, renders poor ones again and keeps the best.

While a batch is rendered, one thread encodes the images of the last one, and others compress them. The images of a
prompt depend only on the prompt and the configuration, so batch, worker and order do not change a prior.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from generation.errors import GenerationError
from generation.models.config import Feature, RgbImage
from generation.models.webp import encode_webp
from generation.priors.config import PriorConfig
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.seeds import compute_image_seed
from pipeline import Item, Rejected, Resources, Stage

if TYPE_CHECKING:
    from generation.models.text_to_image import RenderedImage

MIN_VAE_COSINE = 0.97
"""Minimum cosine of the features of an image that the small VAE and the checkpoint's own decode."""

_MAX_COMPRESSORS = 8
"""Threads that compress: enough for the host to keep up with a GPU that renders 100 images of 512 px a second."""

_VAE_PROMPTS = ("a red cup", "a man in a blue shirt", "a black and white dog", "a wooden chair")


class PriorRenderer:
    """Text-to-image model and image encoder.

    Args:
        config: checkpoints, seed and minimum CLIP score.
        compress: function that encodes an image as a file; several threads call it while others are rendered.

    Raises:
        GenerationError: a checkpoint has the wrong type, or ``min_clip_score`` needs an encoder of text.
    """

    def __init__(self, config: PriorConfig, compress: Callable[[RgbImage], bytes] | None = None) -> None:
        self.config, self._compress = config, compress
        from generation.models.image_encoder import ImageEncoder
        from generation.models.text_to_image import Renderer

        self.renderer, self.encoder = Renderer(config.render), ImageEncoder(config.encoder)
        if config.min_clip_score > 0:
            self.encoder.encode_texts(["an image"])  # fails now without a text tower, not after a batch
        if config.render.small_vae:
            self._check_small_vae()

    def _check_small_vae(self) -> None:
        """Use the small VAE if it gives the features of the checkpoint's own for the same latents; else raise."""
        seeds = [compute_image_seed(prompt, self.config.seed, 0) for prompt in _VAE_PROMPTS]
        own = self.encoder.encode_images(self.renderer.render(_VAE_PROMPTS, seeds))
        self.renderer.use_small_vae()
        min_cosine = float((own * self.encoder.encode_images(self.renderer.render(_VAE_PROMPTS, seeds))).sum(1).min())
        if min_cosine < MIN_VAE_COSINE:
            raise GenerationError(
                f"with {self.config.render.small_vae}, an image's feature has a cosine of {min_cosine:.3f} with that "
                f"of the checkpoint's own VAE, less than {MIN_VAE_COSINE}; omit small_vae"
            )

    def generate_images(self, prompts: Sequence[str], num_images: Sequence[int] | None = None) -> list[GeneratedImages]:
        """Generate the images of each prompt, in order.

        Args:
            prompts: prompts.
            num_images: number of images of each prompt; None for that of the configuration.

        Raises:
            GenerationError: an image has NaN even in float32, or memory is too small for one image.
        """
        counts = [self.config.num_images] * len(prompts) if num_images is None else num_images
        generated: dict[int, GeneratedImages] = {}
        for count in sorted(set(counts)):
            places = [place for place, other in enumerate(counts) if other == count]
            generated |= zip(places, self._render_best([prompts[place] for place in places], count), strict=True)
        return [generated[place] for place in range(len(prompts))]

    def _render_best(self, prompts: Sequence[str], num_images: int) -> list[GeneratedImages]:
        """Render every prompt, and those of a low CLIP score again; keep the best."""
        generated = self._render_round(prompts, num_images, 0)
        for attempt in range(1, self.config.max_retries + 1):
            scores = [100.0 if result.clip_score is None else result.clip_score for result in generated]
            poor = [i for i, score in enumerate(scores) if score < self.config.min_clip_score]
            if not poor:
                break
            again = self._render_round([prompts[i] for i in poor], num_images, attempt)
            for i, retried in zip(poor, again, strict=True):
                generated[i] = replace(
                    max(generated[i], retried, key=lambda result: result.clip_score or 0.0), num_retries=attempt
                )
        return generated

    def _render_round(self, prompts: Sequence[str], num_images: int, attempt: int) -> list[GeneratedImages]:
        """Render every prompt once; encode and compress a batch while the next one is rendered."""
        config = self.config
        numbers = range(attempt * num_images, (attempt + 1) * num_images)
        seeds = [compute_image_seed(prompt, config.seed, number) for prompt in prompts for number in numbers]
        repeated = [prompt for prompt in prompts for _ in numbers]
        batches = self.renderer.iterate_batches(repeated, seeds, config.prompt.negative_prompt, multiple_of=num_images)
        rendered: list[list[RenderedImage]] = []  # (prompts, images)
        encoded: list[Future[list[tuple[Feature, float | None]]]] = []  # (batches,)
        compressed: list[list[Future[bytes]]] = []  # (prompts, images)
        num_compressors = min(_MAX_COMPRESSORS, len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(1) as encoder, ThreadPoolExecutor(num_compressors) as compressor:
            for batch in batches:
                groups = [batch[i : i + num_images] for i in range(0, len(batch), num_images)]
                images = [[result.image for result in group] for group in groups]
                texts = prompts[len(rendered) : len(rendered) + len(groups)]
                encoded.append(encoder.submit(self.encoder.encode, images, texts))
                compressed += [
                    [compressor.submit(self._compress, image) for image in group] if self._compress else []
                    for group in images
                ]
                rendered += groups
        features = [pair for future in encoded for pair in future.result()]
        return [
            GeneratedImages(
                prompt=prompt,
                images=tuple(result.image for result in group),
                feature=feature,
                clip_score=score,
                nsfw_filtered=sum(result.nsfw_filtered for result in group),
                compressed=tuple(future.result() for future in files),
            )
            for prompt, group, (feature, score), files in zip(prompts, rendered, features, compressed, strict=True)
        ]


class RenderStage(Stage[Item, Prior]):
    """Stage that renders the priors of unique prompts, ``prompt`` and ``num_images`` in an item's payload.

    Args:
        config: checkpoints, seed and minimum CLIP score. Seeds depend on the prompt, so a prompt gives the same image
            in every plan.
        webp_quality: quality of the stored images, 1 to 100; None for lossless.
        num_gpus: GPUs of one worker; 0 on machines without.
    """

    def __init__(self, config: PriorConfig, *, webp_quality: int | None = 90, num_gpus: float = 0.0) -> None:
        if webp_quality is not None and not 1 <= webp_quality <= 100:
            raise ValueError(f"webp_quality must be 1 to 100, or None for lossless, got {webp_quality}")
        self.config, self.webp_quality = config, webp_quality
        # The GPU waits at the end of a call for the files of its last batch. Batches of few steps are short, so that a
        # call has more of them; it stays far from the time limit of a call, also on a slow GPU.
        num_batches = max(4, min(16, 160 // config.render.num_inference_steps))
        max_images = max(config.num_images, config.num_plain_images or 1)
        self.batch_size = max(1, num_batches * config.render.batch_size // max_images)
        self.resources = Resources(num_cpus=1.0, num_gpus=num_gpus)

    def setup(self) -> None:
        self._renderer = PriorRenderer(self.config, partial(encode_webp, quality=self.webp_quality))

    def process(self, items: list[Item]) -> list[Prior | Rejected]:
        generated = self._renderer.generate_images(
            [str(item.payload["prompt"]) for item in items],
            [item.payload.get("num_images", self.config.num_images) for item in items],
        )
        return [
            Prior(
                prior_id=item.key,
                generated=replace(result, images=()),  # the sink writes the compressed ones
                attributes=item.payload.get("attributes") or {},
            )
            if np.isfinite(result.feature).all()
            else Rejected(key=item.key, reason="feature_not_finite", detail=result.prompt)
            for item, result in zip(items, generated, strict=True)
        ]
