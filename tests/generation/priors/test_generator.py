"""Priors without a store."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_prompt_without_appearance_can_have_more_images_the_first_of_which_stays_the_same(
    prior_config: PriorConfig,
) -> None:
    texts = ["left cup", "red cup", "cup on the right"]
    cup, red, _ = PriorGenerator(prior_config).generate(texts)
    five_cups, same_red, again = PriorGenerator(replace(prior_config, num_plain_images=5)).generate(texts)
    assert [len(prior.images) for prior in (five_cups, same_red, again)] == [5, 1, 5]
    assert again.images is five_cups.images
    assert same_red.prior_id == red.prior_id and five_cups.prior_id != cup.prior_id
    assert np.abs(five_cups.image.astype(int) - cup.image).max() <= 1
    assert np.linalg.norm(five_cups.feature.astype(float)) < 1


def test_the_librarys_memory_is_bounded(prior_config: PriorConfig) -> None:
    generator = PriorGenerator(prior_config, cache_size=1)
    first = generator("red cup")
    generator("dog")
    again = generator("red cup")
    assert again.images is not first.images
    np.testing.assert_array_equal(again.image, first.image)
