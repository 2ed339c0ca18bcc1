"""A second reading of relation programs, written apart from the first: exact integers over the JSON records.

It shares no code with ``augmentation.relations.programs`` and works by sorting and
counting where that peels and compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations
from typing import Any

from augmentation.relations.scene import Scene

AXES = {"left": 0, "right": 0, "top": 1, "bottom": 1}


def meaning(program: Mapping[str, Any], scene: Scene) -> set[int]:
    """What the program's record selects, by definition."""
    op = program["op"]
    if op == "category":
        return {i for i, obj in enumerate(scene.objects) if obj.category == program["name"]}
    members = meaning(program["base"], scene)
    if op == "except":
        excluded = meaning(program["excluded"], scene)
        return members - excluded if len(excluded) == 1 and excluded <= members else set()
    if op == "both":
        other = meaning(program["other"], scene)
        return members | other if len(members) == len(other) == 1 and not members & other else set()
    if op == "leading":
        return _lead(scene, members, program["side"], program["count"])
    if op in ("odd", "alike"):
        return _compare_looks(scene, members, op, program["attribute"])
    if op == "without":
        facts = {i: scene.objects[i].attributes.get(program["attribute"], "?") for i in members}
        return set() if "?" in facts.values() else {i for i in members if facts[i] != program["value"]}
    if op == "with_attribute":
        facts = {i: scene.objects[i].attributes.get(program["attribute"], "?") for i in members}
        return set() if "?" in facts.values() else {i for i in members if facts[i] == program["value"]}
    if op == "extreme":
        return set() if len(members) < 2 else _place(scene, members, program["side"], 1)
    if op == "ordinal":
        if len(members) > 2 and not _stand_in_line(scene, members, AXES[program["side"]]):
            return set()
        return _place(scene, members, program["side"], program["rank"])
    if op == "middle":
        return _middle(scene, members)
    if op == "region":
        return _region(scene, members, program["region"])
    if op == "line":
        return _line(scene, members, program["side"], program["rank"])
    if op == "superlative":
        return _superlative(scene, members, program["measure"])
    if op == "depth":
        return _depth(scene, members, program["position"])
    if op == "between":
        return _between(scene, members, sorted(meaning(program["ends"], scene)))
    anchors = meaning(program["anchor"], scene)
    if len(anchors) != 1:
        return set()
    (anchor,) = anchors
    members -= anchors
    if op == "nearest":
        return _nearest(scene, members, anchor)
    if op == "next_to":
        return _sorted_out(members, {i: _adjacency(scene, i, anchor) for i in members})
    assert op == "beside"
    return _sorted_out(members, {i: _direction(scene, i, anchor, program["direction"]) for i in members})


def _compare_looks(scene: Scene, members: set[int], op: str, attribute: str | None) -> set[int]:
    """Count how many have each value: 1 and all others, or 2 and no other value twice."""
    every = sorted({name for obj in scene.objects for name in obj.attributes}.union(scene.attributes))
    names = every if attribute is None else [attribute]
    rows = [[scene.objects[i].attributes.get(name, "?") for name in names] for i in sorted(members)]
    if len(rows) < 3 or any("?" in row for row in rows):
        return set()
    if op == "alike":
        looks = Counter(tuple(row) for row in rows)
        shared = [look for look, count in looks.items() if count > 1]
        if len(shared) != 1 or looks[shared[0]] != 2 or (attribute is not None and shared[0] == ("",)):
            return set()
        return {i for i, row in zip(sorted(members), rows, strict=True) if tuple(row) == shared[0]}
    odd = set()
    for column in zip(*rows, strict=True):
        counts = Counter(column)
        if sorted(counts.values()) == [1, len(rows) - 1] and (attribute is None or "" not in counts):
            odd.add(sorted(members)[column.index(min(counts, key=lambda value: counts[value]))])
    return odd if len(odd) == 1 else set()


def _sorted_out(members: set[int], verdicts: Mapping[int, str]) -> set[int]:
    return {i for i in members if verdicts[i] == "yes"} if "unclear" not in verdicts.values() else set()


def _edges(scene: Scene, i: int, axis: int) -> tuple[int, int]:
    """In 64ths of a pixel, which boxes are multiples of."""
    box = scene.objects[i].box_xyxy
    low, high = box[axis] * 64, box[axis + 2] * 64
    assert low == int(low) and high == int(high)
    return int(low), int(high)


def _center(scene: Scene, i: int, axis: int) -> int:
    """In 128ths of a pixel."""
    return sum(_edges(scene, i, axis))


