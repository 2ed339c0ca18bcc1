"""From prompts to priors: draw, look at the pictures with CLIP, draw again what does not fit, keep the best.

While one batch is looked at, the next one is drawn. The pictures of a prompt depend on the prompt and the
configuration alone, so the same prior comes out of every batch, worker and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from generation.errors import GenerationError
from generation.models.image_encoder import Feature, ImageEncoder
from generation.models.text_to_image import Drawing, Picture, Renderer
from generation.models.webp import webp_bytes
from generation.priors.config import PriorConfig
from generation.priors.seeds import image_seed
from pipeline.stage import Item, Rejected, Resources, Stage

LEAST_VAE_COSINE = 0.97
"""Between the features of a picture decoded by the small VAE and by the checkpoint's own."""

_VAE_PROMPTS = ("a red cup", "a man in a blue shirt", "a black and white dog", "a wooden chair")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The pictures of one prompt with their feature."""

    prompt: str
    images: tuple[Picture, ...] = field(repr=False)
    feature: Feature = field(repr=False)
    """(dim,), the mean over the pictures, of length 1 up to rounding."""

    clip_score: float | None
    """100 times the cosine of prompt and feature, at least 0; None where the encoder reads no text."""

    redraws: int = 0
    """How often it was drawn again because of its CLIP score, whichever try was kept."""

    blacked_out: int = 0
    """Pictures that the checkpoint's safety checker made black."""

    compressed: tuple[bytes, ...] = field(default=(), repr=False)
    """The pictures as files, where the drawer was given a way to make them."""


@dataclass(frozen=True, kw_only=True)
class DrawnPrior:
    """A drawn prompt under its id, for the store; its pictures are compressed, so that less goes to the sink."""

    key: str
    """The prior id."""

    drawn: Drawn
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The plan's row, kept for the record."""


class PriorDrawer:
    """A text-to-image model and an image encoder, loaded once.

    Args:
        config: checkpoints, seed, gate.
        compress: what makes a file of a picture; done beside the drawing, as the encoding is.

    Raises:
        GenerationError: one of the checkpoints is not what it has to be, or a score is asked of an encoder that
            reads no text.
    """

    def __init__(self, config: PriorConfig, compress: Callable[[Picture], bytes] | None = None) -> None:
        self.config, self._compress = config, compress
        self.renderer, self.encoder = Renderer(config.render), ImageEncoder(config.encoder)
        if config.min_clip_score > 0:
            self.encoder.texts(["a picture"])  # refuses an encoder without a text tower now, not after the first batch
        if config.render.small_vae:
            self._check_small_vae()

    def _check_small_vae(self) -> None:
        """Take the small VAE if the same latents give the same features as with the checkpoint's own; else refuse."""
        seeds = [image_seed(prompt, self.config.seed, 0) for prompt in _VAE_PROMPTS]
        own = self.encoder.images(self.renderer.render(_VAE_PROMPTS, seeds))
        self.renderer.take_small_vae()
        least = float((own * self.encoder.images(self.renderer.render(_VAE_PROMPTS, seeds))).sum(1).min())
        if least < LEAST_VAE_COSINE:
            raise GenerationError(
                f"with {self.config.render.small_vae} a picture's feature has a cosine of {least:.3f} with that of the "
                f"checkpoint's own VAE, less than {LEAST_VAE_COSINE}; leave small_vae out"
            )

    def draw(self, prompts: Sequence[str]) -> list[Drawn]:
        """The prior of each prompt, in order.

        Raises:
            GenerationError: a picture could not be drawn, not even in full precision or alone.
        """
        drawn = list(self._round(prompts, 0))
        for attempt in range(1, self.config.max_redraws + 1):
            poor = [i for i, one in enumerate(drawn) if self._is_poor(one)]
            if not poor:
                break
            again = self._round([prompts[i] for i in poor], attempt)
            for i, other in zip(poor, again, strict=True):
                drawn[i] = replace(max(drawn[i], other, key=_score), redraws=attempt)
        return drawn

    def _is_poor(self, one: Drawn) -> bool:
        return one.clip_score is not None and one.clip_score < self.config.min_clip_score

    def _round(self, prompts: Sequence[str], attempt: int) -> Iterator[Drawn]:
        """Every prompt drawn once; a batch is encoded while the next one is drawn."""
        each, config = self.config.num_images, self.config
        numbers = range(attempt * each, (attempt + 1) * each)
        seeds = [image_seed(prompt, config.seed, number) for prompt in prompts for number in numbers]
        repeated = [prompt for prompt in prompts for _ in numbers]
        batches = self.renderer.batches(repeated, seeds, config.prompt.negative_prompt, multiple_of=each)
        done = 0
        with ThreadPoolExecutor(1) as beside:
            waiting: list[Future[list[Drawn]]] = []
            for batch in batches:
                count = len(batch) // each
                waiting.append(beside.submit(self._encoded, prompts[done : done + count], batch))
                done += count
                if len(waiting) > 1:
                    yield from waiting.pop(0).result()
            for future in waiting:
                yield from future.result()

    def _encoded(self, prompts: Sequence[str], drawings: Sequence[Drawing]) -> list[Drawn]:
        each = self.config.num_images
        groups = [drawings[i * each : (i + 1) * each] for i in range(len(prompts))]
        encoded = self.encoder.encode([[one.picture for one in group] for group in groups], prompts)
        return [
            Drawn(
                prompt=prompt,
                images=tuple(one.picture for one in group),
                feature=feature,
                clip_score=score,
                blacked_out=sum(one.blacked_out for one in group),
                compressed=tuple(self._compress(one.picture) for one in group) if self._compress else (),
            )
            for prompt, group, (feature, score) in zip(prompts, groups, encoded, strict=True)
        ]


def _score(one: Drawn) -> float:
    return one.clip_score if one.clip_score is not None else 0.0


class DrawStage(Stage[Item, DrawnPrior]):
    """Draws the priors of unique prompts; an item's payload has ``prompt`` and may have more for the record.

    Args:
        config: checkpoints, seed, gate; seeds come from the prompt, so the same prompt gives the same picture in
            every plan.
        webp_quality: of the pictures that are kept, 1 to 100, or None for lossless.
        num_gpus: of one worker; 0 on machines without.
    """

    def __init__(self, config: PriorConfig, *, webp_quality: int | None = 90, num_gpus: float = 0.0) -> None:
        if webp_quality is not None and not 1 <= webp_quality <= 100:
            raise ValueError(f"webp_quality must be 1 to 100, or None for lossless, got {webp_quality}")
        self.config, self.webp_quality = config, webp_quality
        self.batch_size = max(1, 4 * config.render.batch_size // config.num_images)
        self.resources = Resources(num_cpus=1.0, num_gpus=num_gpus)
        self._drawer: PriorDrawer | None = None

    def setup(self) -> None:
        self._drawer = PriorDrawer(self.config, partial(webp_bytes, quality=self.webp_quality))

    def process(self, items: list[Item]) -> list[DrawnPrior | Rejected]:
        if self._drawer is None:
            raise RuntimeError("call setup before process")
        drawn = self._drawer.draw([str(item.payload["prompt"]) for item in items])
        return [
            DrawnPrior(key=item.key, drawn=replace(one, images=()), payload=item.payload)
            if np.isfinite(one.feature).all()
            else Rejected(key=item.key, reason="feature_not_finite", detail=one.prompt)
            for item, one in zip(items, drawn, strict=True)
        ]
