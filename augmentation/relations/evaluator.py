"""What a relation program selects in a scene.

    run(Ordinal(of=Category(name="cup"), rank=2, side="right"), scene) == {3}    # "second cup from the right"

Every operator knows what is clearly so, what is clearly not, and what is borderline; where anything is borderline it
selects nothing, so nothing is said. Between "clearly so" and "clearly not" lies a gap, so that no pair of things is
near a threshold (the lesson of CLEVR, Johnson et al., CVPR 2017, section 3: margins exceed thresholds).

``run(..., noise=0.03)`` also demands that the answer stays the same whenever each edge of each box moves by up to 3 %
of the box's size. It is interval arithmetic, not sampling: operators only use comparisons that must hold, and with
noise each has to hold in its worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from augmentation.relations.geometry import AXIS, Axis, Geometry
from augmentation.relations.interval import ZERO, Interval, exactly, smaller
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    Direction,
    Extreme,
    Line,
    Measure,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Place,
    Program,
    Region,
    RegionName,
    Side,
    Superlative,
    WithAttribute,
)
from augmentation.relations.scene import Scene

MOST_SPREAD_ACROSS = 0.7
"""Things form a row (or a column) if their centres spread at most this share as far across it as along it."""

MOST_SPREAD_OF_FOUR = 0.35
"""The same where four or more are counted, which people else count row by row."""

IN_REGION, OUT_OF_REGION = 0.36, 0.5
"""A centre within the first 36 % counts from a side is on that side, from 50 % on it is not."""

IN_MIDDLE, OUT_OF_MIDDLE = 0.12, 0.25
"""The same for the picture's middle: distance of the centre from the picture's, as a share of its extent."""

IN_LINE, OUT_OF_LINE = 0.25, 0.75
"""Centres that differ by at most a quarter of the mean size are in one row, from three quarters on they are not."""

LARGER, TALLER = 1.5, 1.25
"""How many times the area of every other thing the biggest has, and how many times the height the tallest."""

MOST_ASIDE, LEAST_ASIDE = 0.625, 3.0
"""What is left of something lies at most 0.625 times as far above or below it as left of it; what does so 3 times as
far is above or below it. In between nothing is said, though strict readers count all that is further left."""

NEXT_TO, NOT_NEXT_TO = 0.5, 1.0
"""Things are next to each other if their gap is at most half the size of the smaller one and they are rather beside
than above each other, and are not if the gap is at least the mean size of both."""

NEARER = 1.5
"""How many times as far away every other thing is than the nearest."""

IN_BETWEEN, NOT_IN_BETWEEN = 0.25, 0.5
"""What is between two things is at most a quarter of their distance off the line through both, and at least a quarter
away from each end of it; from half off the line on it is not between them."""

LEAST_GAP_OF_FEET = 0.06
"""Of two things on one ground the nearer one reaches this share of the picture's height lower."""

_OPPOSITE: Mapping[Side, Side] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_TOWARDS: Mapping[Direction, Side] = {"left": "left", "right": "right", "above": "top", "below": "bottom"}

Selection = frozenset[int]
NOTHING: Selection = frozenset()
_Test = Callable[[int], bool | None]
"""Whether something is so of a thing; None where that is borderline."""


def run(program: Program, scene: Scene, noise: float = 0.0) -> Selection:
    """Indices of the things that the program means; empty where that is nothing, or not clear.

    Args:
        noise: how far each edge of each box may move, as a share of the box's size along that axis, without any
            change of the answer.
    """
    return Reader(scene, noise)(program)


