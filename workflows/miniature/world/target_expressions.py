"""Expressions of the miniature world's people for no object, or for several: from what was drawn, by rules of its own.

    generate_absent_expressions(scene, random)    # {"ordinal": ["fourth cup from the left"], "appearance": [...], ...}
    generate_set_expressions(scene, random)       # [((0, 2), "both red cups"), ((0, 1, 2), "all cups"), ...]

Expressions for no object are one word away from a true one. These rules share nothing with the relation programs of
``augmentation``, so that they can test networks that learned from programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import Literal, get_args

from generation.parsing.english import NUMBER_WORDS, ORDINALS
from workflows.miniature.world.drawing import CATEGORIES, COLORS, PATTERNS, PLURALS, WorldObject, WorldScene

AbsentKind = Literal["appearance", "ordinal", "side", "relation", "category"]
"""Kind of an expression for no object: the word that is wrong. ``category`` names one that the image lacks."""

ABSENT_KINDS: tuple[AbsentKind, ...] = get_args(AbsentKind)

CLEAR_SIDE = 0.1
"""Minimum distance of centers from the middle of the image, as a share of it, on a side that an expression names."""

CLEAR_DISTANCE = 0.15
"""Minimum distance of two centers along an axis, as a share of the image, of an expression about a relation."""

_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def generate_absent_expressions(scene: WorldScene, random: Random) -> dict[AbsentKind, list[str]]:
    """Generate expressions that no object answers to, by kind and in random order; some kinds have none."""
    makers = {
        "appearance": _list_wrong_appearances,
        "ordinal": _list_wrong_ordinals,
        "side": _list_wrong_sides,
        "relation": _list_wrong_relations,
        "category": _list_wrong_categories,
    }
    made = {kind: sorted(set(makers[kind](scene))) for kind in ABSENT_KINDS}
    for texts in made.values():
        random.shuffle(texts)
    return {kind: texts for kind, texts in made.items() if texts}


def generate_set_expressions(scene: WorldScene, random: Random) -> list[tuple[tuple[int, ...], str]]:
    """Generate pairs of several objects, ascending, and an expression for exactly these, in random order."""
    pairs = {*_describe_alike(scene), *_describe_sides(scene), *_describe_exceptions(scene), *_describe_pairs(scene)}
    order = sorted(pairs)
    random.shuffle(order)
    return order


def _group_by_category(scene: WorldScene) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, obj in enumerate(scene.objects):
        groups.setdefault(obj.category, []).append(i)
    return groups


def _compute_center(scene: WorldScene, obj: WorldObject) -> tuple[float, float]:
    """Compute the center as shares of the image's width and height."""
    x1, y1, x2, y2 = obj.box_xyxy
    return (x1 + x2) / 2 / scene.width, (y1 + y2) / 2 / scene.height


def _list_wrong_appearances(scene: WorldScene) -> Iterator[str]:
    """Name a category of the image with a color or pattern that none of its objects has, or not both at once."""
    for category, members in _group_by_category(scene).items():
        objects = [scene.objects[i] for i in members]
        colors, patterns = {obj.color for obj in objects}, {obj.pattern for obj in objects}
        yield from (f"{color} {category}" for color in COLORS if color not in colors)
        for pattern in PATTERNS:
            if pattern == "plain":
                continue
            if pattern not in patterns:
                yield f"the {pattern} {category}"
            yield from (
                f"{pattern} {color} {category}"
                for color in colors
                if not any((obj.pattern, obj.color) == (pattern, color) for obj in objects)
            )


def _list_wrong_ordinals(scene: WorldScene) -> Iterator[str]:
    """Count one further than there are objects of the category."""
    for category, members in _group_by_category(scene).items():
        for side in ("left", "right") if len(members) + 1 in ORDINALS and len(members) > 1 else ():
            for word in ORDINALS[len(members) + 1]:
                yield f"{word} {category} from the {side}"
                yield f"{category} {word} from {side}"


