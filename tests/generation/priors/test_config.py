"""Prior ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generation.priors.config import PriorConfig, build_image_settings, compute_prior_id
from generation.priors.prompt import PromptConfig
from generation.priors.rendering import RenderStage

PROMPTS = ["a red cup", "a man", "two dogs", "a blue ball", "a cat"]


# -- ids ------------------------------------------------------------------------------------------------------------


def test_an_id_is_the_same_in_every_process() -> None:
    assert compute_prior_id("a red cup", {"num_inference_steps": 20, "model": "m"}) == compute_prior_id(
        "a red cup", {"model": "m", "num_inference_steps": 20}
    )
    assert compute_prior_id("a red cup", {}) == "545fe056425d2ce6571f9b7f200dd117"


def test_everything_that_decides_the_image_decides_the_id(prior_config: PriorConfig) -> None:
    config = prior_config
    variants = [
        config,
        replace(config, seed=1),
        replace(config, num_images=2),
        replace(config, num_images=3),
        replace(config, prompt=PromptConfig(negative_prompt="blurry")),
        replace(config, render=replace(config.render, num_inference_steps=3)),
        replace(config, render=replace(config.render, guidance_scale=4.0)),
        replace(config, render=replace(config.render, image_size_px=64)),
        replace(config, render=replace(config.render, scheduler="DDIMScheduler")),
    ]
    assert len({compute_prior_id("a red cup", build_image_settings(variant)) for variant in variants}) == len(variants)
    assert len({compute_prior_id(prompt, build_image_settings(config)) for prompt in PROMPTS}) == len(PROMPTS)


def test_where_and_how_fast_an_image_is_made_does_not_decide_the_id(prior_config: PriorConfig) -> None:
    faster = replace(prior_config, render=replace(prior_config.render, batch_size=1, dtype="float32"))
    assert build_image_settings(faster) == build_image_settings(prior_config)


@pytest.mark.parametrize("quality", [0, 101])
def test_an_impossible_quality_is_refused(prior_config: PriorConfig, quality: int) -> None:
    with pytest.raises(ValueError, match="webp_quality"):
        RenderStage(prior_config, webp_quality=quality)


def test_a_gate_is_part_of_the_id_only_where_it_is_set(prior_config: PriorConfig) -> None:
    assert "min_clip_score" not in build_image_settings(prior_config)
    gated = build_image_settings(replace(prior_config, min_clip_score=20.0))
    assert compute_prior_id("a cup", gated) != compute_prior_id("a cup", build_image_settings(prior_config))


def test_one_image_has_the_settings_of_earlier_versions_and_a_mean_of_several_says_that_it_is_one(
    prior_config: PriorConfig,
) -> None:
    settings = build_image_settings(prior_config)
    assert (settings["num_images"], settings.get("feature")) == (1, None)
    five = build_image_settings(replace(prior_config, num_images=5))
    assert (five["num_images"], five["feature"]) == (5, "mean")
    assert build_image_settings(replace(prior_config, num_plain_images=5)) == settings