def _extent(scene: Scene, axis: int) -> int:
    """In 128ths of a pixel."""
    return (scene.width, scene.height)[axis] * 128


def _apart(scene: Scene, i: int, j: int, axis: int) -> bool:
    """By 6 % of the image and by 40 % of the mean size; the sum of two sizes in 64ths is their mean in 128ths."""
    sum_of_sizes = sum(high - low for low, high in (_edges(scene, i, axis), _edges(scene, j, axis)))
    gap = abs(_center(scene, i, axis) - _center(scene, j, axis))
    return 100 * gap >= 6 * _extent(scene, axis) and 10 * gap >= 4 * sum_of_sizes


def _place(scene: Scene, members: set[int], side: str, rank: int) -> set[int]:
    """Sort by center; everything up to the place must be apart from everything after it."""
    axis = AXES[side]
    order = sorted(members, key=lambda i: _center(scene, i, axis), reverse=side in ("right", "bottom"))
    if rank > len(order):
        return set()
    pairs = [(a, b) for a, b in combinations(range(len(order)), 2) if a < rank]
    return {order[rank - 1]} if all(_apart(scene, order[a], order[b], axis) for a, b in pairs) else set()


def _lead(scene: Scene, members: set[int], side: str, count: int) -> set[int]:
    """Sort by center; everything up to the count must be apart from everything after it."""
    axis = AXES[side]
    order = sorted(members, key=lambda i: _center(scene, i, axis), reverse=side in ("right", "bottom"))
    first, rest = order[:count], order[count:]
    is_clear = all(_apart(scene, i, j, axis) for i in first for j in rest)
    return set(first) if rest and is_clear else set()


def possibilities(program: Mapping[str, Any], scene: Scene) -> set[int]:
    """Everything that could be meant: what remains when all that is surely something else is struck out."""
    op = program["op"]
    if op == "category":
        return meaning(program, scene)
    left = possibilities(program["base"], scene)
    if op in ("with_attribute", "without"):
        for i in sorted(left):
            fact = scene.objects[i].attributes.get(program["attribute"])
            if fact is not None and (fact == program["value"]) == (op == "without"):
                left.discard(i)
    elif op in ("ordinal", "line"):
        left = left if len(left) >= program["rank"] else set()
    elif op == "region":
        for i in sorted(left):
            shares = [Fraction(100 * _center(scene, i, axis), _extent(scene, axis)) for axis in (0, 1)]
            if program["region"] == "middle":
                is_out = max(abs(share - 50) for share in shares) >= 25
            else:
                share = shares[AXES[program["region"]]]
                is_out = share >= 64 if program["region"] in ("left", "top") else share <= 36
            if is_out:
                left.discard(i)
    elif op == "odd" and program["attribute"] is not None:
        left = {i for i in left if _count_rivals(scene, i, left, [program["attribute"]]) < len(left) - 1}
    elif op == "alike":
        every = {name for obj in scene.objects for name in obj.attributes}.union(scene.attributes)
        names = sorted(every) if program["attribute"] is None else [program["attribute"]]
        left = {i for i in left if _count_mates(scene, i, left, names)}
    elif op == "both":
        left |= possibilities(program["other"], scene)
    elif op in ("beside", "next_to", "nearest", "between"):
        anchors = possibilities(program["ends" if op == "between" else "anchor"], scene)
        if not anchors:
            return set()
        if op == "beside" and program["direction"] in ("on", "in"):
            left = {
                i for i in left if any(i != j and _touch(scene, i, j, program["direction"]) != "no" for j in anchors)
            }
        elif op == "beside" and program["direction"] not in ("front", "behind"):
            axis = 0 if program["direction"] in ("left", "right") else 1
            sign = 1 if program["direction"] in ("left", "above") else -1
            past = {
                (i, anchor)
                for i in left
                for anchor in anchors
                if sign * (_center(scene, i, axis) - _center(scene, anchor, axis)) > 0
                and _apart(scene, i, anchor, axis)
            }
            left = {i for i in left if any(i != anchor and (i, anchor) not in past for anchor in anchors)}
    return left


def _count_rivals(scene: Scene, i: int, members: set[int], names: list[str]) -> int:
    """How many others surely look the same."""
    own = {scene.objects[i].attributes.get(name, "?") for name in names}
    looks = [{scene.objects[j].attributes.get(name, "?") for name in names} for j in members - {i}]
    return 0 if "?" in own else sum(look == own for look in looks)


