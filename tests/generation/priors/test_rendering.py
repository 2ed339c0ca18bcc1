"""Rendering of priors."""

from __future__ import annotations

import os
from dataclasses import replace
from threading import Barrier

import pytest

from generation.models.config import RgbImage
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


def test_the_number_of_images_of_an_item_is_that_of_its_payload(prior_config: PriorConfig) -> None:
    stage = RenderStage(replace(prior_config, num_plain_images=3))
    stage.setup()
    counts = [1, 3, 1, 3]
    items = [_item(str(i), prompt=PROMPTS[i], num_images=count) for i, count in enumerate(counts)]
    priors = [prior for prior in stage.process(items) if isinstance(prior, Prior)]
    assert [(prior.prompt, len(prior.generated.compressed)) for prior in priors] == list(
        zip(PROMPTS, counts, strict=False)
    )


def test_several_threads_compress_and_the_files_stay_in_order(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pair = Barrier(2, timeout=60)

    def compress(image: RgbImage) -> bytes:
        pair.wait()  # a single thread would wait for ever
        return image.tobytes()

    renderer = PriorRenderer(replace(prior_config, num_images=2), compress)
    generated = renderer.generate_images(PROMPTS)
    assert [result.prompt for result in generated] == PROMPTS
    assert all(len(result.images) == 2 for result in generated)
    for result in generated:
        assert result.compressed == tuple(image.tobytes() for image in result.images)
    plain = PriorRenderer(prior_config).generate_images(PROMPTS)
    assert all(result.compressed == () for result in plain)


@pytest.mark.parametrize(("num_inference_steps", "num_batches"), [(1, 16), (20, 8), (50, 4)])
def test_a_call_of_the_stage_has_more_batches_if_they_have_few_steps(
    prior_config: PriorConfig, num_inference_steps: int, num_batches: int
) -> None:
    render = replace(prior_config.render, batch_size=4, num_inference_steps=num_inference_steps)
    assert RenderStage(replace(prior_config, render=render, num_images=2)).batch_size == num_batches * 4 // 2


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
