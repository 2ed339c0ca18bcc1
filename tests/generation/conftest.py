"""Tiny random models, saved and loaded through the same ``from_pretrained`` as full-size ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from generation.models.config import EncoderConfig, RenderConfig
from generation.models.image_encoder import ImageEncoder
from generation.models.text_to_image import Renderer
from generation.parsing.attributes import AttributeParser
from generation.priors.config import PriorConfig

torch.set_num_threads(1)
MAX_TOKENS = 16
DIM = 12


@pytest.fixture(scope="session")
def parser() -> AttributeParser:
    return AttributeParser()


def tiny_tokenizer() -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=MAX_TOKENS)


def tiny_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **sizes,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "projection_dim": DIM,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**sizes, "image_size": 32, "patch_size": 8, "projection_dim": DIM}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``stable-diffusion`` and ``clip``, randomly initialized."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    clip = tiny_clip(tokenizer)
    clip.save_pretrained(root / "clip")
    tokenizer.save_pretrained(root / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(root / "clip")
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        norm_num_groups=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
    )
    text_encoder = CLIPTextModel(clip.config.text_config)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(root / "stable-diffusion")
    return root


@pytest.fixture(scope="session")
def prior_config(checkpoints: Path) -> PriorConfig:
    return PriorConfig(
        render=RenderConfig(
            checkpoint=str(checkpoints / "stable-diffusion"),
            num_inference_steps=2,
            guidance_scale=3.0,
            image_size_px=32,
            batch_size=4,
            device="cpu",
        ),
        encoder=EncoderConfig(checkpoint=str(checkpoints / "clip"), device="cpu"),
    )


@pytest.fixture(scope="module")
def renderer(prior_config: PriorConfig) -> Renderer:
    return Renderer(prior_config.render)


@pytest.fixture(scope="module")
def encoder(prior_config: PriorConfig) -> ImageEncoder:
    return ImageEncoder(prior_config.encoder)
