"""Miniature Stable Diffusion: a latent UNet with the frozen text tower of the miniature CLIP.

It is trained with the v-prediction objective (Salimans & Ho 2022, arXiv:2202.00512) and 10 % dropped captions for
classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from workflows.miniature.models.captioned_images import MAX_TOKENS, ImageBank, TokenCache, to_tensor
from workflows.miniature.models.training_loop import LoopConfig, train_model

STEPS = 12
GUIDANCE = 2.5
BATCH = 64


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


def extract_text_tower(clip: CLIPModel) -> CLIPTextModel:
    """Return the text tower of a CLIP as a separate model with the same weights."""
    tower = CLIPTextModel(clip.config.text_config)
    weights = {name: value for name, value in clip.state_dict().items() if name.startswith("text_model.")}
    expected = set(tower.state_dict())
    if not expected <= set(weights):
        weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    tower.load_state_dict(weights)
    return tower.eval().requires_grad_(False)


@torch.no_grad()
def encode_bank(autoencoder: AutoencoderKL, bank: ImageBank, path: Path) -> Tensor:
    """Return (num_images, 8, 16, 16) float16 means and log variances of the bank's unscaled latents, kept in a file."""
    if not path.exists():
        parts = []
        for start in track(range(0, len(bank.captions), 256), description="encoding images"):
            with torch.autocast("cpu", torch.bfloat16):
                parts.append(
                    autoencoder.encode(to_tensor(bank.images[start : start + 256])).latent_dist.parameters.half()
                )
        np.save(path, torch.cat(parts).numpy())
    return torch.from_numpy(np.load(path))


def train_unet(
    bank: ImageBank,
    autoencoder: AutoencoderKL,
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    folder: Path,
    steps: int,
) -> UNet2DConditionModel:
    """Train the UNet on the bank's latents."""
    unet, scheduler, ids = new_unet(), new_scheduler(), TokenCache(tokenizer)
    tower = extract_text_tower(clip)
    latents = encode_bank(autoencoder, bank, folder / f"latents-{len(bank.captions)}.npy")
    alphas = scheduler.alphas_cumprod
    factor = autoencoder.config.scaling_factor

    def compute_loss(step: int) -> Tensor:
        random = Random(f"unet/{step}")
        rows = [random.randrange(len(bank.captions)) for _ in range(BATCH)]
        mean, log_variance = latents[rows].float().chunk(2, dim=1)
        clean = (mean + torch.randn_like(mean) * (0.5 * log_variance.clamp(-30, 20)).exp()) * factor
        texts = ["" if random.random() < 0.1 else bank.captions[row] for row in rows]
        noise, times = torch.randn_like(clean), torch.randint(0, 1000, (BATCH,))
        signal = alphas[times].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * clean
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                words = tower(input_ids=ids(texts)).last_hidden_state
            predicted = unet(noisy, times, words).sample
        return functional.mse_loss(predicted.float(), velocity)

    config = LoopConfig(
        name="unet", steps=steps, learning_rate=8e-4, warmup_steps=300, ema_decay=0.9985, log_every_steps=100
    )
    train_model(config, unet, compute_loss, folder)
    return unet


def assemble(
    autoencoder: AutoencoderKL, unet: UNet2DConditionModel, clip: CLIPModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Assemble the parts to a pipeline in the layout of diffusers."""
    tokenizer.model_max_length = MAX_TOKENS
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=extract_text_tower(clip),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seed: int, batch_size: int = 50
) -> list[Image.Image]:
    """Render one 64 px image per prompt."""
    images: list[Image.Image] = []
    for start in track(range(0, len(prompts), batch_size), description="drawing", transient=True):
        chosen = list(prompts[start : start + batch_size])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(chosen))]
        with torch.autocast("cpu", torch.bfloat16):
            result = pipeline(
                chosen,
                height=64,
                width=64,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generators,
                output_type="pil",
            )
        images += result.images
    return images


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
