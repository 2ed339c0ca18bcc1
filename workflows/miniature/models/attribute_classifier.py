"""Classifier of category, color and pattern of one drawn object, for the evaluation of the miniature models.

It shares nothing with the CLIP that scores priors. It is trained on the world's own drawings, half of them decoded by
the autoencoder. Objects are counted without a learned model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from workflows.miniature.models.captioned_images import to_tensor
from workflows.miniature.models.training_loop import LoopConfig, train_model
from workflows.miniature.world.dataset import Combination, compose, list_combinations
from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS

HEADS = {"category": CATEGORIES, "color": tuple(COLORS), "pattern": PATTERNS}
WEIGHTS_FILE = "attribute_classifier.safetensors"
FOREGROUND_DISTANCE = 55
"""Limit of the sum of the channels' differences from the nearest background color."""

MIN_AREA_PX = 30


class AttributeClassifier(nn.Module):
    """Network of five convolutions and a linear head per attribute."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = (3, 24, 48, 72, 96, 128)
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            layers += [
                nn.Conv2d(before, after, 3, stride=1 if i == 0 else 2, padding=1),
                nn.GroupNorm(8, after),
                nn.GELU(),
            ]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * 128, len(labels)) for name, labels in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the logits of each attribute from images (n, 3, 64, 64) in -1..1."""
        grid = self.trunk(images)
        feature = torch.cat([grid.mean((2, 3)), grid.amax((2, 3))], dim=1)
        return {name: head(feature) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image]) -> list[Combination]:
        """Classify category, color and pattern of images of one object."""
        logits = self(to_tensor(np.stack([np.asarray(p.convert("RGB").resize((64, 64))) for p in images])))
        columns = [[HEADS[name][i] for i in logits[name].argmax(1).tolist()] for name in HEADS]
        return [(category, color, pattern) for category, color, pattern in zip(*columns, strict=True)]

    def save(self, folder: Path) -> None:
        save_file({name: value.half().contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_FILE)

    @staticmethod
    def load(folder: Path) -> AttributeClassifier:
        classifier = AttributeClassifier()
        classifier.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS_FILE).items()})
        return classifier.eval()


def train_classifier(autoencoder: AutoencoderKL, folder: Path, steps: int) -> AttributeClassifier:
    """Train on single objects of every combination and size."""
    classifier = AttributeClassifier()

    def compute_loss(step: int) -> Tensor:
        random = Random(f"judge/{step}")
        truths = [random.choice(list_combinations()) for _ in range(64)]
        scenes = [compose([truth], (14, 50), (64, 64), random) for truth in truths]
        images = to_tensor(np.stack([np.asarray(scene.draw()) for scene in scenes]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            latents = autoencoder.encode(images[:24]).latent_dist.mean
            latents = latents + 0.15 * latents.std() * torch.randn_like(latents)
            images[:24] = autoencoder.decode(latents).sample.float()
        with torch.autocast("cpu", torch.bfloat16):
            logits = classifier(images + 0.04 * torch.randn_like(images))
        losses = []
        for i, (name, labels) in enumerate(HEADS.items()):
            losses.append(
                functional.cross_entropy(logits[name].float(), torch.tensor([labels.index(t[i]) for t in truths]))
            )
        return torch.stack(losses).sum()

    train_model(
        LoopConfig(name="attribute-classifier", steps=steps, learning_rate=2e-3), classifier, compute_loss, folder
    )
    return classifier


def count_objects(image: Image.Image) -> int:
    """Count the objects of a drawn image as connected components of pixels unlike the border.

    The background has at most two colors. Outlines are dark and closed, so each object is one filled component.
    """
    array = np.asarray(image.convert("RGB")).astype(np.int32)
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    quantized, counts = np.unique(border // 24, axis=0, return_counts=True)
    common = [i for i in np.argsort(counts)[::-1][:3] if counts[i] >= 8]
    colors = [border[(border // 24 == quantized[i]).all(1)].mean(0) for i in common]
    distance = np.min([np.abs(array - color).sum(2) for color in colors], axis=0)
    components, _ = ndimage.label(ndimage.binary_fill_holes(distance > FOREGROUND_DISTANCE))
    _, areas_px = np.unique(components, return_counts=True)
    return int((areas_px[1:] >= MIN_AREA_PX).sum())
