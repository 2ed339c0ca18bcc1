"""What a relation program selects in a scene.

    run(Ordinal(of=Category(name="cup"), rank=2, side="right"), scene) == {3}    # "second cup from the right"

Every operator knows what is clearly so, what is clearly not, and what is borderline; where anything is borderline it
selects nothing, so nothing is said. Between "clearly so" and "clearly not" lies a gap, so that no pair of objects is
near a threshold (the lesson of CLEVR, Johnson et al., CVPR 2017, section 3: margins exceed thresholds).

``evaluate_program(..., noise=0.03)`` also demands that the answer stays the same whenever each edge of each box
moves by up to 3 %
of the box's size. It is interval arithmetic, not sampling: operators only use comparisons that must hold, and with
noise each has to hold in its worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from augmentation.relations.geometry import AXIS, Axis, Geometry
from augmentation.relations.interval import ZERO, Interval, make_exact, minimum
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    DepthPosition,
    Direction,
    Extreme,
    Line,
    Measure,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Program,
    Region,
    RegionName,
    Side,
    Superlative,
    WithAttribute,
)
from augmentation.relations.scene import Scene

MAX_ROW_SPREAD = 0.7
"""Objects form a row (or a column) if their centers spread at most this share as far across it as along it."""

MAX_LONG_ROW_SPREAD = 0.35
"""The same where four or more are counted, which people else count row by row."""

IN_REGION, OUT_OF_REGION = 0.36, 0.5
"""A center within the first 36 % counts from a side is on that side, from 50 % on it is not."""

IN_MIDDLE, OUT_OF_MIDDLE = 0.12, 0.25
"""The same for the image's middle: distance of the center from the image's, as a share of its extent."""

IN_LINE, OUT_OF_LINE = 0.25, 0.75
"""Centers that differ by at most a quarter of the mean size are in one row, from three quarters on they are not."""

LARGER, TALLER = 1.5, 1.25
"""How many times the area of every other object the biggest has, and how many times the height the tallest."""

MAX_LATERAL_OFFSET, MIN_EXCLUDED_LATERAL_OFFSET = 0.625, 3.0
"""What is left of something lies at most 0.625 times as far above or below it as left of it; what does so 3 times as
far is above or below it. In between nothing is said, though strict readers count all that is further left."""

NEXT_TO, NOT_NEXT_TO = 0.5, 1.0
"""Objects are next to each other if their gap is at most half the size of the smaller one and they are rather beside
than above each other, and are not if the gap is at least the mean size of both."""

NEARER = 1.5
"""How many times as far away every other object is than the nearest."""

IN_BETWEEN, NOT_IN_BETWEEN = 0.25, 0.5
"""What is between two objects is at most a quarter of their distance off the line through both, and at least a quarter
away from each end of it; from half off the line on it is not between them."""

MIN_FOOT_GAP = 0.06
"""Of two objects on one ground the nearer one reaches this share of the image's height lower."""

_OPPOSITE: Mapping[Side, Side] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_SIDE_OF_DIRECTION: Mapping[Direction, Side] = {"left": "left", "right": "right", "above": "top", "below": "bottom"}

Selection = frozenset[int]
EMPTY: Selection = frozenset()
_Test = Callable[[int], bool | None]
"""Whether something is so of a object; None where that is borderline."""


def evaluate_program(program: Program, scene: Scene, noise: float = 0.0) -> Selection:
    """Indices of the objects that the program means; empty where that is nothing, or not clear.

    Args:
        noise: how far each edge of each box may move, as a share of the box's size along that axis, without any
            change of the answer.
    """
    return ProgramEvaluator(scene, noise)(program)


