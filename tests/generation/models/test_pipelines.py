"""Checkpoints of every class that is supported draw through the same code, in miniature and with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from generation.errors import GenerationError
from generation.models.config import RenderConfig
from generation.models.text_to_image import Renderer
from generation.priors.config import PriorConfig, build_image_settings
from generation.priors.rendering import PriorRenderer

PROMPTS = ["a red cup", "a man", "a red cup", "two dogs"]
WIDTH = 16
_BLOCKS = {
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


@pytest.fixture(scope="module")
def tokenizer(checkpoints: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(checkpoints / "clip")


def _text(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=16,
        projection_dim=WIDTH,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(latent_channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8),
        norm_num_groups=2,
        latent_channels=latent_channels,
        shift_factor=0.06,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


def _xl(tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        **_BLOCKS,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(timestep_spacing="trailing"),
    )


def _lcm(tokenizer: CLIPTokenizer) -> LatentConsistencyModelPipeline:
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        time_cond_proj_dim=8,
        **_BLOCKS,
    )
    return LatentConsistencyModelPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text(tokenizer)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=LCMScheduler(original_inference_steps=10),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sd3(tokenizer: CLIPTokenizer) -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(),
        text_encoder=CLIPTextModelWithProjection(_text(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(_text(tokenizer)),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


@pytest.mark.parametrize(
    ("make", "num_inference_steps", "guidance_scale"),
    [(_xl, 2, 5.0), (_xl, 1, 0.0), (_lcm, 2, 8.0), (_sd3, 2, 5.0), (_sd3, 2, 0.0)],
    ids=["xl", "xl turbo", "lcm", "sd3", "sd3 without guidance"],
)
def test_every_class_draws_a_prompt_the_same_in_every_batch(
    tokenizer: CLIPTokenizer, tmp_path: Path, make: object, num_inference_steps: int, guidance_scale: float
) -> None:
    torch.manual_seed(0)
    assert callable(make)
    make(tokenizer).save_pretrained(tmp_path / "model")
    config = RenderConfig(
        checkpoint=str(tmp_path / "model"),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        image_size_px=32,
        batch_size=3,
        device="cpu",
    )
    images = Renderer(config).render(PROMPTS, [1, 2, 1, 3])
    alone = Renderer(replace(config, batch_size=1)).render(PROMPTS[1:2], [2])[0]
    assert all(image.shape == (32, 32, 3) for image in images)
    assert np.abs(images[0].astype(int) - images[2].astype(int)).max() <= 1
    assert np.abs(images[1].astype(int) - alone.astype(int)).max() <= 1
    assert np.abs(images[0].astype(int) - images[1].astype(int)).max() > 1


def test_a_small_vae_that_draws_the_same_is_taken_and_part_of_the_id(
    prior_config: PriorConfig, checkpoints: Path
) -> None:
    same = replace(prior_config.render, small_vae=str(checkpoints / "stable-diffusion" / "vae"))
    config = replace(prior_config, render=same)
    (one,), (other,) = (PriorRenderer(given).generate_images(["a red cup"]) for given in (prior_config, config))
    np.testing.assert_array_equal(one.images[0], other.images[0])
    assert build_image_settings(config) != build_image_settings(prior_config)


def test_a_small_vae_that_draws_something_else_is_refused(prior_config: PriorConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    AutoencoderTiny(
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).save_pretrained(tmp_path / "small")
    render = replace(prior_config.render, small_vae=str(tmp_path / "small"))
    with pytest.raises(GenerationError, match=r"cosine of .* omit small_vae"):
        PriorRenderer(replace(prior_config, render=render))


@pytest.mark.parametrize(("channels", "message"), [(8, "latents of 8 channels, the checkpoint has 4"), (0, "no VAE")])
def test_a_small_vae_of_other_latents_or_none_is_named(
    prior_config: PriorConfig, tmp_path: Path, channels: int, message: str
) -> None:
    if channels:
        _vae(channels).save_pretrained(tmp_path)
    renderer = Renderer(replace(prior_config.render, small_vae=str(tmp_path)))
    with pytest.raises(GenerationError, match=message):
        renderer.use_small_vae()


def test_a_scheduler_of_few_steps_fits_a_checkpoint_of_many(prior_config: PriorConfig) -> None:
    config = replace(prior_config.render, scheduler="LCMScheduler", num_inference_steps=1, guidance_scale=0.0)
    assert Renderer(config).render(["a cup"], [1])[0].shape == (32, 32, 3)
    assert DDIMScheduler.__name__ not in repr(Renderer(config)._pipeline.scheduler)
