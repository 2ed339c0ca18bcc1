"""Measure boxes and attributes of detected objects on held-out drawings whose truth is known, and calibrate the limits.

    make benchmark NAME=detections

Drawings of the miniature world pass through the autoencoder of its Stable Diffusion, so they look like rendered ones,
and their boxes are known. A box's true edges are those of the visible object: an outermost pixel that is covered by a
quarter counts as a quarter. Attributes are classified on drawings of one color, and on ones of two colors, of which
people would say none. Prints tables and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.console import Console
from rich.table import Table

from augmentation.composers.composed import ComposedScene, RgbImage
from augmentation.detection.attribute_classifier import AttributeClassifierConfig, AttributeClassifierStage
from augmentation.detection.box_fitting import FitBoxesStage
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.detection.detector import Detector
from augmentation.detection.matching import match_objects
from augmentation.planning.scene_spec import SceneSpec
from augmentation.relations.scene import NO_ATTRIBUTE, SceneObject
from pipeline import Rejected
from workflows.cli.console import configure_library_logging
from workflows.miniature import WEIGHTS
from workflows.miniature.models.captioned_images import to_images, to_tensor
from workflows.miniature.world.dataset import arrange_objects, list_combinations, sample_captioned_image
from workflows.miniature.world.drawing import (
    BACKGROUNDS,
    COLORS,
    WorldObject,
    draw_background,
    draw_sprite,
)
from workflows.presets import miniature

MAX_ERROR = 0.03
"""Maximum error of an edge, as a share of the object's size, that queries withstand."""

LATENT_NOISE = 0.15
"""Noise of the latents, relative to their spread, as in the training of the miniature detector."""

