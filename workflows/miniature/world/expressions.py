"""How people of the miniature world refer to things: short, varied, and true of one thing only.

Kinds: ``attribute`` ("striped red cup", "the big yellow one"), ``position`` ("second bottle from right"),
``both`` ("left red cup") and ``relation`` ("cup above the ball").
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise
from random import Random
from typing import Protocol

Box = tuple[float, float, float, float]
ORDINALS = {2: ("second", "2nd"), 3: ("third", "3rd"), 4: ("fourth", "4th")}
MARGIN = 0.12
"""Centres along an axis differ by at least this share of the picture before a position is said."""


class ThingLike(Protocol):
    @property
    def category(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def pattern(self) -> str: ...
    @property
    def box_xyxy(self) -> Box: ...


class SceneLike(Protocol):
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def things(self) -> tuple[ThingLike, ...]: ...


def expressions(scene: SceneLike, target: int, kinds: Iterable[str], random: Random) -> list[str]:
    """Different true expressions for the thing ``target``, of the kinds asked for, in random order."""
    makers = {"attribute": _attribute, "position": _position, "both": _both, "relation": _relation}
    found: list[str] = []
    for kind in kinds:
        found += makers[kind](scene, target, random)
    unique = sorted(set(found))
    random.shuffle(unique)
    return unique


def _size_word(scene: SceneLike, target: int, among: list[int]) -> str:
    """ "big" or "small" where the target's area differs from all others' by a factor of 2."""
    areas = {i: _area(scene.things[i].box_xyxy) for i in among}
    others = [area for i, area in areas.items() if i != target]
    if others and areas[target] >= 2 * max(others):
        return "big"
    if others and 2 * areas[target] <= min(others):
        return "small"
    return ""


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _centre(box: Box) -> tuple[float, float]:
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def _rivals(scene: SceneLike, target: int) -> list[int]:
    category = scene.things[target].category
    return [i for i, thing in enumerate(scene.things) if thing.category == category and i != target]


def _attribute_words(scene: SceneLike, target: int, size: str) -> dict[str, str]:
    thing = scene.things[target]
    words = {"size": size, "pattern": thing.pattern if thing.pattern != "plain" else "", "colour": thing.colour}
    return {kind: word for kind, word in words.items() if word}


def _attribute(scene: SceneLike, target: int, random: Random) -> list[str]:
    thing, rivals = scene.things[target], _rivals(scene, target)
    everything = list(range(len(scene.things)))
    size = _size_word(scene, target, [target, *rivals])
    words = _attribute_words(scene, target, size)
    found = [thing.category, f"the {thing.category}"] if not rivals else []
    for chosen in _subsets(words):
        if all(_differs(scene, target, other, chosen) for other in rivals):
            text = " ".join([words[kind] for kind in ("size", "pattern", "colour") if kind in chosen])
            found += [f"{text} {thing.category}", f"the {text} {thing.category}"]
            alone = _size_word(scene, target, everything) if "size" in chosen else ""
            others = [i for i in everything if i != target]
            if ("size" not in chosen or alone) and all(_differs(scene, target, o, chosen) for o in others):
                found.append(f"the {text} one")
    return found


def _subsets(words: dict[str, str]) -> list[tuple[str, ...]]:
    return [chosen for n in range(1, len(words) + 1) for chosen in combinations(words, n)]


def _differs(scene: SceneLike, target: int, other: int, kinds: tuple[str, ...]) -> bool:
    """Whether one of these attributes sets the target apart (a size word was only given if it does)."""
    a, b = scene.things[target], scene.things[other]
    return (
        "size" in kinds
        or ("pattern" in kinds and a.pattern != b.pattern)
        or ("colour" in kinds and a.colour != b.colour)
    )


def _position(scene: SceneLike, target: int, random: Random) -> list[str]:
    name = scene.things[target].category
    return _positions_among(scene, target, [target, *_rivals(scene, target)], name)


def _both(scene: SceneLike, target: int, random: Random) -> list[str]:
    """An attribute that several rivals share, then the position among those."""
    found = []
    thing, rivals = scene.things[target], _rivals(scene, target)
    words = _attribute_words(scene, target, "")
    for chosen in _subsets(words):
        alike = [i for i in rivals if not _differs(scene, target, i, chosen)]
        if alike:
            text = " ".join(words[kind] for kind in ("pattern", "colour") if kind in chosen)
            found += _positions_among(scene, target, [target, *alike], f"{text} {thing.category}")
    return found


def _positions_among(scene: SceneLike, target: int, among: list[int], name: str) -> list[str]:
    found: list[str] = []
    for axis, length, low, high in ((0, scene.width, "left", "right"), (1, scene.height, "top", "bottom")):
        centres = sorted((_centre(scene.things[i].box_xyxy)[axis], i) for i in among)
        if len(among) == 1:
            share = centres[0][0] / length
            found += _side(name, low, alone=True) if share < 0.36 else []
            found += _side(name, high, alone=True) if share > 0.64 else []
            continue
        gaps = [b[0] - a[0] for a, b in pairwise(centres)]
        rank = [i for _, i in centres].index(target)
        clear = (rank == 0 or gaps[rank - 1] >= MARGIN * length) and (
            rank == len(among) - 1 or gaps[rank] >= MARGIN * length
        )
        if not clear:
            continue
        if rank == 0:
            found += _side(name, low)
        if rank == len(among) - 1:
            found += _side(name, high)
        if min(gaps) >= 0.6 * MARGIN * length:
            found += _ordinals(name, rank, len(among), axis, low, high)
    return found


def _side(name: str, side: str, alone: bool = False) -> list[str]:
    at = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}[side]
    found = [f"{side} {name}", f"{name} {at}", f"the {name} {at}", f"{name} {side}"]
    if not alone and side in ("left", "right"):
        found += [f"{side}most {name}", f"{name} on the far {side}", f"{name} furthest {side}"]
    return found


def _ordinals(name: str, rank: int, count: int, axis: int, low: str, high: str) -> list[str]:
    found: list[str] = []
    if count % 2 and count >= 3 and rank == count // 2:
        found += [f"middle {name}", f"{name} in the middle", f"the {name} in the center"]
    if count < 3:
        return found
    for place, side in ((rank + 1, low), (count - rank, high)):
        if place in ORDINALS and place < count:
            for word in ORDINALS[place]:
                found += [
                    f"{word} {name} from the {side}",
                    f"{word} {name} from {side}",
                    f"{name} {word} from {side}",
                ]
    return found


def _relation(scene: SceneLike, target: int, random: Random) -> list[str]:
    """Relative to a thing that is the only one of its category, where no rival stands in the same relation."""
    found = []
    rivals = _rivals(scene, target)
    for anchor, thing in enumerate(scene.things):
        if anchor == target or anchor in rivals or _rivals(scene, anchor):
            continue
        for relation in ("left of", "right of", "above", "below"):
            if _stands(scene, target, anchor, relation, 0.15) and not any(
                _stands(scene, rival, anchor, relation, 0.0) for rival in rivals
            ):
                found.append(f"{scene.things[target].category} {relation} the {thing.category}")
    return found


def _stands(scene: SceneLike, thing: int, anchor: int, relation: str, margin: float) -> bool:
    (x, y), (ax, ay) = _centre(scene.things[thing].box_xyxy), _centre(scene.things[anchor].box_xyxy)
    dx, dy = (x - ax) / scene.width, (y - ay) / scene.height
    return {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation] > margin
