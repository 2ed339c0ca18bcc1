"""Rendering with a tiny random model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch._dynamo.testing import CompileCounter

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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_images_are_those_of_the_pipeline_rounded_to_bytes(prior_config: PriorConfig, dtype: str) -> None:
    renderer = Renderer(replace(prior_config.render, dtype=dtype))
    values = renderer._pipeline(
        PROMPTS[:3],
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in range(3)],
        output_type="np",
    ).images
    expected = (values * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(renderer.render(PROMPTS[:3], range(3)), expected)


class ArrayPipeline:
    """Pipeline without an image processor, as DeepFloyd IF: only its arrays have values in 0..1."""

    device = torch.device("cpu")

    def __call__(self, prompt: list[str], output_type: str, **_: object) -> SimpleNamespace:
        assert output_type == "np"
        return SimpleNamespace(images=np.linspace(0, 1, len(prompt) * 12, dtype=np.float32).reshape(-1, 2, 2, 3))


def test_pipelines_without_an_image_processor_return_arrays(
    prior_config: PriorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer(prior_config.render)
    monkeypatch.setattr(renderer, "_pipeline", ArrayPipeline())
    first, last = renderer.render(PROMPTS[:2], [1, 2])
    assert first.shape == (2, 2, 3)
    assert (first[0, 0].tolist(), last[1, 1].tolist()) == ([0, 11, 22], [233, 244, 255])


def test_the_device_starts_a_batch_before_the_host_takes_the_last_one(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    decode = renderer._pipeline.vae.decode

    def record(latents: torch.Tensor, *args: object, **kwargs: object) -> object:
        started.append(len(latents))
        return decode(latents, *args, **kwargs)

    monkeypatch.setattr(renderer._pipeline.vae, "decode", record)
    batches = renderer.iterate_batches([*PROMPTS, *PROMPTS], range(10))
    assert (len(next(batches)), started) == (4, [4, 4])
    assert (len(next(batches)), started) == (4, [4, 4, 2])
    assert [len(batch) for batch in batches] == [2]


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


def test_a_safety_checker_makes_images_black_and_counts_them(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(image: torch.Tensor, *_: object) -> tuple[torch.Tensor, list[bool]]:
        image[1] = 0
        return image, [False, True, False]

    monkeypatch.setattr(renderer._pipeline, "run_safety_checker", check)
    (batch,) = renderer.iterate_batches(PROMPTS[:3], range(3))
    assert [result.nsfw_filtered for result in batch] == [False, True, False]
    assert [bool(result.image.any()) for result in batch] == [True, False, True]


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


# -- compilation --------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled_graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounter]:
    """Count the graphs that are compiled; they run as they are, since code for a CPU takes minutes."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


def test_denoiser_and_decoder_are_one_graph_each_whatever_the_number_of_images(
    prior_config: PriorConfig, renderer: Renderer, compiled_graphs: CompileCounter
) -> None:
    compiled = Renderer(replace(prior_config.render, compile=True))
    images = compiled.render(PROMPTS, range(5))  # batches of 4 and 1
    images += compiled.render(PROMPTS[:2], range(5, 7))
    assert compiled_graphs.frame_count == 2
    expected = renderer.render(PROMPTS, range(5)) + renderer.render(PROMPTS[:2], range(5, 7))
    assert max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(images, expected, strict=True)) <= 1
    for part in ("unet", "vae"):
        names = [getattr(one._pipeline, part).state_dict().keys() for one in (compiled, renderer)]
        assert names[0] == names[1]


def test_a_small_vae_is_compiled_instead_of_the_own_one(
    prior_config: PriorConfig, checkpoints: Path, compiled_graphs: CompileCounter
) -> None:
    small = str(checkpoints / "stable-diffusion" / "vae")
    renderer = Renderer(replace(prior_config.render, compile=True, small_vae=small))
    own = renderer.render(PROMPTS[:4], range(4))
    assert compiled_graphs.frame_count == 1
    renderer.use_small_vae()
    np.testing.assert_array_equal(renderer.render(PROMPTS[:4], range(4)), own)
    assert compiled_graphs.frame_count == 2


def test_compiled_models_render_nan_of_half_precision_again_without_compiling(
    prior_config: PriorConfig, compiled_graphs: CompileCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Renderer(prior_config.render).render(PROMPTS[:1], [1])
    renderer = Renderer(replace(prior_config.render, compile=True, dtype="bfloat16"))
    vae: AutoencoderKL = renderer._pipeline.vae
    decode = vae.decode
    monkeypatch.setattr(
        vae,
        "decode",
        lambda latents, **kwargs: (
            decode(latents, **kwargs)[0] * (1 if latents.dtype == torch.float32 else torch.nan),
        ),
    )
    image = renderer.render(PROMPTS[:1], [1])[0]
    assert np.abs(image.astype(int) - right[0].astype(int)).max() <= 1
    assert (compiled_graphs.frame_count, renderer._pipeline.unet.dtype) == (2, torch.bfloat16)
