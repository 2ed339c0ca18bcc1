"""How good the miniature models are, measured by readers that took no part in making them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from workflows.miniature.models import detector as detection
from workflows.miniature.models.attribute_classifier import Judge, count_objects
from workflows.miniature.models.autoencoder import psnr_db
from workflows.miniature.models.captioned_images import PictureBank, to_tensor
from workflows.miniature.models.clip import retrieval_accuracy
from workflows.miniature.models.diffusion import draw
from workflows.miniature.world.dataset import NUMBER_WORDS, Combination, all_combinations, article, compose, described
from workflows.miniature.world.drawing import CATEGORIES, PLURALS

HELD_OUT_SEED = 2
"""Seed of the pictures that no model was trained on."""


def single_object_prompts(count: int, seed: int = 0) -> list[Combination]:
    """Combinations in random order, every one once before any twice."""
    combinations = list(all_combinations())
    Random(seed).shuffle(combinations)
    return list(islice(cycle(combinations), count))


def contact_sheet(pictures: Sequence[Image.Image], columns: int, zoom: int = 2) -> Image.Image:
    """Pictures of one size in rows."""
    width, height = pictures[0].width * zoom, pictures[0].height * zoom
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + 4)), "white")
    for i, picture in enumerate(pictures):
        place = ((i % columns) * (width + 4), (i // columns) * (height + 4))
        sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.NEAREST), place)
    return sheet


def measure_judge(judge: Judge, count: int = 600) -> float:
    """Share of the world's own held-out single objects that the judge reads right in all three attributes."""
    truths = single_object_prompts(count, seed=1)
    pictures = [compose([truth], (26, 44), (64, 64), Random(f"judged/{i}")).draw() for i, truth in enumerate(truths)]
    return _share(truths, judge.read(pictures))


def _share(truths: Sequence[Any], read: Sequence[Any]) -> float:
    return round(sum(bool(a == b) for a, b in zip(truths, read, strict=True)) / len(truths), 4)


def measure_diffusion(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    detector: Path,
    sheets: Path,
    singles: int,
    each: int,
) -> dict[str, Any]:
    """What the drawings show: attributes of single objects, counts of several; contact sheets into ``sheets``.

    Args:
        detector: folder of the detector; what augmentation would be sure of counts.
        singles: single-object prompts, over all combinations.
        each: pictures for each count and category, and for "three cups".
    """
    truths = single_object_prompts(singles)
    pictures = draw(pipeline, [article(described(truth)) for truth in truths], seed=1000)
    contact_sheet(pictures[:64], 8).save(sheets / "single-objects.png")
    read = judge.read(pictures)
    report: dict[str, Any] = {"single_object_prompts": singles, "read_right": _share(truths, read)}
    for i, name in enumerate(("category", "colour", "pattern")):
        report[f"{name}_right"] = _share([t[i] for t in truths], [r[i] for r in read])
    report["detector_finds_single_object"] = _share([[t[0]] for t in truths], _sure(detector, pictures))
    several: list[Image.Image] = []
    for number in (2, 3, 4, 5):
        prompts = [f"{NUMBER_WORDS[number]} {PLURALS[name]}" for name in CATEGORIES for _ in range(each)]
        drawn = draw(pipeline, prompts, seed=2000 + 500 * number)
        several += drawn[::each][:12]
        counted = [count_objects(picture) for picture in drawn]
        detected = [len(categories) for categories in _sure(detector, drawn)]
        report[f"exactly_{number}_counted"] = _share([number] * len(drawn), counted)
        report[f"exactly_{number}_detected"] = _share([number] * len(drawn), detected)
        report[f"detector_agrees_on_{number}"] = _share(counted, detected)
    cups = draw(pipeline, ["three cups"] * max(8, 8 * each), seed=9000)
    report["three_cups_exactly_three"] = _share([3] * len(cups), [count_objects(picture) for picture in cups])
    contact_sheet((several + cups)[:64], 8).save(sheets / "several-objects.png")
    return report


def _sure(detector: Path, pictures: Sequence[Image.Image]) -> list[list[str]]:
    """Categories of the sure detections of each picture."""
    return [[f.category for f in found if f.is_sure] for found in detection.found_in(detector, pictures)]


def measure_detector(detector: Path, count: int = 500) -> float:
    """AP50 on held-out scenes of the data set's and of the captioned pictures' kinds."""
    truth = [detection.world_scene(Random(f"held-out/{i}")) for i in range(count)]
    found = detection.found_in(
        detector,
        [sample.picture for sample in truth],
        sure_score=0.01,
        least_score=0.01,
        least_area_share=0.0,
        most_area_share=1.0,
    )
    return round(detection.average_precision_50(found, truth), 4)


def measure_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> float:
    """Retrieval of the right caption among the different ones of 1,000 held-out pictures."""
    bank = PictureBank(folder, 2000, HELD_OUT_SEED)
    return round(retrieval_accuracy(clip, tokenizer, to_tensor(bank.images[:1000]), bank.captions[:1000]), 4)


def measure_autoencoder(pipeline: StableDiffusionPipeline, folder: Path) -> float:
    """PSNR in dB on 256 held-out pictures."""
    bank = PictureBank(folder, 2000, HELD_OUT_SEED)
    return round(psnr_db(pipeline.vae, to_tensor(bank.images[:256])), 2)
