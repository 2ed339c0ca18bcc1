"""Rendering with a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.errors import GenerationError
from generation.models.config import RenderConfig
from generation.models.text_to_image import Renderer
from generation.priors.config import PriorConfig
from generation.priors.seeds import compute_image_seed

PROMPTS = ["a red cup", "a man", "two dogs", "a blue ball", "a cat"]


# -- images -------------------------------------------------------------------------------------------------------


def test_an_image_does_not_depend_on_its_batch_or_place(renderer: Renderer) -> None:
    seeds = [compute_image_seed(prompt, 0, 0) for prompt in PROMPTS]
    together = renderer.render(PROMPTS, seeds)
    assert [image.shape for image in together] == [(32, 32, 3)] * 5
    assert all(image.dtype == np.uint8 for image in together)
    backwards = renderer.render(PROMPTS[::-1], seeds[::-1])[::-1]
    for image, other, prompt, seed in zip(together, backwards, PROMPTS, seeds, strict=True):
        alone = renderer.render([prompt], [seed])[0]
        assert np.abs(image.astype(int) - alone.astype(int)).max() <= 1
        assert np.abs(image.astype(int) - other.astype(int)).max() <= 1


def test_prompt_seed_and_negative_prompt_change_the_image(renderer: Renderer) -> None:
    plain = renderer.render(["a red cup"], [1])[0]
    assert np.array_equal(plain, renderer.render(["a red cup"], [1])[0])
    assert not np.array_equal(plain, renderer.render(["a red cup"], [2])[0])
    assert not np.array_equal(plain, renderer.render(["a blue ball"], [1])[0])
    assert not np.array_equal(plain, renderer.render(["a red cup"], [1], negative_prompt="blurry")[0])


def test_another_scheduler_is_taken_by_name(prior_config: PriorConfig, renderer: Renderer) -> None:
    other = Renderer(replace(prior_config.render, scheduler="EulerDiscreteScheduler"))
    assert not np.array_equal(other.render(["a cup"], [1])[0], renderer.render(["a cup"], [1])[0])


def test_an_unknown_scheduler_is_named(prior_config: PriorConfig) -> None:
    with pytest.raises(GenerationError, match="no scheduler 'Quick'"):
        Renderer(replace(prior_config.render, scheduler="Quick"))


@pytest.mark.parametrize("content", [None, {"_class_name": "Something"}])
def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path, content: dict[str, str] | None) -> None:
    if content is not None:
        (tmp_path / "model_index.json").write_text(json.dumps(content))
    with pytest.raises(GenerationError, match="is no text-to-image pipeline"):
        Renderer(RenderConfig(checkpoint=str(tmp_path)))


@pytest.mark.parametrize(
    "fault", [{"image_size_px": 100}, {"num_inference_steps": 0}, {"guidance_scale": -1.0}, {"batch_size": 0}]
)
def test_impossible_settings_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        RenderConfig(checkpoint="some/model", **fault)  # type: ignore[arg-type]


def _out_of_memory_beyond(renderer: Renderer, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real UNet run out of memory for larger batches (guidance doubles the rows)."""
    unet = renderer._pipeline.unet
    forward = unet.forward

    def bounded(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        if len(sample) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", bounded)


def test_out_of_memory_halves_the_batch_warns_and_continues(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = Renderer(prior_config.render)
    whole = renderer.render(PROMPTS[:4], [1, 2, 3, 4])
    _out_of_memory_beyond(renderer, 2, monkeypatch)
    halved = renderer.render(PROMPTS[:4], [1, 2, 3, 4])
    assert renderer.batch_size == 1
    assert "rendering 2 images at once" in caplog.text
    assert max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(whole, halved, strict=True)) <= 1


def test_an_image_that_no_memory_holds_names_the_remedy(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer(prior_config.render)
    _out_of_memory_beyond(renderer, 1, monkeypatch)
    with pytest.raises(GenerationError, match="try a smaller image size"):
        renderer.render(PROMPTS[:1], [1])


def test_nan_of_half_precision_is_rendered_again_in_float32(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Renderer(prior_config.render).render(PROMPTS[:2], [1, 2])
    renderer = Renderer(replace(prior_config.render, dtype="bfloat16"))
    decode = renderer._pipeline.vae.decode

    def overflowing(latents: torch.Tensor, *args: object, **kwargs: object) -> object:
        (image,) = decode(latents, *args, **kwargs)
        if latents.dtype != torch.float32:
            image[:1] = torch.nan  # the first of the batch
        return (image,)

    monkeypatch.setattr(renderer._pipeline.vae, "decode", overflowing)
    images = renderer.render(PROMPTS[:2], [1, 2])
    assert "1 image(s) have NaN" in caplog.text
    assert np.abs(images[0].astype(int) - right[0].astype(int)).max() <= 1
    assert renderer._pipeline.unet.dtype == torch.bfloat16


def test_nan_in_full_precision_is_an_error_that_names_the_prompt(prior_config: PriorConfig) -> None:
    renderer = Renderer(prior_config.render)
    with torch.no_grad():
        renderer._pipeline.vae.post_quant_conv.weight.fill_(torch.nan)
    with pytest.raises(GenerationError, match="NaN in float32 for 'a"):
        renderer.render(PROMPTS[:1], [1])