class ProgramEvaluator:
    """Runs programs on one scene, each part that they share once.

    Args:
        lenient: take in what is borderline, instead of saying nothing where anything is: what a hearer might mean.
    """

    def __init__(self, scene: Scene, noise: float = 0.0, *, include_borderline: bool = False) -> None:
        self._scene = scene
        self._geometry = Geometry(scene, noise)
        self._include_borderline = include_borderline
        self._cache: dict[Program, Selection] = {}

    def __call__(self, program: Program) -> Selection:
        """As ``evaluate_program``."""
        if program not in self._cache:
            self._cache[program] = self._evaluate(program)
        return self._cache[program]

    def _evaluate(self, program: Program) -> Selection:
        geometry = self._geometry
        match program:
            case Category(name=name):
                return frozenset(i for i, obj in enumerate(self._scene.objects) if obj.category == name)
            case WithAttribute(base=base, attribute=attribute, value=value):
                return self._select(self(base), _make_attribute_test(self._scene, attribute, value))
            case Extreme(base=base, side=side):
                return _find_nth(geometry, self(base), side, 1) if len(self(base)) >= 2 else EMPTY
            case Ordinal(base=base, rank=rank, side=side):
                return _select_ordinal(geometry, self(base), side, rank)
            case Middle(base=base):
                return _select_middle(geometry, self(base))
            case Region(base=base, region=region):
                return self._select(self(base), _make_region_test(geometry, region))
            case Line(base=base, rank=rank, side=side):
                return _select_line(geometry, self(base), side, rank)
            case Superlative(base=base, measure=measure):
                return _find_best(self(base), _make_measure_comparator(geometry, measure))
            case Depth(base=base, position=position):
                return _find_best(self(base), _make_depth_comparator(geometry, position))
            case Between(base=base, ends=ends):
                return self._evaluate_between(base, sorted(self(ends)))
            case Beside() | NextTo() | Nearest():
                return self._evaluate_relation(program)

    def _evaluate_relation(self, program: Beside | NextTo | Nearest) -> Selection:
        """To a single object, which is itself not meant."""
        anchors = self(program.anchor)
        if len(anchors) != 1:
            return EMPTY
        (anchor,) = anchors
        members = self(program.base) - anchors
        match program:
            case Beside(direction=direction):
                return self._select(members, _make_side_test(self._geometry, anchor, direction))
            case NextTo():
                return self._select(members, _make_adjacency_test(self._geometry, anchor))
            case Nearest():
                return _find_best(members, _make_distance_comparator(self._geometry, anchor))

    def _evaluate_between(self, base: Program, ends: list[int]) -> Selection:
        if len(ends) != 2:
            return EMPTY
        return self._select(self(base) - frozenset(ends), _make_between_test(self._geometry, *ends))

    def _select(self, members: Selection, test: _Test) -> Selection:
        """The members of which it is so, if of every other one it is clearly not."""
        verdicts = {i: test(i) for i in members}
        if self._include_borderline:
            return frozenset(i for i in members if verdicts[i] is not False)
        return EMPTY if None in verdicts.values() else frozenset(i for i in members if verdicts[i])


def _find_best(members: Selection, is_ahead: Callable[[int, int], bool]) -> Selection:
    """The one of at least two that beats every other."""
    if len(members) < 2:
        return EMPTY
    return frozenset(i for i in members if all(is_ahead(i, j) for j in members if j != i))


def _make_attribute_test(scene: Scene, attribute: str, value: str) -> _Test:
    def test(i: int) -> bool | None:
        fact = scene.objects[i].attributes.get(attribute)
        return None if fact is None else fact == value

    return test


