"""Autoencoder of the miniature Stable Diffusion: 64 x 64 images to 16 x 16 x 4 latents."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from workflows.miniature.models.captioned_images import ImageBank
from workflows.miniature.models.training_loop import LoopConfig, train_model

KL_WEIGHT = 1e-6


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )


def train_autoencoder(bank: ImageBank, folder: Path, steps: int) -> AutoencoderKL:
    """Train on the image bank, and set the scaling factor so that latents have unit variance."""
    model = new_autoencoder()

    def compute_loss(step: int) -> Tensor:
        images, _ = bank.batch(32, Random(f"autoencoder/{step}"))
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(images).latent_dist
            decoded = model.decode(posterior.sample()).sample
        decoded = decoded.float()
        edges = sum(functional.l1_loss(decoded.diff(dim=d), images.diff(dim=d)) for d in (2, 3))
        likeness = functional.l1_loss(decoded, images) + functional.mse_loss(decoded, images)
        loss: Tensor = likeness + 0.5 * edges + KL_WEIGHT * posterior.kl().mean()
        return loss

    config = LoopConfig(name="autoencoder", steps=steps, learning_rate=2e-3, weight_decay=0.0, ema_decay=0.995)
    train_model(config, model, compute_loss, folder)
    images, _ = bank.batch(256, Random("scale"))
    with torch.no_grad():
        latents = model.encode(images).latent_dist.mean
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return model


@torch.no_grad()
def compute_psnr_db(model: AutoencoderKL, images: Tensor) -> float:
    """Compute the peak signal-to-noise ratio of (n, 3, 64, 64) images in -1..1 after encoding and decoding."""
    decoded = model.decode(model.encode(images).latent_dist.mean).sample.clamp(-1, 1)
    return 10 * math.log10(4 / functional.mse_loss(decoded, images).item())
