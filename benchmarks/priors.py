"""Measure whether priors show their query, by the nearest of 4,320 crops of the world's objects.

    make benchmark NAME=priors

Each of 300 queries of the miniature world names an object by its attributes. Their priors are made as
``generate-priors`` makes them. A prior is right if the crop with the nearest CLIP feature has the same category, color
and pattern. Crops are cut out of drawn scenes that no model was trained on. Prints a table and writes the figures as
JSON.
"""

from __future__ import annotations

import argparse
import json
from itertools import cycle, islice
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from generation.models.config import RgbImage
from generation.priors.generator import PriorGenerator
from workflows.cli.console import configure_library_logging
from workflows.miniature.world.dataset import Combination, compose, list_combinations
from workflows.miniature.world.drawing import PATTERNS
from workflows.presets import miniature

CROPS_EACH = 12
"""Number of crops per combination of category, color and pattern."""

SIDE = 1.6
"""Side of a square crop as a multiple of the box's longer side."""

ATTRIBUTES = ("category", "color", "pattern")
POSITION_PHRASES = ("", "left {}", "{} on the right", "second {} from left", "the {} in the middle", "{} closest to us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/priors.json"))
    options = parser.parse_args()
    configure_library_logging()
    figures = measure_priors(PriorGenerator(miniature.prior_config()), options.queries)
    table = Table("of the nearest crops", "right")
    for what, share in figures.items():
        table.add_row(what, f"{share:.1%}" if isinstance(share, float) else f"{share:,}")
    Console().print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def measure_priors(generator: PriorGenerator, num_queries: int, crops_each: int = CROPS_EACH) -> dict[str, float | int]:
    """Return the shares of priors whose nearest crop has the right category, color, pattern, and all three."""
    truths, queries = make_attribute_queries(num_queries)
    shown, crops = make_world_crops(crops_each)
    priors = np.stack([prior.feature for prior in generator.generate(queries)]).astype(np.float32)
    nearest = [shown[i] for i in (priors @ generator.encoder.encode_images(crops).T).argmax(1)]
    pairs = list(zip(truths, nearest, strict=True))
    parts = {name: sum(a[i] == b[i] for a, b in pairs) / len(pairs) for i, name in enumerate(ATTRIBUTES)}
    return {
        "queries": len(pairs),
        "crops": len(crops),
        **parts,
        "all three": sum(a == b for a, b in pairs) / len(pairs),
    }


def make_attribute_queries(count: int, seed: int = 0) -> tuple[list[Combination], list[str]]:
    """Return objects, and a query for each that names all of its attributes, some with a place."""
    random = Random(seed)
    combinations = list(list_combinations())
    random.shuffle(combinations)
    truths = list(islice(cycle(combinations), count))
    return truths, [_make_query(truth, random) for truth in truths]


def _make_query(truth: Combination, random: Random) -> str:
    category, color, pattern = truth
    words = [color] if pattern == PATTERNS[0] else [pattern, color]
    random.shuffle(words)
    named = " ".join([*words, category])
    return (random.choice(POSITION_PHRASES) or "{}").format(named)


def make_world_crops(each: int) -> tuple[list[Combination], list[RgbImage]]:
    """Cut objects out of scenes with another object."""
    shown, crops = [], []
    for number, truth in enumerate(list_combinations()):
        for i in range(each):
            random = Random(f"crop/{number}/{i}")
            distractor = random.choice([one for one in list_combinations() if one[0] != truth[0]])
            scene = compose([truth, distractor], (26, 40), (96, 96), random)
            shown.append(truth)
            crops.append(_crop_square(np.asarray(scene.draw().convert("RGB")), scene.objects[0].box_xyxy))
    return shown, crops


def _crop_square(image: RgbImage, box: tuple[float, float, float, float]) -> RgbImage:
    """Crop the square around a box, moved into the image at its edges."""
    left, top, right, bottom = box
    height, width = image.shape[:2]
    side = min(round(SIDE * max(right - left, bottom - top)), height, width)
    x = min(max(0, round((left + right - side) / 2)), width - side)
    y = min(max(0, round((top + bottom - side) / 2)), height - side)
    return image[y : y + side, x : x + side]


if __name__ == "__main__":
    main()