def _count_mates(scene: Scene, i: int, members: set[int], names: list[str]) -> int:
    """How many others do not surely look different."""
    pairs = ([[scene.objects[k].attributes.get(name) for k in (i, j)] for name in names] for j in members - {i})
    return sum(not any(None not in facts and facts[0] != facts[1] for facts in pair) for pair in pairs)


def _stand_in_line(scene: Scene, members: set[int], axis: int) -> bool:
    along, across = (
        max(_center(scene, i, one) for i in members) - min(_center(scene, i, one) for i in members)
        for one in (axis, 1 - axis)
    )
    return 100 * across <= (70 if len(members) == 3 else 35) * along


def _middle(scene: Scene, members: set[int]) -> set[int]:
    if len(members) % 2 == 0 or len(members) < 3:
        return set()
    medians, spreads = [], []
    for axis in (0, 1):
        order = sorted(members, key=lambda i: _center(scene, i, axis))
        half = len(order) // 2
        every = [(a, b) for a, b in combinations(range(len(order)), 2) if not half < a and not b < half]
        lower = [(a, b) for a, b in combinations(range(len(order)), 2) if a <= half]
        upper = [(a, b) for a, b in combinations(range(len(order)), 2) if b >= half]
        clear = all(_apart(scene, order[a], order[b], axis) for a, b in {*every, *lower, *upper})
        medians.append(order[half] if clear else None)
        spreads.append(_center(scene, order[-1], axis) - _center(scene, order[0], axis))
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
        percent = [Fraction(100 * _center(scene, i, axis), _extent(scene, axis)) for axis in (0, 1)]
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


def _size(scene: Scene, i: int, axis: int) -> int:
    """In 64ths of a pixel."""
    low, high = _edges(scene, i, axis)
    return high - low


def _line(scene: Scene, members: set[int], side: str, rank: int) -> set[int]:
    """Sort along the axis, cut where centers are far apart; then every pair has to fit the cuts."""
    axis = AXES[side]
    order = sorted(members, key=lambda i: _center(scene, i, axis), reverse=side in ("right", "bottom"))

    def share(i: int, j: int) -> Fraction:
        sizes = _size(scene, i, axis) + _size(scene, j, axis)  # the mean in 128ths, as centers are
        return Fraction(abs(_center(scene, i, axis) - _center(scene, j, axis)), sizes)

    lines: list[list[int]] = []
    for i in order:
        if lines and share(lines[-1][-1], i) < Fraction(3, 4):
            lines[-1].append(i)
        else:
            lines.append([i])
    if len(lines) < max(2, rank) or any(len(line) < 2 for line in lines):
        return set()
    number = {i: n for n, line in enumerate(lines) for i in line}
    for i, j in combinations(order, 2):
        one = number[i] == number[j]
        if one and not (share(i, j) <= Fraction(1, 4) and _apart(scene, i, j, 1 - axis)):
            return set()
        if not one and share(i, j) < Fraction(3, 4):
            return set()
    return set(lines[rank - 1])


def _superlative(scene: Scene, members: set[int], measure: str) -> set[int]:
    def amount(i: int) -> int:
        height = _size(scene, i, 1)
        return height if measure in ("tallest", "shortest") else height * _size(scene, i, 0)

    ratio = Fraction(5, 4) if measure in ("tallest", "shortest") else Fraction(3, 2)
    order = sorted(members, key=amount, reverse=measure in ("biggest", "tallest"))
    if len(order) < 2 or any(one.kind == "in" and one.object_index in members for one in scene.contacts):
        return set()
    first, second = sorted((amount(order[0]), amount(order[1])))
    return {order[0]} if second >= ratio * first else set()


def _is_in_front(scene: Scene, i: int, j: int) -> bool:
    lower = _edges(scene, i, 1)[1] - _edges(scene, j, 1)[1]
    alike = scene.objects[i].category == scene.objects[j].category
    far = 100 * lower >= 6 * 64 * scene.height
    return scene.perspective and alike and far and 4 * _size(scene, i, 1) >= 5 * _size(scene, j, 1)


def _depth(scene: Scene, members: set[int], place: str) -> set[int]:
    if len(members) < 2:
        return set()
    wins = {i: [j for j in members if j != i and _is_in_front(scene, i, j)] for i in members}
    losses = {i: [j for j in members if j != i and _is_in_front(scene, j, i)] for i in members}
    counted = wins if place == "front" else losses
    return {i for i in members if len(counted[i]) == len(members) - 1}


