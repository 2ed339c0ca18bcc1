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
from generation.priors.config import PriorConfig, build_image_settings, identify_prior
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
        self._cache: OrderedDict[tuple[str, int], GeneratedImages] = OrderedDict()

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
        prompts = [build_prompt(attributes, self.config.prompt) for attributes in parsed]
        requests = [(prompt.text, self.config.count_images(prompt)) for prompt in prompts]
        generated = self._get_images(requests)
        return [
            Prior(
                prior_id=identify_prior(prompt, self.config, self._settings),
                generated=generated[request],
                attributes=attributes.to_json(),
            )
            for attributes, prompt, request in zip(parsed, prompts, requests, strict=True)
        ]

    def _get_images(self, requests: Sequence[tuple[str, int]]) -> dict[tuple[str, int], GeneratedImages]:
        """Get the images of each prompt and number of images from the cache, or render them."""
        new = [request for request in dict.fromkeys(requests) if request not in self._cache]
        generated = {request: self._cache[request] for request in requests if request in self._cache}
        rendered = self._renderer.generate_images([text for text, _ in new], [count for _, count in new])
        generated |= zip(new, rendered, strict=True)
        for request in generated:
            self._cache[request] = generated[request]
            self._cache.move_to_end(request)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return generated
