"""Rendering of priors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generation.priors.config import PriorConfig
from generation.priors.prior import Prior
from generation.priors.rendering import PriorRenderer, RenderStage
from generation.priors.seeds import compute_image_seed
from pipeline import Item
from workflows.presets import miniature

PROMPTS = ["a red cup", "a man", "two dogs", "a blue ball", "a cat"]


# -- jobs -----------------------------------------------------------------------------------------------------------


def _item(key: str, **payload: object) -> Item:
    return Item(key=key, seed=0, payload=payload)


def test_the_draw_stage_takes_its_seed_from_the_prompt_not_from_the_item(prior_config: PriorConfig) -> None:
    stage = RenderStage(replace(prior_config, num_images=2, seed=3), webp_quality=50)
    stage.setup()
    items = [Item(key="a", seed=1, payload={"prompt": "a cup"}), Item(key="b", seed=2, payload={"prompt": "a cup"})]
    first, second = stage.process(items)
    assert isinstance(first, Prior)
    assert isinstance(second, Prior)
    assert len(first.generated.compressed) == 2
    assert first.generated.compressed[0] != first.generated.compressed[1]
    assert first.generated.compressed[1] == second.generated.compressed[1]


# -- the gate, memory and precision ----------------------------------------------------------------------------------


def test_what_scores_too_little_is_rendered_again_and_the_best_try_is_kept() -> None:
    config = miniature.prior_config()
    prompts = ["a red cup", "a striped blue star", "a dotted green house", "a purple ball"]
    plain = PriorRenderer(config).generate_images(prompts)
    scores = [one.clip_score or 0.0 for one in plain]
    bar = (min(scores) + sorted(scores)[1]) / 2  # one prompt falls short of it
    drawer = PriorRenderer(replace(config, min_clip_score=bar, max_retries=2))
    gated = drawer.generate_images(prompts)
    assert [one.num_retries > 0 for one in gated] == [score < bar for score in scores]
    (poor,) = [i for i, score in enumerate(scores) if score < bar]
    tries = [compute_image_seed(prompts[poor], config.seed, number) for number in range(gated[poor].num_retries + 1)]
    images = drawer.renderer.render([prompts[poor]] * len(tries), tries)
    encoded = drawer.encoder.encode([[image] for image in images], [prompts[poor]] * len(tries))
    assert gated[poor].clip_score == pytest.approx(max(score or 0.0 for _, score in encoded), abs=0.2)


def test_priors_are_equal_whatever_the_batch_size(prior_config: PriorConfig) -> None:
    generated = [
        PriorRenderer(replace(prior_config, render=replace(prior_config.render, batch_size=size))).generate_images(
            PROMPTS
        )
        for size in (1, 3, 8)
    ]
    for one, *others in zip(*generated, strict=True):
        for other in others:
            assert float(one.feature.astype(float) @ other.feature.astype(float)) >= 1 - 1e-3
