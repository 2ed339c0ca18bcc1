"""Evaluation of the miniature models by methods that took no part in their training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from generation.parsing.english import NUMBER_WORDS, add_article
from shards.tiles import make_sheet, make_tile
from workflows.miniature.models import detector as detection
from workflows.miniature.models.attribute_classifier import AttributeClassifier, count_objects
from workflows.miniature.models.autoencoder import compute_psnr_db
from workflows.miniature.models.captioned_images import ImageBank, to_tensor
from workflows.miniature.models.clip import compute_retrieval_accuracy
from workflows.miniature.models.diffusion import draw
from workflows.miniature.world.dataset import (
    Combination,
    compose,
    describe_combination,
    list_combinations,
)
from workflows.miniature.world.drawing import CATEGORIES, PLURALS

HELD_OUT_SEED = 2
"""Seed of images that no model was trained on."""


def select_single_objects(count: int, seed: int = 0) -> list[Combination]:
    """Return combinations in random order, each once before any is repeated."""
    combinations = list(list_combinations())
    Random(seed).shuffle(combinations)
    return list(islice(cycle(combinations), count))


def _save_sheet(images: Sequence[Image.Image], path: Path) -> None:
    make_sheet([make_tile(image, "", side_px=128, num_lines=0) for image in images[:64]], columns=8).save(path)


def measure_classifier(classifier: AttributeClassifier, count: int = 600) -> float:
    """Measure how often the classifier is right in all three attributes of held-out single objects."""
    truths = select_single_objects(count, seed=1)
    images = [compose([truth], (26, 44), (64, 64), Random(f"judged/{i}")).draw() for i, truth in enumerate(truths)]
    return _compute_share(truths, classifier.read(images))


def _compute_share(truths: Sequence[Any], read: Sequence[Any]) -> float:
    return round(sum(bool(a == b) for a, b in zip(truths, read, strict=True)) / len(truths), 4)


def measure_diffusion(
    pipeline: StableDiffusionPipeline,
    classifier: AttributeClassifier,
    detector: Path,
    sheets: Path,
    num_singles: int,
    images_per_prompt: int,
) -> dict[str, Any]:
    """Measure attributes of single rendered objects and counts of several, and save contact sheets.

    Args:
        pipeline: miniature Stable Diffusion.
        classifier: classifier of single objects.
        detector: folder of the detector; detections above augmentation's confidence count.
        sheets: folder of the contact sheets.
        num_singles: number of single-object prompts over all combinations.
        images_per_prompt: images per count and category, and for "three cups".
    """
    truths = select_single_objects(num_singles)
    images = draw(pipeline, [add_article(describe_combination(truth)) for truth in truths], seed=1000)
    _save_sheet(images, sheets / "single-objects.png")
    read = classifier.read(images)
    report: dict[str, Any] = {"single_object_prompts": num_singles, "read_right": _compute_share(truths, read)}
    for i, name in enumerate(("category", "color", "pattern")):
        report[f"{name}_right"] = _compute_share([t[i] for t in truths], [r[i] for r in read])
    report["detector_finds_single_object"] = _compute_share(
        [[t[0]] for t in truths], _detect_confident(detector, images)
    )
    several: list[Image.Image] = []
    for number in (2, 3, 4, 5):
        prompts = [f"{NUMBER_WORDS[number]} {PLURALS[name]}" for name in CATEGORIES for _ in range(images_per_prompt)]
        generated = draw(pipeline, prompts, seed=2000 + 500 * number)
        several += generated[::images_per_prompt][:12]
        counted = [count_objects(image) for image in generated]
        detected = [len(categories) for categories in _detect_confident(detector, generated)]
        report[f"exactly_{number}_counted"] = _compute_share([number] * len(generated), counted)
        report[f"exactly_{number}_detected"] = _compute_share([number] * len(generated), detected)
        report[f"detector_agrees_on_{number}"] = _compute_share(counted, detected)
    cups = draw(pipeline, ["three cups"] * max(8, 8 * images_per_prompt), seed=9000)
    report["three_cups_exactly_three"] = _compute_share([3] * len(cups), [count_objects(image) for image in cups])
    _save_sheet(several + cups, sheets / "several-objects.png")
    return report


def _detect_confident(detector: Path, images: Sequence[Image.Image]) -> list[list[str]]:
    """Return the categories of the confident detections of each image."""
    return [
        [f.category for f in detections if f.is_confident] for detections in detection.detect_objects(detector, images)
    ]


def measure_detector(detector: Path, count: int = 500) -> float:
    """Measure AP50 on held-out scenes of the dataset's and of the captioned images' kinds."""
    truth = [detection.sample_world_scene(Random(f"held-out/{i}")) for i in range(count)]
    detections = detection.detect_objects(
        detector,
        [sample.image for sample in truth],
        confident_score=0.01,
        min_score=0.01,
        min_area_share=0.0,
        max_area_share=1.0,
    )
    return round(detection.compute_ap50(detections, truth), 4)


def measure_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> float:
    """Measure how often the right caption of 1,000 held-out images is retrieved among the different ones."""
    bank = ImageBank(folder, 2000, HELD_OUT_SEED)
    return round(compute_retrieval_accuracy(clip, tokenizer, to_tensor(bank.images[:1000]), bank.captions[:1000]), 4)


def measure_autoencoder(pipeline: StableDiffusionPipeline, folder: Path) -> float:
    """Measure the PSNR in dB on 256 held-out images."""
    bank = ImageBank(folder, 2000, HELD_OUT_SEED)
    return round(compute_psnr_db(pipeline.vae, to_tensor(bank.images[:256])), 2)