class Reader:
    """Runs programs on one scene, each part that they share once.

    Args:
        lenient: take in what is borderline, instead of saying nothing where anything is: what a hearer might mean.
    """

    def __init__(self, scene: Scene, noise: float = 0.0, *, lenient: bool = False) -> None:
        self._scene = scene
        self._geometry = Geometry(scene, noise)
        self._lenient = lenient
        self._known: dict[Program, Selection] = {}

    def __call__(self, program: Program) -> Selection:
        """As ``run``."""
        if program not in self._known:
            self._known[program] = self._read(program)
        return self._known[program]

    def _read(self, program: Program) -> Selection:
        geometry = self._geometry
        match program:
            case Category(name=name):
                return frozenset(i for i, thing in enumerate(self._scene.things) if thing.category == name)
            case WithAttribute(of=of, kind=kind, value=value):
                return self._those(self(of), _has(self._scene, kind, value))
            case Extreme(of=of, side=side):
                return _nth(geometry, self(of), side, 1) if len(self(of)) >= 2 else NOTHING
            case Ordinal(of=of, rank=rank, side=side):
                return _ordinal(geometry, self(of), side, rank)
            case Middle(of=of):
                return _middle(geometry, self(of))
            case Region(of=of, region=region):
                return self._those(self(of), _in_region(geometry, region))
            case Line(of=of, rank=rank, side=side):
                return _line(geometry, self(of), side, rank)
            case Superlative(of=of, measure=measure):
                return _best(self(of), _clearly_more(geometry, measure))
            case Depth(of=of, place=place):
                return _best(self(of), _clearly_nearer(geometry, place))
            case Between(of=of, ends=ends):
                return self._between(of, sorted(self(ends)))
            case Beside() | NextTo() | Nearest():
                return self._related(program)

    def _related(self, program: Beside | NextTo | Nearest) -> Selection:
        """To a single thing, which is itself not meant."""
        anchors = self(program.anchor)
        if len(anchors) != 1:
            return NOTHING
        (anchor,) = anchors
        members = self(program.of) - anchors
        match program:
            case Beside(direction=direction):
                return self._those(members, _on_side_of(self._geometry, anchor, direction))
            case NextTo():
                return self._those(members, _next_to(self._geometry, anchor))
            case Nearest():
                return _best(members, _clearly_nearer_to(self._geometry, anchor))

    def _between(self, of: Program, ends: list[int]) -> Selection:
        if len(ends) != 2:
            return NOTHING
        return self._those(self(of) - frozenset(ends), _within(self._geometry, *ends))

    def _those(self, members: Selection, test: _Test) -> Selection:
        """The members of which it is so, if of every other one it is clearly not."""
        found = {i: test(i) for i in members}
        if self._lenient:
            return frozenset(i for i in members if found[i] is not False)
        return NOTHING if None in found.values() else frozenset(i for i in members if found[i])


def _best(members: Selection, beats: Callable[[int, int], bool]) -> Selection:
    """The one of at least two that beats every other."""
    if len(members) < 2:
        return NOTHING
    return frozenset(i for i in members if all(beats(i, j) for j in members if j != i))


def _has(scene: Scene, kind: str, value: str) -> _Test:
    def test(i: int) -> bool | None:
        fact = scene.things[i].attributes.get(kind)
        return None if fact is None else fact == value

    return test


