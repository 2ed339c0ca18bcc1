"""Priors without a store."""

from __future__ import annotations

import numpy as np

from generation.priors.config import PriorConfig, build_image_settings, compute_prior_id
from generation.priors.generator import PriorGenerator

# -- the library ----------------------------------------------------------------------------------------------------


def test_the_library_gives_image_and_feature_and_draws_a_prompt_once(prior_config: PriorConfig) -> None:
    generator = PriorGenerator(prior_config)
    left, right, dog = generator.generate(["left red cup", "red cup on the right", "dog"])
    assert (left.prompt, dog.prompt) == ("a red cup", "a dog")
    assert left.images is right.images
    assert left.image.shape == (32, 32, 3)
    assert left.feature.shape == (generator.dim,) == (12,)
    assert left.prior_id == compute_prior_id("a red cup", build_image_settings(prior_config))
    assert generator("the red cup above the ball").images is left.images


def test_the_librarys_memory_is_bounded(prior_config: PriorConfig) -> None:
    generator = PriorGenerator(prior_config, cache_size=1)
    first = generator("red cup")
    generator("dog")
    again = generator("red cup")
    assert again.images is not first.images
    np.testing.assert_array_equal(again.image, first.image)