def _list_wrong_sides(scene: WorldScene) -> Iterator[str]:
    """Name the half of the image that has no object of the category; all are clearly in the other half."""
    for category, members in _group_by_category(scene).items():
        centers = [_compute_center(scene, scene.objects[i]) for i in members]
        for axis, low, high in ((0, "on the left", "on the right"), (1, "at the top", "at the bottom")):
            values = [center[axis] for center in centers]
            if max(values) < 0.5 - CLEAR_SIDE:
                yield f"{category} {high} of the image"
            if min(values) > 0.5 + CLEAR_SIDE:
                yield f"{category} {low} of the image"


def _list_wrong_relations(scene: WorldScene) -> Iterator[str]:
    """Name the opposite of a relation that all objects of the category have to the only object of another."""
    groups = _group_by_category(scene)
    for category, members in groups.items():
        for other, anchors in groups.items():
            if other == category or len(anchors) > 1:
                continue
            for relation in _OPPOSITE:
                if all(_has_relation(scene, i, anchors[0], relation) for i in members):
                    yield f"{category} {_OPPOSITE[relation]} the {other}"


def _has_relation(scene: WorldScene, obj: int, anchor: int, relation: str) -> bool:
    (x, y), (ax, ay) = (_compute_center(scene, scene.objects[i]) for i in (obj, anchor))
    differences = {"left of": ax - x, "right of": x - ax, "above": ay - y, "below": y - ay}
    return differences[relation] >= CLEAR_DISTANCE


def _list_wrong_categories(scene: WorldScene) -> Iterator[str]:
    """Name a category that the image lacks, alone or with the color of one of its objects."""
    for category in CATEGORIES:
        if all(obj.category != category for obj in scene.objects):
            yield f"the {category}"
            yield from (f"{obj.color} {category}" for obj in scene.objects)


def _describe_alike(scene: WorldScene) -> Iterator[tuple[tuple[int, ...], str]]:
    """Describe all objects of a category, and all of them with a color or pattern."""
    for category, members in _group_by_category(scene).items():
        nouns = {"": members}
        for i in members:
            nouns.setdefault(f"{scene.objects[i].color} ", [])
            nouns.setdefault(f"{scene.objects[i].pattern} ", [])
        for word in filter(None, nouns):
            nouns[word] = [i for i in members if word.strip() in scene.objects[i].combination[1:]]
        for word, alike in nouns.items():
            if len(alike) > 1 and word != "plain ":
                for quantity in ("both" if len(alike) == 2 else "all", f"the {NUMBER_WORDS[len(alike)]}"):
                    yield tuple(alike), f"{quantity} {word}{PLURALS[category]}"


def _describe_sides(scene: WorldScene) -> Iterator[tuple[tuple[int, ...], str]]:
    """Describe the objects of a category in a half of the image; all are clearly in one of the halves."""
    for category, members in _group_by_category(scene).items():
        centers = [_compute_center(scene, scene.objects[i]) for i in members]
        for axis, low, high in ((0, "on the left", "on the right"), (1, "at the top", "at the bottom")):
            if any(abs(center[axis] - 0.5) < CLEAR_SIDE for center in centers):
                continue
            for words, sign in ((low, -1), (high, 1)):
                there = [i for i, center in zip(members, centers, strict=True) if sign * (center[axis] - 0.5) > 0]
                if 1 < len(there) < len(members):
                    yield tuple(there), f"the {PLURALS[category]} {words} of the image"


def _describe_exceptions(scene: WorldScene) -> Iterator[tuple[tuple[int, ...], str]]:
    """Describe all objects of a category but the only one of a color."""
    for category, members in _group_by_category(scene).items():
        for i in members if len(members) > 2 else ():
            color = scene.objects[i].color
            if sum(scene.objects[j].color == color for j in members) == 1:
                yield tuple(j for j in members if j != i), f"every {category} but the {color} one"


def _describe_pairs(scene: WorldScene) -> Iterator[tuple[tuple[int, ...], str]]:
    """Describe two objects, each the only one of its category, or of its category with its color."""
    names: dict[int, str] = {}
    for i, obj in enumerate(scene.objects):
        same = [other for j, other in enumerate(scene.objects) if other.category == obj.category and j != i]
        if not same:
            names[i] = obj.category
        elif all(other.color != obj.color for other in same):
            names[i] = f"{obj.color} {obj.category}"
    yield from (((i, j), f"the {names[i]} and the {names[j]}") for i, j in combinations(sorted(names), 2))
