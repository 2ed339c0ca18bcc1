"""Contrastive training of the miniature CLIP on the bank's captions (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from generation.parsing.english import add_article
from workflows.miniature.models.captioned_images import MAX_TOKENS, ImageBank, TokenCache, to_images, to_tensor
from workflows.miniature.models.training_loop import LoopConfig, train_model
from workflows.miniature.world.dataset import (
    IMAGE_PX,
    Combination,
    compose,
    describe_combination,
    list_combinations,
)

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


KEPT_SHARE = 0.25
"""Weight of the parameters before sharpening in the average with those after it."""


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


def normalize_images(images: Tensor) -> Tensor:
    """Normalize images in -1..1 by CLIP's mean and deviation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return ((images + 1) / 2 - mean) / std


def train_clip(bank: ImageBank, tokenizer: CLIPTokenizer, folder: Path, steps: int) -> CLIPModel:
    """Train with batches of 128 images; equal captions in a batch count as matches of each other."""
    model, ids = new_clip(tokenizer), TokenCache(tokenizer)

    def compute_loss(step: int) -> Tensor:
        random = Random(f"clip/{step}")
        images, captions = bank.batch(128, random)
        images = images * random.uniform(0.9, 1.05) + 0.03 * torch.randn_like(images)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids(captions), pixel_values=normalize_images(images)).logits_per_text.float()
        numbers = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
        labels = torch.tensor([numbers[caption] for caption in captions])
        same = (labels[:, None] == labels[None]).float()
        target = same / same.sum(1, keepdim=True)
        loss: Tensor = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
        return loss / 2

    train_model(
        LoopConfig(name="clip", steps=steps, learning_rate=1.2e-3, weight_decay=0.05), model, compute_loss, folder
    )
    return model


def sharpen_vision(
    model: CLIPModel, autoencoder: AutoencoderKL, bank: ImageBank, tokenizer: CLIPTokenizer, folder: Path, steps: int
) -> CLIPModel:
    """Train the vision tower alone until images of similar objects have similar features in any surroundings.

    Half of each batch is captioned images as before. The other half is pairs of views of one object: alone or cut out
    of a scene, drawn or decoded by the autoencoder. Images are contrasted with captions and with images (Khosla et al.
    2020, arXiv:2004.11362). The text tower stays as it is, since Stable Diffusion shares it. The result is averaged
    with the weights before, which know several objects better (Wortsman et al. 2022, arXiv:2109.01903).
    """
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    texts, views = _make_caption_encoder(model, tokenizer), ObjectViews(autoencoder, folder)
    for part in (model.text_model, model.text_projection):
        part.requires_grad_(False)

    def compute_loss(step: int) -> Tensor:
        random = Random(f"sharpen/{step}")
        images, captions = bank.batch(32, random)
        paired, named = views.sample_pairs(48, random)
        images, captions = torch.cat([images, paired]), captions + named
        images = images * random.uniform(0.9, 1.05) + 0.03 * torch.randn_like(images)
        embedded = functional.normalize(
            _unwrap_embedding(model.get_image_features(pixel_values=normalize_images(images))), dim=-1
        )
        unique = list(dict.fromkeys(captions))
        numbers = {caption: i for i, caption in enumerate(unique)}
        labels = torch.tensor([numbers[caption] for caption in captions])
        logits = model.logit_scale.exp() * embedded @ texts(unique).T  # (images, different captions)
        same = (labels[:, None] == labels[None])[32:, 32:].float()
        return functional.cross_entropy(logits, labels) + _compute_contrastive_loss(embedded[32:], same)

    config = LoopConfig(name="clip-sharpened", steps=steps, learning_rate=6e-4, weight_decay=0.05)
    train_model(config, model, compute_loss, folder)
    after = model.state_dict()
    model.load_state_dict({name: value.lerp(before[name], KEPT_SHARE) for name, value in after.items()})
    return model.requires_grad_(True)


