"""Priors of single queries, without a store.

generator = PriorGenerator(PriorConfig(render=RenderConfig(checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5")))
prior = generator("second man from left in a red shirt")
prior.prompt, prior.image, prior.feature  # "a man in a red shirt", (512, 512, 3) uint8, (512,) float16
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from generation.parsing.attributes import AttributeParser
from generation.priors.config import PriorConfig, build_image_settings, compute_prior_id
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.prompt import build_prompt
from generation.priors.rendering import PriorRenderer

if TYPE_CHECKING:
    from generation.models.image_encoder import ImageEncoder


class PriorGenerator:
    """Generator of the priors of queries; queries with the same prompt share the images.

    Args:
        config: checkpoints, wording and seed.
        cache_size: number of prompts whose images stay in memory; the least recently used are dropped first.
    """

    def __init__(self, config: PriorConfig, cache_size: int = 1024) -> None:
        if cache_size < 1:
            raise ValueError(f"cache_size must be at least 1, got {cache_size}")
        self.config, self._cache_size = config, cache_size
        self._settings = build_image_settings(config)
        self._parser = AttributeParser()
        self._renderer = PriorRenderer(config)
        self._cache: OrderedDict[str, GeneratedImages] = OrderedDict()

    @property
    def encoder(self) -> ImageEncoder:
        """Encoder of the features, to encode other images for comparison."""
        return self._renderer.encoder

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self.encoder.dim

    def __call__(self, text: str) -> Prior:
        """Generate the prior of a query.

        Raises:
            EmptyQueryError: the text has no letter and no digit.
        """
        return self.generate([text])[0]

    def generate(self, texts: Sequence[str]) -> list[Prior]:
        """Generate the priors of queries in batches, in order."""
        parsed = self._parser.parse(texts)
        prompts = [build_prompt(attributes, self.config.prompt).text for attributes in parsed]
        generated = self._get_images(prompts)
        return [
            Prior(
                prior_id=compute_prior_id(prompt, self._settings),
                generated=generated[prompt],
                attributes=attributes.to_json(),
            )
            for attributes, prompt in zip(parsed, prompts, strict=True)
        ]

    def _get_images(self, prompts: Sequence[str]) -> dict[str, GeneratedImages]:
        """Get each prompt's images from the cache, or render them."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._cache]
        generated = {prompt: self._cache[prompt] for prompt in prompts if prompt in self._cache}
        generated |= {result.prompt: result for result in self._renderer.generate_images(new)}
        for prompt in generated:
            self._cache[prompt] = generated[prompt]
            self._cache.move_to_end(prompt)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return generated
