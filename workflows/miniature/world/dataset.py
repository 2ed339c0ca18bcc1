"""Scenes of drawn objects with exact boxes, written as a dataset in the REFER format.

There are four splits. ``train`` and ``val`` are long-tailed as real images are: most targets are the only object of
their category, and some combinations of color, pattern and category never occur in ``train``. ``testA`` has distractors
with other attributes, and half of its scenes have a combination held out of ``train``. In ``testB`` only positions tell
the distractors apart.

Everything follows from the seed: ``python -m workflows.miniature.world --help``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from generation.parsing.english import NUMBER_WORDS, add_article
from pipeline import LimitedConfig, PositiveInt
from shards.sources.refer import NO_ANNOTATION
from workflows.miniature.world.drawing import (
    BACKGROUNDS,
    CATEGORIES,
    COLORS,
    PATTERNS,
    PLURALS,
    WorldObject,
    WorldScene,
    compute_object_size,
)
from workflows.miniature.world.expressions import generate_expressions
from workflows.miniature.world.target_expressions import (
    AbsentKind,
    generate_absent_expressions,
    generate_set_expressions,
)

Combination = tuple[str, str, str]
"""Category, color and pattern."""

CANVASES_PX = ((96, 96), (112, 84), (84, 112))
HELD_OUT_SHARE = 0.15

GREFS_FILE = "grefs(miniature).json"
"""Name of the annotations with ``several_targets``; each ref has its ``kind``, which gRefCOCO has not."""

TargetKind = Literal["one", "several"] | AbsentKind
"""Kind of expressions by their targets; without any, the word that is wrong."""


@cache
def list_held_out_combinations() -> frozenset[Combination]:
    """Return combinations that never occur in ``train`` with any seed: 15 % per category, chosen by hash."""
    chosen = []
    for category in CATEGORIES:
        combinations = [(category, color, pattern) for color in COLORS for pattern in PATTERNS]
        combinations.sort(key=lambda c: hashlib.sha256("/".join(c).encode()).digest())
        chosen += combinations[: round(HELD_OUT_SHARE * len(combinations))]
    return frozenset(chosen)


@cache
def list_combinations() -> tuple[Combination, ...]:
    return tuple(itertools.product(CATEGORIES, COLORS, PATTERNS))


@cache
def _compute_frequencies() -> tuple[tuple[Combination, ...], tuple[float, ...]]:
    """Return combinations of ``train`` with their frequencies: common and rare categories, colors and patterns."""
    category_weight = {name: 1 / (1 + 0.35 * i) for i, name in enumerate(CATEGORIES)}
    color_weight = {name: 1 / (1 + 0.25 * i) for i, name in enumerate(COLORS)}
    pattern_weight = {"plain": 0.6, "striped": 0.22, "dotted": 0.18}
    seen = tuple(c for c in list_combinations() if c not in list_held_out_combinations())
    return seen, tuple(
        category_weight[category] * color_weight[color] * pattern_weight[pattern] for category, color, pattern in seen
    )


def arrange_objects(
    combinations: list[Combination], extents_px: list[int], width: int, height: int, gap_px: int, random: Random
) -> tuple[WorldObject, ...] | None:
    """Place objects at random without overlap, at least ``gap_px`` apart; return None if they do not fit."""
    objects: list[WorldObject] = []
    taken: list[tuple[int, int, int, int]] = []
    for (category, color, pattern), extent in zip(combinations, extents_px, strict=True):
        w, h = compute_object_size(category, extent)
        if w > width - 2 or h > height - 2:
            return None
        for _ in range(60):
            x, y = random.randint(1, width - w - 1), random.randint(1, height - h - 1)
            padded_box = (x - gap_px, y - gap_px, x + w + gap_px, y + h + gap_px)
            if all(
                padded_box[2] <= a or c <= padded_box[0] or padded_box[3] <= b or d <= padded_box[1]
                for a, b, c, d in taken
            ):
                break
        else:
            return None
        taken.append((x, y, x + w, y + h))
        objects.append(
            WorldObject(
                category=category,
                color=color,
                pattern=pattern,
                extent_px=extent,
                x=x,
                y=y,
            )
        )
    return tuple(objects)


def compose(
    combinations: list[Combination],
    extents: tuple[int, int],
    canvas: tuple[int, int],
    random: Random,
    gap_px: int = 2,
) -> WorldScene:
    """Compose a scene of these objects, which shrink until they fit."""
    low, high = extents
    while True:
        for _ in range(8):
            sizes = [random.randint(low, high) for _ in combinations]
            objects = arrange_objects(combinations, sizes, *canvas, gap_px, random)
            if objects is not None:
                return WorldScene(
                    width=canvas[0],
                    height=canvas[1],
                    background_kind=random.randrange(len(BACKGROUNDS)),
                    horizon=random.uniform(0.4, 0.7),
                    objects=objects,
                )
        low, high = max(8, low - 2), max(10, high - 3)


def _sample_combination(random: Random) -> Combination:
    combinations, weights = _compute_frequencies()
    return random.choices(combinations, weights)[0]


def _sample_clutter(target: Combination, count: int, random: Random) -> list[Combination]:
    """Sample objects of other categories than the target's."""
    sampled: list[Combination] = []
    while len(sampled) < count:
        combination = _sample_combination(random)
        if combination[0] != target[0]:
            sampled.append(combination)
    return sampled


