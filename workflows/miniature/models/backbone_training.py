"""Training of the backbone of the miniature network on category, color and pattern."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from rich.progress import track
from safetensors.torch import save
from torch import Tensor, nn
from upath import UPath

from pipeline import write_atomic
from trainer.config import TrainConfig, make_miniature_recipe
from trainer.data.processor import center_on_canvas
from trainer.model.backbone import ResNet
from trainer.training.setup import build_network
from workflows.cli.console import console
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import CANVASES_PX, compose, list_combinations, list_held_out_combinations
from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS, WorldScene

if TYPE_CHECKING:
    from workflows.miniature.models.pretrained_backbone import PretrainedVisualConfig

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "category": (*CATEGORIES, ""),
    "color": tuple(COLORS),
    "pattern": tuple(PATTERNS),
}
"""Words of each attribute of a cell; the last category is that of cells without an object, whose color and pattern are
ignored."""

IGNORE_INDEX = -100
LEARNING_RATE, WARMUP_STEPS, BATCH = 1e-3, 50, 16


def train_backbone(config: PretrainedVisualConfig) -> dict[str, float]:
    """Pretrain, write ``model.safetensors``, and return the accuracy of each attribute in unseen scenes."""
    torch.manual_seed(config.seed)
    backbone, recipe = load_detector_backbone()
    heads = nn.ModuleDict(
        {kind: nn.Conv2d(recipe.network.backbone.widths[-1], len(words), 1) for kind, words in ATTRIBUTES.items()}
    )
    side_px = recipe.network.image_size_px
    images, cells = _make_batch(config.seed, -1, side_px)
    before = compute_mean_norm(backbone(images))
    _run_steps(backbone, heads, side_px, config)
    features = backbone(images)
    measured = {}
    for i, kind in enumerate(ATTRIBUTES):
        is_right = heads[kind](features).argmax(1) == cells[:, i]
        measured[kind] = round(float(is_right[cells[:, i] != IGNORE_INDEX].float().mean()), 4)
    scale_output(backbone, before / compute_mean_norm(features))
    weights = {f"backbone.{name}": tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    write_atomic(UPath(config.output) / "model.safetensors", save(weights))
    return measured


def load_detector_backbone() -> tuple[ResNet, TrainConfig]:
    """Load the backbone of the miniature detector, and the recipe of the network that it is for."""
    recipe = make_miniature_recipe(Path("unused"), (UPath("unused"),))
    recipe = replace(recipe, text_encoder=str(WEIGHTS / "bert"), pretrained_visual=WEIGHTS / "detector")
    backbone = build_network(recipe)[0].backbone
    assert isinstance(backbone, ResNet)
    return backbone.requires_grad_(True), recipe


def _run_steps(backbone: ResNet, heads: nn.ModuleDict, side_px: int, config: PretrainedVisualConfig) -> None:
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=1e-4)
    steps = track(range(config.steps), "pretraining the backbone", console=console, transient=True)
    for step in steps:
        for group in optimizer.param_groups:
            decay = 0.5 + 0.5 * math.cos(math.pi * step / config.steps)
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP_STEPS) * decay
        images, cells = _make_batch(config.seed, step, side_px)
        features = backbone(images)
        scores = [head(features) for head in heads.values()]
        losses = [F.cross_entropy(item, cells[:, i], ignore_index=IGNORE_INDEX) for i, item in enumerate(scores)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def _make_batch(seed: int, step: int, side_px: int) -> tuple[Tensor, Tensor]:
    """Return (batch, 3, side, side) pixels in 0..1, and (batch, kinds, cells, cells) the index of each cell's word."""
    pairs = [make_example(scene, side_px) for scene in _sample_scenes(Random(f"visual start/{seed}/{step}"))]
    images, cells = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(cells)


def _sample_scenes(random: Random) -> Iterator[WorldScene]:
    shown = [item for item in list_combinations() if item not in list_held_out_combinations()]
    for _ in range(BATCH):
        count = random.randint(1, 6)
        extents = (17, 40) if count < 4 else (17, 30)
        yield compose([random.choice(shown) for _ in range(count)], extents, random.choice(CANVASES_PX), random)


def make_example(scene: WorldScene, side_px: int) -> tuple[Tensor, Tensor]:
    """Draw a scene on the network's canvas and label the cells that its objects cover, and those of their centers."""
    canvas, _, placement = center_on_canvas(scene.draw().convert("RGB"), side_px)
    num_cells = side_px // 16
    cells = torch.full((len(ATTRIBUTES), num_cells, num_cells), IGNORE_INDEX)
    cells[0] = len(ATTRIBUTES["category"]) - 1
    centers = torch.arange(num_cells) + 0.5
    boxes = placement.map_to_canvas(torch.tensor([obj.box_xyxy for obj in scene.objects])) / 16
    for obj, (x1, y1, x2, y2) in zip(scene.objects, boxes.tolist(), strict=True):
        covered = ((centers >= y1) & (centers <= y2))[:, None] & ((centers >= x1) & (centers <= x2))[None]
        covered[min(int((y1 + y2) / 2), num_cells - 1), min(int((x1 + x2) / 2), num_cells - 1)] = True
        for kind, (words, word) in enumerate(zip(ATTRIBUTES.values(), obj.combination, strict=True)):
            cells[kind][covered] = words.index(word)
    return canvas.float() / 255, cells


def compute_mean_norm(features: Tensor) -> float:
    return float(features.detach().norm(dim=1).mean())


@torch.no_grad()
def scale_output(backbone: ResNet, factor: float) -> None:
    """Scale the features to the size of the detector's, which the recipe's position encoding fits."""
    last = backbone.stages[-1][-1]  # type: ignore[index]
    for norm in (last.bn2, last.downsample[1]):
        norm.weight.mul_(factor)
        norm.bias.mul_(factor)
