"""Train the detector of real cut-outs for ``benchmarks.scenes``, in less than an hour on one core.

    .venv/bin/python -m benchmarks.cutout_detector --real FOLDER --output cutout-detector
    make benchmark NAME=scenes ARGS="--real FOLDER --detector cutout-detector"

The detector is an RT-DETR of the miniature detector's size, and starts from it. It learns eight categories on scenes
pasted from the same cut-outs, but not the benchmark's scenes. It replaces a published detector, which cannot be had
offline, and is of no use on real images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageEnhance
from rich.progress import track
from transformers import RTDetrForObjectDetection

from augmentation.composers.composed import ComposedScene
from augmentation.composers.pasted import PastedComposer, PastedConfig
from augmentation.planning.scene_spec import make_scene_specs, make_uniform_requests
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig
from pipeline import Item, Rejected
from shards.boxes import Box
from workflows import cut_out
from workflows.cli.console import configure_library_logging, console
from workflows.miniature import WEIGHTS
from workflows.miniature.models import detector as detection
from workflows.miniature.models.detector import INPUT_PX, LabeledImage

CATEGORIES = ("elephant", "zebra", "bus", "donut", "toilet", "potted plant", "stop sign", "orange")
"""Eight categories of different appearance, with at least two cut-outs in the available images."""

KEPT_PX = INPUT_PX * 5 // 4
"""Side of the images in memory, from which training crops."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder with coco/")
    parser.add_argument("--output", type=Path, default=Path("cutout-detector"))
    parser.add_argument("--scenes", type=int, default=2600)
    parser.add_argument(
        "--steps", type=int, default=6000, help="number of steps of 16 scenes; to resume, run the same command"
    )
    options = parser.parse_args()
    configure_library_logging()
    scenes = make_pasted_scenes(options.real / "coco", options.output / "cutouts", options.scenes)
    model = detection.train_detector(
        options.output,
        "training",
        options.steps,
        lambda random: augment_scene(scenes, random),
        new_detector(),
        learning_rate=6e-4,
        categories=CATEGORIES,
    )
    model.save_pretrained(options.output)
    detection.new_processor().save_pretrained(options.output)


def new_detector() -> RTDetrForObjectDetection:
    """Return the miniature's detector with another list of classes."""
    names = dict(enumerate(CATEGORIES))
    return RTDetrForObjectDetection.from_pretrained(
        WEIGHTS / "detector",
        dtype=torch.float32,
        id2label=names,
        label2id={name: i for i, name in names.items()},
        ignore_mismatched_sizes=True,
    )


def make_pasted_scenes(coco: Path, cutouts: Path, count: int) -> list[LabeledImage]:
    """Make small scenes as the benchmark requests them, with other seeds."""
    images, instances = coco / "images", coco / "instances.json"
    cut_out.main(cut_out.CutOutConfig(source=cut_out.CocoConfig(instances=instances, images=images, output=cutouts)))
    vocabulary = VocabularyConfig(categories={name: f"{name}s" for name in CATEGORIES}, quantifiers=tuple(QUANTIFIERS))
    specs = make_scene_specs(vocabulary, make_uniform_requests(vocabulary, count, 0, "pasted"), 0, composer="pasted")
    items = [
        Item(key=spec.key, seed=Random(f"train/{spec.key}").getrandbits(63), payload=spec.to_payload())
        for spec in specs
    ]
    composer = PastedComposer(PastedConfig(cutouts=cutouts, backgrounds=images, instances=instances))
    composer.setup()
    return [
        shrink_scene(scene)
        for item in track(items, "pasting", console=console)
        for scene in composer.process([item])
        if not isinstance(scene, Rejected)
    ]


def shrink_scene(scene: ComposedScene) -> LabeledImage:
    height, width = scene.image.shape[:2]
    image = Image.fromarray(scene.image).resize((KEPT_PX, KEPT_PX), Image.Resampling.BILINEAR)
    scale = (KEPT_PX / width, KEPT_PX / height) * 2
    return LabeledImage(
        image=image,
        boxes_xyxy=tuple(_map_box(one.box_xyxy, lambda value, i: value * scale[i]) for one in scene.requested),
        categories=tuple(one.category for one in scene.requested),
    )


def augment_scene(scenes: Sequence[LabeledImage], random: Random) -> LabeledImage:
    """Return a scene that is perhaps mirrored, cropped where it has no object, and in other colors."""
    scene = random.choice(scenes)
    image, boxes = scene.image, scene.boxes_xyxy
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        boxes = tuple((KEPT_PX - x2, y1, KEPT_PX - x1, y2) for x1, y1, x2, y2 in boxes)
    x1, y1, x2, y2 = np.array(boxes).T
    left, top = (0.5 * random.uniform(0, float(side.min())) for side in (x1, y1))
    right, bottom = (KEPT_PX - 0.5 * random.uniform(0, KEPT_PX - float(side.max())) for side in (x2, y2))
    image = image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    origin, scale = (left, top) * 2, (INPUT_PX / (right - left), INPUT_PX / (bottom - top)) * 2
    return LabeledImage(
        image=ImageEnhance.Color(image).enhance(random.uniform(0.7, 1.3)),
        boxes_xyxy=tuple(_map_box(box, lambda value, i: (value - origin[i]) * scale[i]) for box in boxes),
        categories=scene.categories,
    )


def _map_box(box: Box, change: Callable[[float, int], float]) -> Box:
    x1, y1, x2, y2 = (change(value, i) for i, value in enumerate(box))
    return (x1, y1, x2, y2)


if __name__ == "__main__":
    main()
