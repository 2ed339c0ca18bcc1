"""Folders of full-size models with random weights: the architectures of the hub's checkpoints, without their downloads.

Their speed and memory are those of the real models; their images and boxes mean nothing. With ``small``, the same
classes have a few layers of small width, to test what uses them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
)

from generation.parsing.coco_categories import COCO_CATEGORIES
from workflows.miniature import WEIGHTS

NUM_LETTERS = 26

_SMALL_TOWER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_SMALL_DETR = {
    "d_model": 64,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 128,
    "decoder_layers": 2,
    "num_queries": 20,
}


def save_stable_diffusion(folder: Path, dtype: torch.dtype, device: torch.device, *, small: bool = False) -> Path:
    """Save the architecture of ``stable-diffusion-v1-5`` (CLIP ViT-L text, 860 M parameters in the UNet)."""
    large_tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    text = CLIPTextConfig(**(_SMALL_TOWER if small else large_tower), **_SPECIAL_TOKENS)
    small_unet = {"block_out_channels": (32, 32, 64, 64), "layers_per_block": 1} if small else {}
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=text.hidden_size, attention_head_dim=8, **small_unet
        )
    scheduler = DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    return _save_pipeline(folder, unet, text, scheduler, dtype, device, small=small)


def save_sd_turbo(folder: Path, dtype: torch.dtype, device: torch.device) -> Path:
    """Save the architecture of ``sd-turbo``, distilled from Stable Diffusion 2.1 (OpenCLIP ViT-H text)."""
    text = CLIPTextConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        hidden_act="gelu",
        **_SPECIAL_TOKENS,
    )
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="trailing"
    )
    return _save_pipeline(folder, unet, text, scheduler, dtype, device)


def build_sdxl_unet(dtype: torch.dtype, device: torch.device) -> UNet2DConditionModel:
    """Build the UNet of ``stable-diffusion-xl-base-1.0`` (2.6 G parameters)."""
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    return unet.to(dtype).eval()


def save_clip(folder: Path, device: torch.device, *, small: bool = False) -> Path:
    """Save the architecture of ``clip-vit-base-patch32``, in float32; it has 512 features, also if it is small."""
    tower = _SMALL_TOWER if small else {}
    with torch.device(device):
        model = CLIPModel(CLIPConfig(text_config={**tower, **_SPECIAL_TOKENS}, vision_config=tower))
    model.save_pretrained(folder)
    _make_tokenizer().save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def save_rtdetr(
    folder: Path, device: torch.device, labels: Iterable[str] = COCO_CATEGORIES, *, small: bool = False
) -> Path:
    """Save the architecture of ``rtdetr_r50vd``, in float32, with names of its classes."""
    small_config = {
        **_SMALL_DETR,
        "encoder_hidden_dim": 64,
        "encoder_in_channels": [32, 64, 128],
        "decoder_in_channels": [64, 64, 64],
        "backbone_config": RTDetrResNetConfig(
            embedding_size=16,
            hidden_sizes=[16, 32, 64, 128],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
    }
    config = RTDetrConfig(id2label=dict(enumerate(labels)), **(small_config if small else {}))
    with torch.device(device):
        model = RTDetrForObjectDetection(config)
    model.save_pretrained(folder)
    side_px = 160 if small else 640
    RTDetrImageProcessor(size={"height": side_px, "width": side_px}).save_pretrained(folder)
    return folder


def save_detr(folder: Path, device: torch.device, *, small: bool = False) -> Path:
    """Save the architecture of ``detr-resnet-50``, in float32."""
    small_backbone = {"embedding_size": 16, "hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 1, 1]}
    backbone = ResNetConfig(out_features=["stage4"], **(small_backbone if small else {}))
    small_config = {**_SMALL_DETR, "encoder_layers": 2} if small else {}
    config = DetrConfig(use_timm_backbone=False, backbone=None, backbone_config=backbone, num_labels=91, **small_config)
    with torch.device(device):
        model = DetrForObjectDetection(config)
    model.save_pretrained(folder)
    DetrImageProcessor().save_pretrained(folder)
    return folder


def save_bert(folder: Path, device: torch.device, *, small: bool = False) -> Path:
    """Save the architecture of ``bert-base-uncased``, in float32, with the tokenizer of the miniature."""
    shutil.copytree(WEIGHTS / "bert", folder, dirs_exist_ok=True)
    with torch.device(device):
        model = BertModel(BertConfig(**({**_SMALL_TOWER, "num_hidden_layers": 4} if small else {})))
    model.save_pretrained(folder)
    return folder


def save_bert_config(folder: Path) -> Path:
    """Save the sizes of ``bert-base-uncased`` with the tokenizer of the miniature, without weights."""
    shutil.copytree(WEIGHTS / "bert", folder)
    (folder / "config.json").write_text(json.dumps(BertConfig().to_dict()))
    return folder


_SPECIAL_TOKENS = {"bos_token_id": 2 * NUM_LETTERS, "eos_token_id": 2 * NUM_LETTERS + 1}
_SPECIAL_TOKENS["pad_token_id"] = _SPECIAL_TOKENS["eos_token_id"]


def _make_tokenizer() -> CLIPTokenizer:
    """Make a tokenizer of single letters, so that a prompt has as many tokens as letters."""
    letters = [chr(ord("a") + i) for i in range(NUM_LETTERS)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)


def _save_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    text: CLIPTextConfig,
    scheduler: object,
    dtype: torch.dtype,
    device: torch.device,
    *,
    small: bool = False,
) -> Path:
    with torch.device(device):
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 32, 32) if small else (128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1 if small else 2,
            latent_channels=4,
        )
        text_encoder = CLIPTextModel(text)
    vae.decoder.conv_out.weight.data *= 8  # contrast as of photographs, else images compress too well
    StableDiffusionPipeline(
        vae=vae.to(dtype),
        text_encoder=text_encoder.to(dtype),
        tokenizer=_make_tokenizer(),
        unet=unet.to(dtype),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