Errors = npt.NDArray[np.float64]
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=1000, help="drawings for boxes; of each kind for attributes a third"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/detections.json"))
    options = parser.parse_args()
    configure_library_logging()
    autoencoder = AutoencoderKL.from_pretrained(WEIGHTS / "stable-diffusion" / "vae").float().eval()
    figures = {
        "boxes": measure_boxes(autoencoder, options.images),
        "attributes": measure_attributes(autoencoder, options.images // 3),
    }
    for name, table in figures.items():
        print_table(name, table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


@torch.no_grad()
def pass_through_autoencoder(autoencoder: AutoencoderKL, drawings: Sequence[Image.Image]) -> list[RgbImage]:
    """Decode the drawings from slightly noisy latents."""
    noise, decoded = torch.Generator().manual_seed(1), list[RgbImage]()
    for start in range(0, len(drawings), 50):
        pixels = to_tensor(np.stack([np.asarray(one) for one in drawings[start : start + 50]]))
        latents = autoencoder.encode(pixels).latent_dist.mean
        latents = latents + LATENT_NOISE * latents.std() * torch.randn(latents.shape, generator=noise)
        decoded += [np.asarray(one) for one in to_images(autoencoder.decode(latents).sample)]
    return decoded


def measure_boxes(autoencoder: AutoencoderKL, count: int) -> dict[str, dict[str, float]]:
    """Measure the edges of detected and of fitted boxes, of all objects in accepted scenes and by category."""
    scenes = [sample_captioned_image(Random(f"held-out-boxes/{i}"))[0] for i in range(count)]
    images = pass_through_autoencoder(autoencoder, [scene.draw() for scene in scenes])
    detector = Detector(miniature.detector_config(), sorted(miniature.vocabulary().categories))
    batches = (images[start : start + 50] for start in range(0, count, 50))
    detections = (one for batch in batches for one in detector.detect(batch))
    errors: dict[str, dict[str, list[Errors]]] = {name: defaultdict(list) for name in ("detected", "fitted")}
    stage = FitBoxesStage(plain_background=True)
    for scene, image, found in zip(scenes, images, detections, strict=True):
        if not found or not all(one.is_confident for one in found):
            continue
        detected = make_scene(image, found)
        fitted = stage.process([detected])[0]
        if isinstance(fitted, Rejected):
            continue
        for name, one in (("detected", detected), ("fitted", fitted)):
            add_errors(errors[name], scene.objects, one.detections)
    return {
        f"{name}, {category}": summarize_errors(np.concatenate(values))
        for name, by_category in errors.items()
        for category, values in sorted(by_category.items())
    }


def make_scene(image: RgbImage, detections: Sequence[Detection]) -> DetectedScene:
    spec = SceneSpec(key="drawing", category=detections[0].category, count=2, attributes={}, prompt="")
    composed = ComposedScene(key="drawing", seed=0, spec=spec, composer="prompted", image=image)
    return DetectedScene(composed=composed, detections=tuple(detections))


def add_errors(
    errors: dict[str, list[Errors]], objects: Sequence[WorldObject], detections: Sequence[Detection]
) -> None:
    """Add the errors of the four edges of each detection, by category and for all."""
    truth = [SceneObject(box_xyxy=one.box_xyxy, category=one.category) for one in objects]
    for match in match_objects(truth, detections):
        obj = objects[match.requested_index]
        x1, y1, x2, y2 = obj.box_xyxy
        found = np.array(detections[match.detection_index].box_xyxy)
        visible = obj.box_xyxy + measure_uncovered(*obj.combination, obj.extent_px)
        error = (found - visible) / np.array([x2 - x1, y2 - y1] * 2)
        for name in (obj.category, "all"):
            errors[name].append(np.abs(error)[None])


@cache
def measure_uncovered(category: str, color: str, pattern: str, extent_px: int) -> Errors:
    """Measure the uncovered part of the outermost pixels on the left, top, right and bottom, inwards."""
    alpha = np.asarray(draw_sprite(category, color, pattern, extent_px))[..., 3] / 255
    columns, rows = alpha.max(0), alpha.max(1)
    return np.array([1 - columns[0], 1 - rows[0], columns[-1] - 1, rows[-1] - 1])


def summarize_errors(errors: Errors) -> dict[str, float]:
    """Summarize errors, (objects, 4)."""
    return {
        "objects": len(errors),
        "edges within 3 %": round(float((errors <= MAX_ERROR).mean()), 4),
        "edges within 6 %": round(float((errors <= 2 * MAX_ERROR).mean()), 4),
        "median of the worst edge": round(float(np.median(errors.max(1))), 4),
        "90 %": round(float(np.quantile(errors.max(1), 0.9)), 4),
        "99 %": round(float(np.quantile(errors.max(1), 0.99)), 4),
    }


def measure_attributes(autoencoder: AutoencoderKL, count: int) -> dict[str, dict[str, float]]:
    """Measure the share of known attributes and their accuracy, by limits."""
    limits = {
        "no halves": {"min_half_probability": 0.0},
        "no halves, min_probability 0.95": {"min_half_probability": 0.0, "min_probability": 0.95},
        **{f"halves {limit}": {"min_half_probability": limit} for limit in (0.3, 0.5, 0.7)},
    }
    drawn = {kind: [draw_scene(f"{kind}/{i}", kind == "two colors") for i in range(count)] for kind in KINDS}
    images = {kind: pass_through_autoencoder(autoencoder, [image for image, _ in drawn[kind]]) for kind in KINDS}
    figures: dict[str, dict[str, float]] = {}
    for name, changes in limits.items():
        stage = AttributeClassifierStage(
            AttributeClassifierConfig(**changes, min_category_probability=0),
            miniature.prior_config().encoder,
            miniature.vocabulary(),
        )
        stage.setup()
        figures[name] = {}
        for kind in KINDS:
            objects = [one for _, scene_objects in drawn[kind] for one in scene_objects]
            figures[name] |= compare_attributes(kind, objects, classify_objects(stage, images[kind], drawn[kind]))
    return figures


KINDS = ("one color", "two colors")


def draw_scene(key: str, two_colors: bool) -> tuple[Image.Image, tuple[WorldObject, ...]]:
    """Draw two to four objects; ones of two colors change from one color to the other somewhere near their middle."""
    random, objects = Random(f"held-out-attributes/{key}"), None
    while objects is None:
        combinations = [random.choice(list_combinations()) for _ in range(random.randint(2, 4))]
        objects = arrange_objects(combinations, [random.randint(15, 24) for _ in combinations], 64, 64, 4, random)
    image = draw_background(64, 64, random.randrange(len(BACKGROUNDS)), random.uniform(0.4, 0.7))
    for obj in objects:
        sprite = draw_sprite(obj.category, obj.color, obj.pattern, obj.extent_px)
        if two_colors:
            other = random.choice([color for color in COLORS if color != obj.color])
            sprite = blend_sprites(sprite, draw_sprite(obj.category, other, obj.pattern, obj.extent_px), random)
        image.paste(sprite, (obj.x, obj.y), sprite)
    return image, objects


def blend_sprites(first: Image.Image, second: Image.Image, random: Random) -> Image.Image:
    """Blend two sprites along the width or the height."""
    ramp = np.linspace(0, 1, first.width)[None] if random.random() < 0.5 else np.linspace(0, 1, first.height)[:, None]
    share = ((ramp - random.uniform(0.4, 0.6)) / random.uniform(0.05, 0.4) + 0.5).clip(0, 1)
    mask = Image.fromarray(np.broadcast_to((255 * share).astype(np.uint8), (first.height, first.width)).copy())
    return Image.composite(second, first, mask)


def classify_objects(
    stage: AttributeClassifierStage,
    images: Sequence[RgbImage],
    drawn: Sequence[tuple[Image.Image, Sequence[WorldObject]]],
) -> list[Detection]:
    """Classify every drawn object in its true box."""
    scenes = [
        make_scene(image, [Detection(box_xyxy=one.box_xyxy, category=one.category, score=1.0) for one in scene_objects])
        for image, (_, scene_objects) in zip(images, drawn, strict=True)
    ]
    classified: list[Detection] = []
    for start in range(0, len(scenes), stage.batch_size):
        for scene in stage.process(scenes[start : start + stage.batch_size]):
            assert isinstance(scene, DetectedScene)  # no minimum probability of the category
            classified += scene.detections
    return classified


def compare_attributes(kind: str, objects: Sequence[WorldObject], classified: Sequence[Detection]) -> dict[str, float]:
    """Compute the share of known attributes, and of right ones among them if the objects have one color."""
    figures: dict[str, Any] = {}
    for attribute in ("color", "pattern"):
        truth = [getattr(one, attribute).replace("plain", NO_ATTRIBUTE) for one in objects]
        known = [
            (one.attributes[attribute], expected)
            for one, expected in zip(classified, truth, strict=True)
            if attribute in one.attributes
        ]
        figures[f"{kind}: {attribute} known"] = round(len(known) / len(objects), 4)
        if kind == "one color":
            figures[f"{attribute} right"] = round(sum(word == expected for word, expected in known) / len(known), 4)
    return figures


def print_table(name: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(name, *columns)
    for label, row in rows.items():
        table.add_row(label, *(str(row.get(column, "")) for column in columns))
    console.print(table)


if __name__ == "__main__":
    main()
