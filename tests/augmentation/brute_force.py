"""A second reading of relation programs, written apart from the first: exact integers over the JSON records.

It shares no code with ``augmentation.programs`` and works by sorting and counting where that peels and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations
from typing import Any

from augmentation.scene import Scene

AXES = {"left": 0, "right": 0, "top": 1, "bottom": 1}


def meaning(program: Mapping[str, Any], scene: Scene) -> set[int]:
    """What the program's record selects, by definition."""
    if program["op"] == "category":
        return {i for i, thing in enumerate(scene.things) if thing.category == program["name"]}
    members = meaning(program["of"], scene)
    if program["op"] == "with_attribute":
        facts = {i: scene.things[i].attributes.get(program["kind"], "?") for i in members}
        return set() if "?" in facts.values() else {i for i in members if facts[i] == program["value"]}
    if program["op"] == "extreme":
        return set() if len(members) < 2 else _place(scene, members, program["side"], 1)
    if program["op"] == "ordinal":
        return _place(scene, members, program["side"], program["rank"])
    if program["op"] == "middle":
        return _middle(scene, members)
    assert program["op"] == "region"
    return _region(scene, members, program["region"])


def _edges(scene: Scene, i: int, axis: int) -> tuple[int, int]:
    """In 64ths of a pixel, which boxes are multiples of."""
    box = scene.things[i].box_xyxy
    low, high = box[axis] * 64, box[axis + 2] * 64
    assert low == int(low) and high == int(high)
    return int(low), int(high)


def _centre(scene: Scene, i: int, axis: int) -> int:
    """In 128ths of a pixel."""
    return sum(_edges(scene, i, axis))


def _extent(scene: Scene, axis: int) -> int:
    """In 128ths of a pixel."""
    return (scene.width, scene.height)[axis] * 128


def _apart(scene: Scene, i: int, j: int, axis: int) -> bool:
    """By 6 % of the picture and by 40 % of the mean size; the sum of two sizes in 64ths is their mean in 128ths."""
    sum_of_sizes = sum(high - low for low, high in (_edges(scene, i, axis), _edges(scene, j, axis)))
    gap = abs(_centre(scene, i, axis) - _centre(scene, j, axis))
    return 100 * gap >= 6 * _extent(scene, axis) and 10 * gap >= 4 * sum_of_sizes


def _place(scene: Scene, members: set[int], side: str, rank: int) -> set[int]:
    """Sort by centre; everything up to the place must be apart from everything after it."""
    axis = AXES[side]
    order = sorted(members, key=lambda i: _centre(scene, i, axis), reverse=side in ("right", "bottom"))
    if rank > len(order):
        return set()
    pairs = [(a, b) for a, b in combinations(range(len(order)), 2) if a < rank]
    return {order[rank - 1]} if all(_apart(scene, order[a], order[b], axis) for a, b in pairs) else set()


def _middle(scene: Scene, members: set[int]) -> set[int]:
    if len(members) % 2 == 0 or len(members) < 3:
        return set()
    medians, spreads = [], []
    for axis in (0, 1):
        order = sorted(members, key=lambda i: _centre(scene, i, axis))
        half = len(order) // 2
        every = [(a, b) for a, b in combinations(range(len(order)), 2) if not half < a and not b < half]
        lower = [(a, b) for a, b in combinations(range(len(order)), 2) if a <= half]
        upper = [(a, b) for a, b in combinations(range(len(order)), 2) if b >= half]
        clear = all(_apart(scene, order[a], order[b], axis) for a, b in {*every, *lower, *upper})
        medians.append(order[half] if clear else None)
        spreads.append(_centre(scene, order[-1], axis) - _centre(scene, order[0], axis))
    for along, across in ((0, 1), (1, 0)):
        median = medians[along]
        if median is not None:
            line = 10 * spreads[across] <= 7 * spreads[along]
            if line or medians[0] == medians[1]:
                return {median}
    return set()


def _region(scene: Scene, members: set[int], region: str) -> set[int]:
    inside, outside = set(), set()
    for i in members:
        percent = [Fraction(100 * _centre(scene, i, axis), _extent(scene, axis)) for axis in (0, 1)]
        if region == "middle":
            off, low, high = max(abs(share - 50) for share in percent), 12, 25
        else:
            share = percent[AXES[region]]
            off, low, high = 100 - share if region in ("right", "bottom") else share, 36, 50
        if off <= low:
            inside.add(i)
        elif off >= high:
            outside.add(i)
    return inside if inside | outside == members else set()