def _find_nth(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """Take the clearly first one away, again and again; the ``rank``-th taken is meant."""
    left = members
    first = EMPTY
    for _ in range(rank):
        first = frozenset(i for i in left if all(geometry.is_clearly_before(i, j, side) for j in left if j != i))
        if not first:
            return EMPTY
        left -= first
    return first


def _select_ordinal(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """Only in a row or a column: elsewhere people count otherwise, and the first is to them just "left"."""
    max_spread = MAX_ROW_SPREAD if len(members) < 4 else MAX_LONG_ROW_SPREAD
    if len(members) > 2 and not _is_line(geometry, members, AXIS[side], max_spread):
        return EMPTY
    return _find_nth(geometry, members, side, rank)


def _select_middle(geometry: Geometry, members: Selection) -> Selection:
    if len(members) < 3 or len(members) % 2 == 0:
        return EMPTY
    in_row, in_column = _find_median(geometry, members, "left"), _find_median(geometry, members, "top")
    if in_row == in_column or _is_line(geometry, members, 0, MAX_ROW_SPREAD):
        return in_row
    return in_column if _is_line(geometry, members, 1, MAX_ROW_SPREAD) else EMPTY


def _find_median(geometry: Geometry, members: Selection, side: Side) -> Selection:
    """The middle one along an axis, clearly in order with all before and all behind it."""
    rank = len(members) // 2 + 1
    return _find_nth(geometry, members, side, rank) & _find_nth(geometry, members, _OPPOSITE[side], rank)


def _is_line(geometry: Geometry, members: Selection, along: Axis, max_spread: float) -> bool:
    across: Axis = 1 if along == 0 else 0
    spreads = _compute_center_distances(geometry, members, across)
    far = [one.scale(max_spread) for one in _compute_center_distances(geometry, members, along)]
    return all(any(one.is_certainly_le(other) for other in far) for one in spreads)


def _compute_center_distances(geometry: Geometry, members: Selection, axis: Axis) -> list[Interval]:
    return [geometry.center_distance(i, j, axis) for i, j in combinations(sorted(members), 2)]


def _make_region_test(geometry: Geometry, region: RegionName) -> _Test:
    if region == "middle":
        return _make_middle_test(geometry)
    extent = geometry.extent_px(AXIS[region])
    inner, outer = make_exact(IN_REGION * extent), make_exact(OUT_OF_REGION * extent)

    def test(i: int) -> bool | None:
        offset = geometry.distance_from_side(i, region)
        return True if offset.is_certainly_le(inner) else False if outer.is_certainly_le(offset) else None

    return test


def _make_middle_test(geometry: Geometry) -> _Test:
    def offset(i: int, axis: Axis) -> Interval:
        return abs(geometry.center(i, axis) - make_exact(geometry.extent_px(axis) / 2))

    def test(i: int) -> bool | None:
        axes: tuple[Axis, Axis] = (0, 1)
        if all(offset(i, axis).is_certainly_le(make_exact(IN_MIDDLE * geometry.extent_px(axis))) for axis in axes):
            return True
        out = any(
            make_exact(OUT_OF_MIDDLE * geometry.extent_px(axis)).is_certainly_le(offset(i, axis)) for axis in axes
        )
        return False if out else None

    return test


def _select_line(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """The rank-th of at least two lines, of which each holds at least two objects that stand clearly in order."""
    lines = _find_lines(geometry, members, side)
    if len(lines) < 2 or rank > len(lines) or not all(_is_in_order(geometry, line, side) for line in lines):
        return EMPTY
    lines.sort(key=lambda line: min(geometry.distance_from_side(i, side).center for i in line))
    return lines[rank - 1]


def _find_lines(geometry: Geometry, members: Selection, side: Side) -> list[Selection]:
    """The members by lines; none where two of them neither clearly share a line nor clearly do not."""
    axis, mates = AXIS[side], {i: {i} for i in members}
    for i, j in combinations(sorted(members), 2):
        center_distance, size = geometry.center_distance(i, j, axis), geometry.mean_size(i, j, axis)
        if center_distance.is_certainly_le(size.scale(IN_LINE)):
            mates[i].add(j)
            mates[j].add(i)
        elif not size.scale(OUT_OF_LINE).is_certainly_le(center_distance):
            return []
    lines = {frozenset(line) for line in mates.values()}
    return list(lines) if sum(map(len, lines)) == len(members) else []


def _is_in_order(geometry: Geometry, line: Selection, side: Side) -> bool:
    along: Side = "top" if AXIS[side] == 0 else "left"
    return len(line) >= 2 and all(
        geometry.is_clearly_before(i, j, along) or geometry.is_clearly_before(j, i, along)
        for i, j in combinations(line, 2)
    )


def _make_measure_comparator(geometry: Geometry, measure: Measure) -> Callable[[int, int], bool]:
    by_area = measure in ("biggest", "smallest")

    def is_ahead(i: int, j: int) -> bool:
        more, less = (i, j) if measure in ("biggest", "tallest") else (j, i)
        if by_area:
            return geometry.area(less).scale(LARGER).is_certainly_le(geometry.area(more))
        return _is_taller(geometry, more, less)

    return is_ahead


def _is_taller(geometry: Geometry, i: int, j: int) -> bool:
    return geometry.size(j, 1).scale(TALLER).is_certainly_le(geometry.size(i, 1))


def _is_in_front(geometry: Geometry, i: int, j: int) -> bool:
    """Whether ``i`` stands nearer than ``j``, by the cue of ``Depth``."""
    objects = geometry.scene.objects
    if not geometry.scene.perspective or objects[i].category != objects[j].category:
        return False
    lower = geometry.end(i, 1) - geometry.end(j, 1)
    return make_exact(MIN_FOOT_GAP * geometry.extent_px(1)).is_certainly_le(lower) and _is_taller(geometry, i, j)


def _make_depth_comparator(geometry: Geometry, position: DepthPosition) -> Callable[[int, int], bool]:
    return lambda i, j: _is_in_front(geometry, i, j) if position == "front" else _is_in_front(geometry, j, i)


def _make_side_test(geometry: Geometry, anchor: int, direction: Direction) -> _Test:
    if direction in ("front", "behind"):
        return _make_depth_test(geometry, anchor, direction)
    side = _SIDE_OF_DIRECTION[direction]
    axis = AXIS[side]
    across: Axis = 1 if axis == 0 else 0

    def test(i: int) -> bool | None:
        along = geometry.distance_from_side(anchor, side) - geometry.distance_from_side(i, side)
        aside = geometry.center_distance(i, anchor, across)
        if along.is_certainly_le(ZERO) or along.scale(MIN_EXCLUDED_LATERAL_OFFSET).is_certainly_le(aside):
            return False
        is_past = ZERO.is_certainly_le(_compute_edge_gap(geometry, i, anchor, side))
        is_clear = geometry.is_clearly_before(i, anchor, side) and aside.is_certainly_le(
            along.scale(MAX_LATERAL_OFFSET)
        )
        return True if is_past and is_clear else None

    return test


def _compute_edge_gap(geometry: Geometry, i: int, anchor: int, side: Side) -> Interval:
    """From the object's edge to the anchor's, negative where they overlap along the axis."""
    axis = AXIS[side]
    if side in ("left", "top"):
        return geometry.start(anchor, axis) - geometry.end(i, axis)
    return geometry.start(i, axis) - geometry.end(anchor, axis)


def _make_depth_test(geometry: Geometry, anchor: int, direction: Direction) -> _Test:
    def test(i: int) -> bool | None:
        nearer, farther = _is_in_front(geometry, i, anchor), _is_in_front(geometry, anchor, i)
        return None if nearer == farther else nearer == (direction == "front")

    return test


def _make_adjacency_test(geometry: Geometry, anchor: int) -> _Test:
    def test(i: int) -> bool | None:
        own, other, squared_gap = geometry.mean_side(i), geometry.mean_side(anchor), geometry.squared_gap(i, anchor)
        near = minimum(own, other).scale(NEXT_TO)
        far = (own + other).scale(NOT_NEXT_TO / 2)
        if (far * far).is_certainly_le(squared_gap):
            return False
        is_apart = (near * near).is_certainly_le(geometry.squared_distance(i, anchor))  # and not upon it
        is_aside = geometry.center_distance(i, anchor, 1).is_certainly_le(
            geometry.center_distance(i, anchor, 0)
        )  # and not above or below it
        return True if squared_gap.is_certainly_le(near * near) and is_apart and is_aside else None

    return test


def _make_distance_comparator(geometry: Geometry, anchor: int) -> Callable[[int, int], bool]:
    min_px = 0.06 * max(geometry.extent_px(0), geometry.extent_px(1))

    def is_ahead(i: int, j: int) -> bool:
        near, far = geometry.squared_distance(i, anchor), geometry.squared_distance(j, anchor)
        is_nearer = near.scale(NEARER**2).is_certainly_le(far) and make_exact(min_px**2).is_certainly_le(far - near)
        return is_nearer and geometry.squared_gap(i, anchor).is_certainly_le(geometry.squared_gap(j, anchor))

    return is_ahead


def _make_between_test(geometry: Geometry, first: int, second: int) -> _Test:
    """Whether objects are between two: by their place along the line through both, and how far off it they are."""

    def compute_vector(i: int) -> tuple[Interval, Interval]:
        return geometry.center(i, 0) - geometry.center(first, 0), geometry.center(i, 1) - geometry.center(first, 1)

    line = compute_vector(second)
    length2 = line[0] * line[0] + line[1] * line[1]

    def test(i: int) -> bool | None:
        own = compute_vector(i)
        along = own[0] * line[0] + own[1] * line[1]
        offset = abs(own[0] * line[1] - own[1] * line[0])
        if (
            along.is_certainly_le(ZERO)
            or length2.is_certainly_le(along)
            or length2.scale(NOT_IN_BETWEEN).is_certainly_le(offset)
        ):
            return False
        is_inside = length2.scale(IN_BETWEEN).is_certainly_le(along) and along.is_certainly_le(
            length2.scale(1 - IN_BETWEEN)
        )
        return True if is_inside and offset.is_certainly_le(length2.scale(IN_BETWEEN)) else None

    return test
