"""The miniature CLIP: contrastive training on the bank's captions (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from workflows.miniature.loop import LoopConfig, learn
from workflows.miniature.pictures import MAX_TOKENS, PictureBank, TokenCache

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "projection_dim": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "projection_dim": 128,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def normalise(pictures: Tensor) -> Tensor:
    """-1..1 to CLIP's mean and deviation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return ((pictures + 1) / 2 - mean) / std


def train_clip(bank: PictureBank, tokenizer: CLIPTokenizer, folder: Path, steps: int) -> CLIPModel:
    """Contrastive training with 128 pictures a step; equal captions of a batch count as matches of each other."""
    model, ids = new_clip(tokenizer), TokenCache(tokenizer)

    def loss_at(step: int) -> Tensor:
        random = Random(f"clip/{step}")
        pictures, captions = bank.batch(128, random)
        pictures = pictures * random.uniform(0.9, 1.05) + 0.03 * torch.randn_like(pictures)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids(captions), pixel_values=normalise(pictures)).logits_per_text.float()
        numbers = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
        labels = torch.tensor([numbers[caption] for caption in captions])
        same = (labels[:, None] == labels[None]).float()
        target = same / same.sum(1, keepdim=True)
        loss: Tensor = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
        return loss / 2

    learn(LoopConfig(name="clip", steps=steps, learning_rate=1.2e-3, weight_decay=0.05), model, loss_at, folder)
    return model


@torch.no_grad()
def retrieval_accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, pictures: Tensor, captions: list[str]) -> float:
    """Share of pictures whose most similar caption, among the different ones given, is their own."""
    ids = TokenCache(tokenizer)
    unique = sorted(set(captions))
    logits = model(input_ids=ids(unique), pixel_values=normalise(pictures)).logits_per_image
    chosen = [unique[i] for i in logits.argmax(1).tolist()]
    return sum(bool(a == b) for a, b in zip(chosen, captions, strict=True)) / len(captions)