def _sample_distractors(
    target: Combination, count: int, identical: bool, unseen: bool, random: Random
) -> list[Combination]:
    """Sample objects of the target's category: equal to it, or all different (and some sharing one attribute)."""
    if identical:
        return [target] * count
    pool = [
        c
        for c in list_combinations()
        if c[0] == target[0] and c != target and (unseen or c not in list_held_out_combinations())
    ]
    near = [c for c in pool if c[1] == target[1] or c[2] == target[2]]
    return [random.choice(near if random.random() < 0.6 else pool) for _ in range(count)]


def sample_scene(split: str, random: Random) -> WorldScene:
    """Sample a scene of a split; its first object is the one that the scene was made for."""
    target = _sample_combination(random)
    identical, unseen = False, False
    if split in ("train", "val"):
        weights = (0.7, 0.2, 0.07, 0.03) if split == "train" else (0.4, 0.3, 0.2, 0.1)
        num_distractors = random.choices((0, 1, 2, 3), weights)[0]
        identical = random.random() < 0.35
    elif split == "testA":
        num_distractors, unseen = random.choices((1, 2, 3, 4, 5), (3, 3, 3, 2, 1))[0], True
        if random.random() < 0.5:
            target = random.choice(sorted(list_held_out_combinations()))
    elif split == "testB":
        num_distractors, identical = random.choices((1, 2, 3, 4, 5), (3, 3, 3, 2, 1))[0], random.random() < 0.75
    else:
        raise ValueError(f"no split {split!r} in the miniature world; choose train, val, testA or testB")
    distractors = _sample_distractors(target, num_distractors, identical, unseen, random)
    clutter = _sample_clutter(target, random.randint(0, max(0, 4 - num_distractors)), random)
    extents = (20, 40) if num_distractors + len(clutter) <= 2 else (17, 30)
    return compose([target, *distractors, *clutter], extents, random.choice(CANVASES_PX), random)


@dataclass(frozen=True, kw_only=True)
class WorldConfig(LimitedConfig):
    """Size and seed of the dataset."""

    output: Path = Path("data/miniature/refer")
    """Folder of ``miniature/refs(miniature).p``, ``miniature/instances.json`` and ``images/``."""

    num_train: PositiveInt = 2000
    """Number of training scenes."""

    num_val: PositiveInt = 250
    """Number of validation scenes."""

    num_test: PositiveInt = 400
    """Number of scenes in each of testA and testB."""

    scale: PositiveInt = 1
    """Factor of all lengths; at 1, images have 84 to 112 px a side."""

    seed: int = 7
    """Seed of all scenes and queries."""

    several_targets: bool = False
    """Whether val and the tests also have queries for no object and for several ones. ``grefs(miniature).json``, as of
    gRefCOCO, then takes the place of ``refs(miniature).p``. The other queries and all images stay the same."""


class WordedTargets(NamedTuple):
    """Expressions for the same objects of a scene."""

    targets: tuple[int, ...]
    """Indices of the objects."""

    texts: list[str]
    kind: TargetKind = "one"


