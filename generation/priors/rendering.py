"""From prompts to priors: draw, look at the images with CLIP, draw again what does not fit, keep the best.

While one batch is looked at, the next one is drawn. The images of a prompt depend on the prompt and the
configuration alone, so the same prior comes out of every batch, worker and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from generation.errors import GenerationError
from generation.models.image_encoder import ImageEncoder
from generation.models.text_to_image import RenderedImage, Renderer, RgbImage
from generation.models.webp import encode_webp
from generation.priors.config import PriorConfig
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.seeds import compute_image_seed
from pipeline import Item, Rejected, Resources, Stage

MIN_VAE_COSINE = 0.97
"""Between the features of a image decoded by the small VAE and by the checkpoint's own."""

_VAE_PROMPTS = ("a red cup", "a man in a blue shirt", "a black and white dog", "a wooden chair")


class PriorRenderer:
    """A text-to-image model and an image encoder, loaded once.

    Args:
        config: checkpoints, seed, gate.
        compress: what makes a file of a image; done beside the drawing, as the encoding is.

    Raises:
        GenerationError: one of the checkpoints is not what it has to be, or a score is asked of an encoder that
            reads no text.
    """

    def __init__(self, config: PriorConfig, compress: Callable[[RgbImage], bytes] | None = None) -> None:
        self.config, self._compress = config, compress
        self.renderer, self.encoder = Renderer(config.render), ImageEncoder(config.encoder)
        if config.min_clip_score > 0:
            self.encoder.encode_texts(["an image"])  # fails now without a text tower, not after a batch
        if config.render.small_vae:
            self._check_small_vae()

    def _check_small_vae(self) -> None:
        """Take the small VAE if the same latents give the same features as with the checkpoint's own; else refuse."""
        seeds = [compute_image_seed(prompt, self.config.seed, 0) for prompt in _VAE_PROMPTS]
        own = self.encoder.encode_images(self.renderer.render(_VAE_PROMPTS, seeds))
        self.renderer.use_small_vae()
        min_cosine = float((own * self.encoder.encode_images(self.renderer.render(_VAE_PROMPTS, seeds))).sum(1).min())
        if min_cosine < MIN_VAE_COSINE:
            raise GenerationError(
                f"with {self.config.render.small_vae} a image's feature has a cosine of {min_cosine:.3f} "
                f"with that of the "
                f"checkpoint's own VAE, less than {MIN_VAE_COSINE}; leave small_vae out"
            )

    def generate_images(self, prompts: Sequence[str]) -> list[GeneratedImages]:
        """The prior of each prompt, in order.

        Raises:
            GenerationError: a image could not be drawn, not even in full precision or alone.
        """
        generated = list(self._render_round(prompts, 0))
        for attempt in range(1, self.config.max_retries + 1):
            poor = [i for i, result in enumerate(generated) if self._is_below_min_score(result)]
            if not poor:
                break
            again = self._render_round([prompts[i] for i in poor], attempt)
            for i, retried in zip(poor, again, strict=True):
                generated[i] = replace(max(generated[i], retried, key=_score), num_retries=attempt)
        return generated

    def _is_below_min_score(self, result: GeneratedImages) -> bool:
        return result.clip_score is not None and result.clip_score < self.config.min_clip_score

    def _render_round(self, prompts: Sequence[str], attempt: int) -> Iterator[GeneratedImages]:
        """Every prompt drawn once; a batch is encoded while the next one is drawn."""
        num_images, config = self.config.num_images, self.config
        numbers = range(attempt * num_images, (attempt + 1) * num_images)
        seeds = [compute_image_seed(prompt, config.seed, number) for prompt in prompts for number in numbers]
        repeated = [prompt for prompt in prompts for _ in numbers]
        iterate_batches = self.renderer.iterate_batches(
            repeated, seeds, config.prompt.negative_prompt, multiple_of=num_images
        )
        done = 0
        with ThreadPoolExecutor(1) as executor:
            pending: list[Future[list[GeneratedImages]]] = []
            for batch in iterate_batches:
                count = len(batch) // num_images
                pending.append(executor.submit(self._encode_batch, prompts[done : done + count], batch))
                done += count
                if len(pending) > 1:
                    yield from pending.pop(0).result()
            for future in pending:
                yield from future.result()

    def _encode_batch(self, prompts: Sequence[str], rendered: Sequence[RenderedImage]) -> list[GeneratedImages]:
        num_images = self.config.num_images
        groups = [rendered[i * num_images : (i + 1) * num_images] for i in range(len(prompts))]
        encoded = self.encoder.encode([[result.image for result in group] for group in groups], prompts)
        return [
            GeneratedImages(
                prompt=prompt,
                images=tuple(result.image for result in group),
                feature=feature,
                clip_score=score,
                nsfw_filtered=sum(result.nsfw_filtered for result in group),
                compressed=tuple(self._compress(result.image) for result in group) if self._compress else (),
            )
            for prompt, group, (feature, score) in zip(prompts, groups, encoded, strict=True)
        ]


def _score(result: GeneratedImages) -> float:
    return result.clip_score if result.clip_score is not None else 0.0


class RenderStage(Stage[Item, Prior]):
    """Draws the priors of unique prompts; an item's payload has ``prompt`` and may have more for the record.

    Args:
        config: checkpoints, seed, gate; seeds come from the prompt, so the same prompt gives the same image in
            every plan.
        webp_quality: of the images that are kept, 1 to 100, or None for lossless.
        num_gpus: of one worker; 0 on machines without.
    """

    def __init__(self, config: PriorConfig, *, webp_quality: int | None = 90, num_gpus: float = 0.0) -> None:
        if webp_quality is not None and not 1 <= webp_quality <= 100:
            raise ValueError(f"webp_quality must be 1 to 100, or None for lossless, got {webp_quality}")
        self.config, self.webp_quality = config, webp_quality
        self.batch_size = max(1, 4 * config.render.batch_size // config.num_images)
        self.resources = Resources(num_cpus=1.0, num_gpus=num_gpus)

    def setup(self) -> None:
        self._renderer = PriorRenderer(self.config, partial(encode_webp, quality=self.webp_quality))

    def process(self, items: list[Item]) -> list[Prior | Rejected]:
        generated = self._renderer.generate_images([str(item.payload["prompt"]) for item in items])
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