def _nth(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """Take the clearly first one away, again and again; the ``rank``-th taken is meant."""
    left = members
    first = NOTHING
    for _ in range(rank):
        first = frozenset(i for i in left if all(geometry.clearly_before(i, j, side) for j in left if j != i))
        if not first:
            return NOTHING
        left -= first
    return first


def _ordinal(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """Only in a row or a column: elsewhere people count otherwise, and the first is to them just "left"."""
    most_spread = MOST_SPREAD_ACROSS if len(members) < 4 else MOST_SPREAD_OF_FOUR
    if len(members) > 2 and not _is_line(geometry, members, AXIS[side], most_spread):
        return NOTHING
    return _nth(geometry, members, side, rank)


def _middle(geometry: Geometry, members: Selection) -> Selection:
    if len(members) < 3 or len(members) % 2 == 0:
        return NOTHING
    in_row, in_column = _median(geometry, members, "left"), _median(geometry, members, "top")
    if in_row == in_column or _is_line(geometry, members, 0, MOST_SPREAD_ACROSS):
        return in_row
    return in_column if _is_line(geometry, members, 1, MOST_SPREAD_ACROSS) else NOTHING


def _median(geometry: Geometry, members: Selection, side: Side) -> Selection:
    """The middle one along an axis, clearly in order with all before and all behind it."""
    rank = len(members) // 2 + 1
    return _nth(geometry, members, side, rank) & _nth(geometry, members, _OPPOSITE[side], rank)


def _is_line(geometry: Geometry, members: Selection, along: Axis, most_spread: float) -> bool:
    across: Axis = 1 if along == 0 else 0
    wide = _apart(geometry, members, across)
    far = [one.scaled(most_spread) for one in _apart(geometry, members, along)]
    return all(any(one.at_most(other) for other in far) for one in wide)


def _apart(geometry: Geometry, members: Selection, axis: Axis) -> list[Interval]:
    return [geometry.apart(i, j, axis) for i, j in combinations(sorted(members), 2)]


def _in_region(geometry: Geometry, region: RegionName) -> _Test:
    if region == "middle":
        return _in_middle(geometry)
    extent = geometry.extent_px(AXIS[region])
    inner, outer = exactly(IN_REGION * extent), exactly(OUT_OF_REGION * extent)

    def test(i: int) -> bool | None:
        off = geometry.from_side(i, region)
        return True if off.at_most(inner) else False if outer.at_most(off) else None

    return test


def _in_middle(geometry: Geometry) -> _Test:
    def off(i: int, axis: Axis) -> Interval:
        return abs(geometry.centre(i, axis) - exactly(geometry.extent_px(axis) / 2))

    def test(i: int) -> bool | None:
        axes: tuple[Axis, Axis] = (0, 1)
        if all(off(i, axis).at_most(exactly(IN_MIDDLE * geometry.extent_px(axis))) for axis in axes):
            return True
        out = any(exactly(OUT_OF_MIDDLE * geometry.extent_px(axis)).at_most(off(i, axis)) for axis in axes)
        return False if out else None

    return test


def _line(geometry: Geometry, members: Selection, side: Side, rank: int) -> Selection:
    """The rank-th of at least two lines, of which each holds at least two things that stand clearly in order."""
    lines = _lines(geometry, members, side)
    if len(lines) < 2 or rank > len(lines) or not all(_is_in_order(geometry, line, side) for line in lines):
        return NOTHING
    lines.sort(key=lambda line: min(geometry.from_side(i, side).middle for i in line))
    return lines[rank - 1]


def _lines(geometry: Geometry, members: Selection, side: Side) -> list[Selection]:
    """The members by lines; none where two of them neither clearly share a line nor clearly do not."""
    axis, mates = AXIS[side], {i: {i} for i in members}
    for i, j in combinations(sorted(members), 2):
        apart, size = geometry.apart(i, j, axis), geometry.mean_size(i, j, axis)
        if apart.at_most(size.scaled(IN_LINE)):
            mates[i].add(j)
            mates[j].add(i)
        elif not size.scaled(OUT_OF_LINE).at_most(apart):
            return []
    lines = {frozenset(line) for line in mates.values()}
    return list(lines) if sum(map(len, lines)) == len(members) else []


def _is_in_order(geometry: Geometry, line: Selection, side: Side) -> bool:
    along: Side = "top" if AXIS[side] == 0 else "left"
    return len(line) >= 2 and all(
        geometry.clearly_before(i, j, along) or geometry.clearly_before(j, i, along) for i, j in combinations(line, 2)
    )


def _clearly_more(geometry: Geometry, measure: Measure) -> Callable[[int, int], bool]:
    by_area = measure in ("biggest", "smallest")

    def beats(i: int, j: int) -> bool:
        more, less = (i, j) if measure in ("biggest", "tallest") else (j, i)
        if by_area:
            return geometry.area(less).scaled(LARGER).at_most(geometry.area(more))
        return _taller(geometry, more, less)

    return beats


def _taller(geometry: Geometry, i: int, j: int) -> bool:
    return geometry.size(j, 1).scaled(TALLER).at_most(geometry.size(i, 1))


def _in_front(geometry: Geometry, i: int, j: int) -> bool:
    """Whether ``i`` stands nearer than ``j``, by the cue of ``Depth``."""
    things = geometry.scene.things
    if not geometry.scene.perspective or things[i].category != things[j].category:
        return False
    lower = geometry.end(i, 1) - geometry.end(j, 1)
    return exactly(LEAST_GAP_OF_FEET * geometry.extent_px(1)).at_most(lower) and _taller(geometry, i, j)


def _clearly_nearer(geometry: Geometry, place: Place) -> Callable[[int, int], bool]:
    return lambda i, j: _in_front(geometry, i, j) if place == "front" else _in_front(geometry, j, i)


def _on_side_of(geometry: Geometry, anchor: int, direction: Direction) -> _Test:
    if direction in ("front", "behind"):
        return _in_depth_of(geometry, anchor, direction)
    side = _TOWARDS[direction]
    axis = AXIS[side]
    across: Axis = 1 if axis == 0 else 0

    def test(i: int) -> bool | None:
        along = geometry.from_side(anchor, side) - geometry.from_side(i, side)
        aside = geometry.apart(i, anchor, across)
        if along.at_most(ZERO) or along.scaled(LEAST_ASIDE).at_most(aside):
            return False
        is_past = ZERO.at_most(_edge_gap(geometry, i, anchor, side))
        is_clear = geometry.clearly_before(i, anchor, side) and aside.at_most(along.scaled(MOST_ASIDE))
        return True if is_past and is_clear else None

    return test


def _edge_gap(geometry: Geometry, i: int, anchor: int, side: Side) -> Interval:
    """From the thing's edge to the anchor's, negative where they overlap along the axis."""
    axis = AXIS[side]
    if side in ("left", "top"):
        return geometry.start(anchor, axis) - geometry.end(i, axis)
    return geometry.start(i, axis) - geometry.end(anchor, axis)


def _in_depth_of(geometry: Geometry, anchor: int, direction: Direction) -> _Test:
    def test(i: int) -> bool | None:
        nearer, farther = _in_front(geometry, i, anchor), _in_front(geometry, anchor, i)
        return None if nearer == farther else nearer == (direction == "front")

    return test


def _next_to(geometry: Geometry, anchor: int) -> _Test:
    def test(i: int) -> bool | None:
        own, other, gap2 = geometry.girth(i), geometry.girth(anchor), geometry.gap2(i, anchor)
        near = smaller(own, other).scaled(NEXT_TO)
        far = (own + other).scaled(NOT_NEXT_TO / 2)
        if (far * far).at_most(gap2):
            return False
        is_apart = (near * near).at_most(geometry.distance2(i, anchor))  # and not upon it
        is_aside = geometry.apart(i, anchor, 1).at_most(geometry.apart(i, anchor, 0))  # and not above or below it
        return True if gap2.at_most(near * near) and is_apart and is_aside else None

    return test


def _clearly_nearer_to(geometry: Geometry, anchor: int) -> Callable[[int, int], bool]:
    least_px = 0.06 * max(geometry.extent_px(0), geometry.extent_px(1))

    def beats(i: int, j: int) -> bool:
        near, far = geometry.distance2(i, anchor), geometry.distance2(j, anchor)
        is_nearer = near.scaled(NEARER**2).at_most(far) and exactly(least_px**2).at_most(far - near)
        return is_nearer and geometry.gap2(i, anchor).at_most(geometry.gap2(j, anchor))

    return beats


def _within(geometry: Geometry, first: int, second: int) -> _Test:
    """Whether things are between two: by their place along the line through both, and how far off it they are."""

    def towards(i: int) -> tuple[Interval, Interval]:
        return geometry.centre(i, 0) - geometry.centre(first, 0), geometry.centre(i, 1) - geometry.centre(first, 1)

    line = towards(second)
    length2 = line[0] * line[0] + line[1] * line[1]

    def test(i: int) -> bool | None:
        own = towards(i)
        along = own[0] * line[0] + own[1] * line[1]
        off = abs(own[0] * line[1] - own[1] * line[0])
        if along.at_most(ZERO) or length2.at_most(along) or length2.scaled(NOT_IN_BETWEEN).at_most(off):
            return False
        is_inside = length2.scaled(IN_BETWEEN).at_most(along) and along.at_most(length2.scaled(1 - IN_BETWEEN))
        return True if is_inside and off.at_most(length2.scaled(IN_BETWEEN)) else None

    return test
