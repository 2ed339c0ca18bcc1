"""What the miniature network's backbone starts from: the detector's, taught the looks of things as well.

    python -m workflows.miniature.models.visual_start

The miniature detector tells categories apart and nothing else, so that its last stage has lost the colours, which
training the network does not bring back. A full-size detector's backbone comes from ImageNet's thousand classes, or
from attributes (Anderson et al., CVPR 2018), which should keep them (not measured here). Here each cell of the last
stage has to say what lies in it: category, colour and pattern, in scenes that are drawn for it, of combinations that
training may show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from rich.progress import track
from safetensors.torch import save
from torch import Tensor, nn
from upath import UPath

from trainer.config import TrainConfig, miniature_recipe
from trainer.data.processor import centred
from trainer.model.backbone import ResNet
from trainer.train import new_network
from workflows.cli.console import UserError, console, lies_in, run
from workflows.cli.paths import write_whole
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import (
    CANVASES_PX,
    Scene,
    Thing,
    all_combinations,
    compose,
    held_out_combinations,
)
from workflows.miniature.world.drawing import CATEGORIES, COLOURS, PATTERNS

KINDS: Mapping[str, tuple[str, ...]] = {
    "category": (*CATEGORIES, ""),
    "colour": tuple(COLOURS),
    "pattern": tuple(PATTERNS),
}
"""What a cell is asked; the last category is that of cells without a thing, whose looks nobody asks for."""

UNASKED = -100
LEARNING_RATE, WARMUP_STEPS, BATCH = 1e-3, 50, 16
MEASURED = "measured.json"


@dataclass(frozen=True, kw_only=True)
class VisualStartConfig:
    """Where it goes, and how long it is taught."""

    output: Path = Path("runs/miniature-visual-start")
    steps: int = 1500
    """Of 16 scenes each; two minutes on two cores."""

    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


def main(config: VisualStartConfig) -> None:
    """Teach, and write ``model.safetensors`` and then ``measured.json``; nothing where both are there.

    Raises:
        UserError: what is there was taught in another way.
    """
    taught = {"steps": config.steps, "seed": config.seed}
    if (config.output / MEASURED).is_file():
        there = json.loads((config.output / MEASURED).read_text())
        if {name: there.get(name, value) for name, value in taught.items()} != taught:
            raise UserError(
                f"{config.output} was taught otherwise ({there}, wanted is {taught}); choose another --output, or "
                "remove the folder"
            )
    else:
        torch.manual_seed(config.seed)
        backbone, recipe = _detectors_backbone()
        heads = nn.ModuleDict(
            {kind: nn.Conv2d(recipe.network.backbone.widths[-1], len(words), 1) for kind, words in KINDS.items()}
        )
        side_px, (images, cells) = recipe.network.image_size_px, _batch(config.seed, -1, recipe.network.image_size_px)
        before = _mean_norm(backbone(images))
        _teach(backbone, heads, side_px, config)
        features = backbone(images)
        measured = {kind: _share_right(heads[kind](features), cells[:, i]) for i, kind in enumerate(KINDS)}
        _scale_output(backbone, before / _mean_norm(features))
        weights = {f"backbone.{name}": tensor.contiguous() for name, tensor in backbone.state_dict().items()}
        write_whole(UPath(config.output) / "model.safetensors", save(weights))
        write_whole(UPath(config.output) / MEASURED, json.dumps({**taught, "right": measured}, indent=1))
    lies_in("the backbone that the miniature network starts from", config.output)


def _detectors_backbone() -> tuple[ResNet, TrainConfig]:
    recipe = miniature_recipe(Path("unused"), (UPath("unused"),))
    recipe = replace(recipe, text_encoder=str(WEIGHTS / "bert"), visual_start=WEIGHTS / "detector")
    backbone: ResNet = new_network(recipe)[0].backbone
    return backbone.requires_grad_(True), recipe


def _teach(backbone: ResNet, heads: nn.ModuleDict, side_px: int, config: VisualStartConfig) -> None:
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=1e-4)
    steps = track(range(config.steps), "teaching the backbone the looks of things", console=console, transient=True)
    for step in steps:
        for group in optimizer.param_groups:
            decay = 0.5 + 0.5 * math.cos(math.pi * step / config.steps)
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP_STEPS) * decay
        images, cells = _batch(config.seed, step, side_px)
        features = backbone(images)
        scores = [head(features) for head in heads.values()]
        losses = [F.cross_entropy(one, cells[:, i], ignore_index=UNASKED) for i, one in enumerate(scores)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def _batch(seed: int, step: int, side_px: int) -> tuple[Tensor, Tensor]:
    """(batch, 3, side, side) pixels in 0..1, and (batch, kinds, cells, cells) the word of each cell, by number."""
    pairs = [_example(scene, side_px) for scene in _scenes(Random(f"visual start/{seed}/{step}"))]
    images, cells = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(cells)


def _scenes(random: Random) -> Iterator[Scene]:
    shown = [one for one in all_combinations() if one not in held_out_combinations()]
    for _ in range(BATCH):
        count = random.randint(1, 6)
        extents = (17, 40) if count < 4 else (17, 30)
        yield compose([random.choice(shown) for _ in range(count)], extents, random.choice(CANVASES_PX), random)


def _example(scene: Scene, side_px: int) -> tuple[Tensor, Tensor]:
    """A scene on the network's canvas; each cell that a thing covers is asked about it, and that of its centre."""
    canvas, _, placement = centred(scene.draw().convert("RGB"), side_px)
    num_cells = side_px // 16
    cells = torch.full((len(KINDS), num_cells, num_cells), UNASKED)
    cells[0] = len(KINDS["category"]) - 1
    centres = torch.arange(num_cells) + 0.5
    boxes = placement.to_canvas(torch.tensor([thing.box_xyxy for thing in scene.things])) / 16
    for thing, (x1, y1, x2, y2) in zip(scene.things, boxes.tolist(), strict=True):
        covered = ((centres >= y1) & (centres <= y2))[:, None] & ((centres >= x1) & (centres <= x2))[None]
        covered[min(int((y1 + y2) / 2), num_cells - 1), min(int((x1 + x2) / 2), num_cells - 1)] = True
        for kind, word in enumerate(_looks(thing)):
            cells[kind][covered] = word
    return canvas.float() / 255, cells


def _looks(thing: Thing) -> tuple[int, ...]:
    """The number of its category, colour and pattern."""
    return tuple(words.index(word) for words, word in zip(KINDS.values(), thing.combination, strict=True))


def _share_right(scores: Tensor, cells: Tensor) -> float:
    asked = cells != UNASKED
    return round(float((scores.argmax(1) == cells)[asked].float().mean()), 4)


def _mean_norm(features: Tensor) -> float:
    return float(features.detach().norm(dim=1).mean())


@torch.no_grad()
def _scale_output(backbone: ResNet, factor: float) -> None:
    """Features of the size that the detector's have, which the recipe's position codes go with."""
    last = backbone.stages[-1][-1]  # type: ignore[index]
    for norm in (last.bn2, last.downsample[1]):
        norm.weight.mul_(factor)
        norm.bias.mul_(factor)


if __name__ == "__main__":
    run(main, VisualStartConfig, __doc__)