def write_dataset(config: WorldConfig) -> dict[str, int]:
    """Write the dataset in the layout of REFER or gRefCOCO; ``instances.json`` comes last and complete.

    Returns:
        Number of queries per split.
    """
    images_folder = config.output / "images"
    folder = config.output / "miniature"
    for path in (images_folder, folder):
        path.mkdir(parents=True, exist_ok=True)
    category_id = {name: i + 1 for i, name in enumerate(CATEGORIES)}
    refs: list[dict[str, Any]] = []
    coco: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for name, i in category_id.items()],
    }
    counts: dict[str, int] = {}
    sizes = {"train": config.num_train, "val": config.num_val, "testA": config.num_test, "testB": config.num_test}
    for split, size in sizes.items():
        counts[split] = 0
        for index in range(size):
            random = Random(f"{config.seed}/{split}/{index}")
            scene = sample_scene(split, random).scale(config.scale)
            image_id = len(coco["images"]) + 1
            file_name = f"miniature_{image_id:06d}.png"
            scene.draw().save(images_folder / file_name)
            coco["images"].append(
                {"id": image_id, "file_name": file_name, "width": scene.width, "height": scene.height}
            )
            first_annotation = len(coco["annotations"]) + 1
            for i, obj in enumerate(scene.objects):
                x1, y1, x2, y2 = obj.box_xyxy
                coco["annotations"].append(
                    {
                        "id": first_annotation + i,
                        "image_id": image_id,
                        "category_id": category_id[obj.category],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
            worded = [WordedTargets((target,), texts) for target, texts in generate_refs(scene, split, random)]
            if config.several_targets and split != "train":
                worded += word_targets(scene, random)
            for targets, texts, kind in worded:
                first = sum(len(ref["sentences"]) for ref in refs[-1:]) + (refs[-1]["sent_ids"][0] if refs else 1)
                annotations = [first_annotation + target for target in targets]
                categories = [category_id[scene.objects[target].category] for target in targets]
                listed = {
                    "ann_id": annotations or [NO_ANNOTATION],
                    "category_id": categories or [NO_ANNOTATION],
                    "kind": kind,
                }
                refs.append(
                    {
                        "ref_id": len(refs) + 1,
                        **(
                            listed
                            if config.several_targets
                            else {"ann_id": annotations[0], "category_id": categories[0]}
                        ),
                        "image_id": image_id,
                        "split": split,
                        "file_name": file_name,
                        "sent_ids": list(range(first, first + len(texts))),
                        "sentences": [
                            {
                                "raw": text,
                                "sent": text.lower(),
                                "sent_id": first + i,
                                "tokens": text.lower().split(),
                            }
                            for i, text in enumerate(texts)
                        ],
                    }
                )
                counts[split] += len(texts)
    if config.several_targets:
        (folder / GREFS_FILE).write_text(json.dumps(refs))
    else:
        with (folder / "refs(miniature).p").open("wb") as file:
            pickle.dump(refs, file, protocol=2)
    partial = folder / "instances.partial"
    partial.write_text(json.dumps(coco))
    partial.replace(folder / "instances.json")
    return counts


def generate_refs(scene: WorldScene, split: str, random: Random) -> list[tuple[int, list[str]]]:
    """Return up to two objects of the scene with one to three expressions each, of the split's kinds."""
    kinds = {"testA": ("attribute",), "testB": ("position", "both")}.get(
        split, ("attribute", "position", "both", "relation")
    )
    same = [i for i, obj in enumerate(scene.objects) if obj.category == scene.objects[0].category]
    others = [i for i in range(len(scene.objects)) if i not in same]
    random.shuffle(others)
    order = [0, *others[:1]] if split in ("train", "val") else same[:1] + random.sample(same[1:], min(1, len(same) - 1))
    refs = []
    for target in order:
        texts = generate_expressions(scene, target, kinds, random)
        if texts:
            refs.append((target, texts[: random.choice((1, 2, 2, 3))]))
    return refs


def word_targets(scene: WorldScene, random: Random) -> list[WordedTargets]:
    """Return an expression for no object of up to two kinds, and expressions for up to two sets of objects."""
    absent = generate_absent_expressions(scene, random)
    kinds = random.sample(sorted(absent), min(2, len(absent)))
    worded = [WordedTargets((), [absent[kind][0]], kind) for kind in kinds]
    sets = generate_set_expressions(scene, random)[:2]
    return worded + [WordedTargets(targets, [text], "several") for targets, text in sets]


IMAGE_PX = 64
CAPTIONED_GAP_PX = 5
"""Gap between the objects of a captioned image; an autoencoder with 4 px cells merges closer ones."""


def describe_combination(combination: Combination) -> str:
    """Describe a combination, as in "striped red cup"; "plain" is left out."""
    category, color, pattern = combination
    return " ".join(word for word in (pattern if pattern != "plain" else "", color, category) if word)


def sample_captioned_image(random: Random) -> tuple[WorldScene, str]:
    """Sample a 64 px scene of one to five objects of any combination, with its caption."""
    kind = random.random()
    canvas = (IMAGE_PX, IMAGE_PX)
    first = random.choice(list_combinations())
    if kind < 0.45:
        size = random.choices(("", "small", "big"), (0.7, 0.15, 0.15))[0]
        extents = {"": (26, 44), "small": (13, 19), "big": (42, 50)}[size]
        phrase = " ".join(filter(None, (size, _describe_loosely(first, random))))
        return compose([first], extents, canvas, random), add_article(phrase)
    if kind < 0.85:
        count = random.choices((2, 3, 4, 5), (0.28, 0.36, 0.2, 0.16))[0]
        extents = {2: (19, 27), 3: (17, 22), 4: (15, 19), 5: (14, 17)}[count]
        objects, words = [first] * count, _describe_loosely(first, random).split()
        if random.random() < 0.4:
            objects = [first] + [
                (first[0], random.choice(list(COLORS)), random.choice(PATTERNS)) for _ in range(count - 1)
            ]
            words = [first[0]]
        words[-1] = PLURALS[first[0]]
        return compose(objects, extents, canvas, random, CAPTIONED_GAP_PX), " ".join([NUMBER_WORDS[count], *words])
    second = random.choice(list_combinations())
    scene = compose([first, second], (19, 27), canvas, random, CAPTIONED_GAP_PX)
    return scene, f"{add_article(describe_combination(first))} and {add_article(describe_combination(second))}"


def _describe_loosely(combination: Combination, random: Random) -> str:
    """Describe an object as people do: mostly completely, sometimes by color or category alone."""
    category, color, _ = combination
    return random.choices((describe_combination(combination), f"{color} {category}", category), (0.86, 0.08, 0.06))[0]
