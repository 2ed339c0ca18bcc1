"""A prior: the images rendered from a prompt, their feature, and the id that stands for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from generation.models.config import Feature, RgbImage


@dataclass(frozen=True, kw_only=True)
class GeneratedImages:
    """The images of one prompt with their feature."""

    prompt: str
    images: tuple[RgbImage, ...] = field(repr=False)
    feature: Feature = field(repr=False)
    """(dim,), the mean over the images, each of length 1 up to rounding."""

    clip_score: float | None
    """CLIP score, the mean over the images of 100 times the cosine with the prompt, at least 0; None if the encoder
    reads no text."""

    num_retries: int = 0
    """Number of times that the prompt was rendered again because of its CLIP score."""

    nsfw_filtered: int = 0
    """Number of images that the checkpoint's safety checker made black."""

    compressed: tuple[bytes, ...] = field(default=(), repr=False)
    """The images as files, if the renderer was given a way to encode them."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A semantic prior: the generated images of a query's prompt, under the id of that prompt."""

    prior_id: str
    generated: GeneratedImages
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """``Attributes.to_json()`` of the query that the prompt was built of."""

    @property
    def key(self) -> str:
        """The prior id, under which the pipeline carries the prior."""
        return self.prior_id

    @property
    def prompt(self) -> str:
        return self.generated.prompt

    @property
    def images(self) -> tuple[RgbImage, ...]:
        """The images, each (height, width, 3)."""
        return self.generated.images

    @property
    def image(self) -> RgbImage:
        """The first image, (height, width, 3)."""
        return self.images[0]

    @property
    def feature(self) -> Feature:
        """(dim,), the mean over the images, each of length 1 up to rounding."""
        return self.generated.feature

    @property
    def clip_score(self) -> float | None:
        return self.generated.clip_score