def _unwrap_embedding(output: Any) -> Tensor:
    """Return the projected embedding of any version of transformers."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _make_caption_encoder(model: CLIPModel, tokenizer: CLIPTokenizer) -> Callable[[list[str]], Tensor]:
    """Return a function from captions to unit vectors of a frozen text tower; each is computed once."""
    ids, known = TokenCache(tokenizer), dict[str, Tensor]()

    @torch.no_grad()
    def encode_captions(captions: list[str]) -> Tensor:
        new = [caption for caption in captions if caption not in known]
        if new:
            embedded = functional.normalize(_unwrap_embedding(model.get_text_features(input_ids=ids(new))), dim=-1)
            known.update(zip(new, embedded, strict=True))
        return torch.stack([known[caption] for caption in captions])

    return encode_captions


def _compute_contrastive_loss(embedded: Tensor, same: Tensor, temperature: float = 0.1) -> Tensor:
    """Compute the supervised contrastive loss of (n, dim) unit vectors, without comparing an image with itself."""
    own = torch.eye(len(same), dtype=torch.bool)
    logits = (embedded @ embedded.T / temperature).masked_fill(own, -torch.inf)
    target = same.masked_fill(own, 0.0)
    log_share = logits.log_softmax(1).masked_fill(own, 0.0)
    loss: Tensor = -(target * log_share).sum(1).div(target.sum(1)).mean()
    return loss


class ObjectViews:
    """Views of every combination of category, color and pattern, kept in a folder.

    Attributes:
        images: (combinations, 2 * EACH, 64, 64, 3) uint8; the second half of each was decoded by the autoencoder.
    """

    VIEWS_PER_COMBINATION = 12

    def __init__(self, autoencoder: AutoencoderKL, folder: Path) -> None:
        path = folder / f"views-{self.VIEWS_PER_COMBINATION}.npy"
        if not path.exists():
            partial = path.with_suffix(".partial.npy")
            np.save(partial, _render_views(autoencoder, self.VIEWS_PER_COMBINATION))
            partial.rename(path)
        self.images: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
        self.captions = [add_article(describe_combination(combination)) for combination in list_combinations()]

    def sample_pairs(self, count: int, random: Random) -> tuple[Tensor, list[str]]:
        """Return (2 * count, 3, 64, 64) views in -1..1, two per object in succession, and captions."""
        chosen = random.sample(range(len(self.captions)), count)
        indices = [(row, view) for row in chosen for view in random.sample(range(2 * self.VIEWS_PER_COMBINATION), 2)]
        rows, columns = (list(part) for part in zip(*indices, strict=True))
        return to_tensor(self.images[rows, columns]), [self.captions[row] for row in rows]


def _render_views(autoencoder: AutoencoderKL, num_views: int) -> npt.NDArray[np.uint8]:
    rendered = np.stack(
        [
            np.stack([_render_view(combination, Random(f"view/{number}/{i}")) for i in range(num_views)])
            for number, combination in enumerate(track(list_combinations(), description="drawing views"))
        ]
    )
    with torch.no_grad():
        passed = [
            autoencoder.decode(autoencoder.encode(to_tensor(row)).latent_dist.mode()).sample
            for row in track(rendered, description="passing views through the autoencoder")
        ]
    decoded = np.stack([np.stack([np.asarray(image) for image in to_images(part)]) for part in passed])
    return np.concatenate([rendered, decoded], axis=1)


def _render_view(combination: Combination, random: Random) -> npt.NDArray[np.uint8]:
    """Draw an object alone, or the square around it in a scene with another object."""
    if random.random() < 0.5:
        scene = compose([combination], (26, 44), (IMAGE_PX, IMAGE_PX), random)
        return np.asarray(scene.draw().convert("RGB"))
    other = random.choice([candidate for candidate in list_combinations() if candidate[0] != combination[0]])
    scene = compose([combination, other], (18, 40), (96, 96), random)
    image = scene.draw().convert("RGB")
    left, top, right, bottom = scene.objects[0].box_xyxy
    side = min(random.uniform(1.2, 2.2) * max(right - left, bottom - top), 96.0)
    x = min(max(0.0, (left + right - side) / 2), 96 - side)
    y = min(max(0.0, (top + bottom - side) / 2), 96 - side)
    cropped = image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
    return np.asarray(cropped)


@torch.no_grad()
def compute_retrieval_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, images: Tensor, captions: list[str]
) -> float:
    """Compute the share of images whose most similar caption, among all different ones, is their own."""
    ids = TokenCache(tokenizer)
    unique = sorted(set(captions))
    logits = model(input_ids=ids(unique), pixel_values=normalize_images(images)).logits_per_image
    chosen = [unique[i] for i in logits.argmax(1).tolist()]
    return sum(bool(a == b) for a, b in zip(chosen, captions, strict=True)) / len(captions)