def _touch(scene: Scene, i: int, anchor: int, kind: str) -> str:
    """Look the contact up; without one, a gap of an eighth of the smaller one's width plus height says no."""
    if any((one.kind, one.object_index, one.anchor_index) == (kind, i, anchor) for one in scene.contacts):
        return "yes"
    girth = min(_size(scene, k, 0) + _size(scene, k, 1) for k in (i, anchor))
    is_far = 64 * _gap2(scene, i, anchor) >= girth**2
    return "no" if is_far and i in scene.placed and anchor in scene.placed else "unclear"


def _direction(scene: Scene, i: int, anchor: int, direction: str) -> str:
    if direction in ("on", "in"):
        return _touch(scene, i, anchor, direction)
    if direction in ("front", "behind"):
        nearer, farther = _is_in_front(scene, i, anchor), _is_in_front(scene, anchor, i)
        if nearer == farther:
            return "unclear"
        return "yes" if nearer == (direction == "front") else "no"
    axis = 0 if direction in ("left", "right") else 1
    sign = 1 if direction in ("left", "above") else -1
    along = sign * (_center(scene, anchor, axis) - _center(scene, i, axis))
    aside = abs(_center(scene, anchor, 1 - axis) - _center(scene, i, 1 - axis))
    if along <= 0 or aside >= 3 * along:
        return "no"
    (low, high), (anchor_low, anchor_high) = _edges(scene, i, axis), _edges(scene, anchor, axis)
    is_past = high <= anchor_low if sign == 1 else low >= anchor_high
    return "yes" if is_past and _apart(scene, i, anchor, axis) and 8 * aside <= 5 * along else "unclear"


def _distance2(scene: Scene, i: int, j: int) -> int:
    """In 128ths of a pixel, squared."""
    return sum((_center(scene, i, axis) - _center(scene, j, axis)) ** 2 for axis in (0, 1))


def _gap2(scene: Scene, i: int, j: int) -> int:
    """In 64ths of a pixel, squared."""
    total = 0
    for axis in (0, 1):
        (low, high), (other_low, other_high) = _edges(scene, i, axis), _edges(scene, j, axis)
        total += max(other_low - high, low - other_high, 0) ** 2
    return total


def _adjacency(scene: Scene, i: int, anchor: int) -> str:
    girths = [Fraction(_size(scene, k, 0) + _size(scene, k, 1), 2) for k in (i, anchor)]
    gap2, distance2 = _gap2(scene, i, anchor), Fraction(_distance2(scene, i, anchor), 4)
    if gap2 >= (sum(girths) / 2) ** 2:
        return "no"
    near2 = (min(girths) / 2) ** 2
    across, down = (abs(_center(scene, i, axis) - _center(scene, anchor, axis)) for axis in (0, 1))
    (top, bottom), (other_top, other_bottom) = _edges(scene, i, 1), _edges(scene, anchor, 1)
    height = min(_size(scene, i, 1), _size(scene, anchor, 1))
    is_aside = 2 * (min(bottom, other_bottom) - max(top, other_top)) >= height and down <= across
    return "yes" if gap2 <= near2 <= distance2 and is_aside else "unclear"


def _nearest(scene: Scene, members: set[int], anchor: int) -> set[int]:
    if len(members) < 2:
        return set()
    order = sorted(members, key=lambda i: _distance2(scene, i, anchor))
    near = _distance2(scene, order[0], anchor)
    least = Fraction(6 * 128 * max(scene.width, scene.height), 100) ** 2
    for j in order[1:]:
        far = _distance2(scene, j, anchor)
        if 4 * far < 9 * near or far - near < least or _gap2(scene, j, anchor) < _gap2(scene, order[0], anchor):
            return set()
    return {order[0]}


def _between(scene: Scene, members: set[int], ends: list[int]) -> set[int]:
    """Each object in the frame whose first axis runs from one end to the other, in shares of their distance."""
    if len(ends) != 2:
        return set()
    x1, y1, x2, y2 = (_center(scene, end, axis) for end in ends for axis in (0, 1))
    length2 = (x2 - x1) ** 2 + (y2 - y1) ** 2
    if length2 == 0:
        return set()
    members = members - set(ends)
    verdicts = {}
    for i in members:
        x, y = _center(scene, i, 0) - x1, _center(scene, i, 1) - y1
        along = Fraction(x * (x2 - x1) + y * (y2 - y1), length2)
        off = abs(Fraction(x * (y2 - y1) - y * (x2 - x1), length2))
        if not 0 < along < 1 or off >= Fraction(1, 2):
            verdicts[i] = "no"
        else:
            verdicts[i] = "yes" if abs(along - Fraction(1, 2)) <= Fraction(1, 4) >= off else "unclear"
    return _sorted_out(members, verdicts)
