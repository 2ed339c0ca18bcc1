"""Referring expressions of the miniature world's people: short, varied, and true of one object only.

Kinds: ``attribute`` ("striped red cup", "the big yellow one"), ``position`` ("second bottle from right"), ``both``
("left red cup") and ``relation`` ("cup above the ball").
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise
from random import Random

from generation.parsing.english import ORDINALS
from shards.boxes import Box, compute_area_px
from workflows.miniature.world.drawing import WorldScene

MAX_ORDINAL = 4
MARGIN = 0.12
"""Minimal distance of centers along an axis, as a share of the image, for an expression about position."""


def generate_expressions(scene: WorldScene, target: int, kinds: Iterable[str], random: Random) -> list[str]:
    """Generate different true expressions of the given kinds about the object ``target``, in random order."""
    makers = {
        "attribute": _describe_by_attribute,
        "position": _describe_by_position,
        "both": _describe_by_both,
        "relation": _describe_by_relation,
    }
    texts: list[str] = []
    for kind in kinds:
        texts += makers[kind](scene, target, random)
    unique = sorted(set(texts))
    random.shuffle(unique)
    return unique


def _find_size_word(scene: WorldScene, target: int, among: list[int]) -> str:
    """Return "big" or "small" if the target's area differs from all others' by a factor of 2, else ""."""
    areas = {i: compute_area_px(scene.objects[i].box_xyxy) for i in among}
    others = [area for i, area in areas.items() if i != target]
    if others and areas[target] >= 2 * max(others):
        return "big"
    if others and 2 * areas[target] <= min(others):
        return "small"
    return ""


def _compute_center(box: Box) -> tuple[float, float]:
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def _find_distractors(scene: WorldScene, target: int) -> list[int]:
    category = scene.objects[target].category
    return [i for i, obj in enumerate(scene.objects) if obj.category == category and i != target]


def _collect_attribute_words(scene: WorldScene, target: int, size: str) -> dict[str, str]:
    obj = scene.objects[target]
    words = {"size": size, "pattern": obj.pattern if obj.pattern != "plain" else "", "color": obj.color}
    return {kind: word for kind, word in words.items() if word}


def _describe_by_attribute(scene: WorldScene, target: int, random: Random) -> list[str]:
    obj, distractors = scene.objects[target], _find_distractors(scene, target)
    all_indices = list(range(len(scene.objects)))
    size = _find_size_word(scene, target, [target, *distractors])
    words = _collect_attribute_words(scene, target, size)
    texts = [obj.category, f"the {obj.category}"] if not distractors else []
    for chosen in _list_subsets(words):
        if all(_is_distinct(scene, target, other, chosen) for other in distractors):
            text = " ".join([words[kind] for kind in ("size", "pattern", "color") if kind in chosen])
            texts += [f"{text} {obj.category}", f"the {text} {obj.category}"]
            alone = _find_size_word(scene, target, all_indices) if "size" in chosen else ""
            others = [i for i in all_indices if i != target]
            if ("size" not in chosen or alone) and all(_is_distinct(scene, target, o, chosen) for o in others):
                texts.append(f"the {text} one")
    return texts


def _list_subsets(words: dict[str, str]) -> list[tuple[str, ...]]:
    return [chosen for n in range(1, len(words) + 1) for chosen in combinations(words, n)]


def _is_distinct(scene: WorldScene, target: int, other: int, kinds: tuple[str, ...]) -> bool:
    """Return whether one of these attributes tells the target from the other object; size words always do."""
    a, b = scene.objects[target], scene.objects[other]
    return (
        "size" in kinds or ("pattern" in kinds and a.pattern != b.pattern) or ("color" in kinds and a.color != b.color)
    )


def _describe_by_position(scene: WorldScene, target: int, random: Random) -> list[str]:
    name = scene.objects[target].category
    return _describe_positions(scene, target, [target, *_find_distractors(scene, target)], name)


def _describe_by_both(scene: WorldScene, target: int, random: Random) -> list[str]:
    """Describe a target by an attribute that several distractors share, then by its position among these."""
    texts = []
    obj, distractors = scene.objects[target], _find_distractors(scene, target)
    words = _collect_attribute_words(scene, target, "")
    for chosen in _list_subsets(words):
        alike = [i for i in distractors if not _is_distinct(scene, target, i, chosen)]
        if alike:
            text = " ".join(words[kind] for kind in ("pattern", "color") if kind in chosen)
            texts += _describe_positions(scene, target, [target, *alike], f"{text} {obj.category}")
    return texts


def _describe_positions(scene: WorldScene, target: int, among: list[int], name: str) -> list[str]:
    texts: list[str] = []
    for axis, length, low, high in ((0, scene.width, "left", "right"), (1, scene.height, "top", "bottom")):
        centers = sorted((_compute_center(scene.objects[i].box_xyxy)[axis], i) for i in among)
        if len(among) == 1:
            share = centers[0][0] / length
            texts += _describe_side(name, low, alone=True) if share < 0.36 else []
            texts += _describe_side(name, high, alone=True) if share > 0.64 else []
            continue
        gaps = [b[0] - a[0] for a, b in pairwise(centers)]
        rank = [i for _, i in centers].index(target)
        clear = (rank == 0 or gaps[rank - 1] >= MARGIN * length) and (
            rank == len(among) - 1 or gaps[rank] >= MARGIN * length
        )
        if not clear:
            continue
        if rank == 0:
            texts += _describe_side(name, low)
        if rank == len(among) - 1:
            texts += _describe_side(name, high)
        if min(gaps) >= 0.6 * MARGIN * length:
            texts += _describe_ordinals(name, rank, len(among), axis, low, high)
    return texts


def _describe_side(name: str, side: str, alone: bool = False) -> list[str]:
    at = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}[side]
    texts = [f"{side} {name}", f"{name} {at}", f"the {name} {at}", f"{name} {side}"]
    if not alone and side in ("left", "right"):
        texts += [f"{side}most {name}", f"{name} on the far {side}", f"{name} furthest {side}"]
    return texts


def _describe_ordinals(name: str, rank: int, count: int, axis: int, low: str, high: str) -> list[str]:
    texts: list[str] = []
    if count % 2 and count >= 3 and rank == count // 2:
        texts += [f"middle {name}", f"{name} in the middle", f"the {name} in the center"]
    if count < 3:
        return texts
    for ordinal, side in ((rank + 1, low), (count - rank, high)):
        if 2 <= ordinal <= MAX_ORDINAL and ordinal < count:
            for word in ORDINALS[ordinal]:
                texts += [
                    f"{word} {name} from the {side}",
                    f"{word} {name} from {side}",
                    f"{name} {word} from {side}",
                ]
    return texts


def _describe_by_relation(scene: WorldScene, target: int, random: Random) -> list[str]:
    """Describe a target relative to the only object of a category, if no distractor has the same relation."""
    texts = []
    distractors = _find_distractors(scene, target)
    for anchor, obj in enumerate(scene.objects):
        if anchor == target or anchor in distractors or _find_distractors(scene, anchor):
            continue
        for relation in ("left of", "right of", "above", "below"):
            if _has_relation(scene, target, anchor, relation, 0.15) and not any(
                _has_relation(scene, distractor, anchor, relation, 0.0) for distractor in distractors
            ):
                texts.append(f"{scene.objects[target].category} {relation} the {obj.category}")
    return texts


def _has_relation(scene: WorldScene, obj: int, anchor: int, relation: str, margin: float) -> bool:
    (x, y), (ax, ay) = _compute_center(scene.objects[obj].box_xyxy), _compute_center(scene.objects[anchor].box_xyxy)
    dx, dy = (x - ax) / scene.width, (y - ay) / scene.height
    return {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation] > margin
