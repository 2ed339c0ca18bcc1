"""Evaluation of relation programs: the objects of a scene that a program selects.

    second_cup = p.Ordinal(base=p.Category(name="cup"), rank=2, side="right")
    evaluate_program(second_cup, scene) == {3}    # "second cup from the right"

For every operator an object is clearly in, clearly out, or borderline. If any object is borderline, the operator
selects nothing. Between "in" and "out" lies a gap, so no object is near a threshold (CLEVR, Johnson et al., CVPR 2017,
section 3, has such margins).

With ``noise=0.03`` the selection must stay the same if each edge of each box moves by up to 3 % of the box's size.
Interval arithmetic checks this: every comparison must hold in its worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from augmentation.relations import programs as p
from augmentation.relations.appearance import EMPTY, Selection, select_alike, select_odd
from augmentation.relations.geometry import AXIS, Axis, Geometry
from augmentation.relations.interval import ZERO, Interval, make_exact, minimum
from augmentation.relations.scene import Contact, ContactKind, Scene

MAX_ROW_SPREAD = 0.7
"""Maximum spread of centers across a row or column, as a share of their spread along it."""

MAX_LONG_ROW_SPREAD = 0.35
"""The same maximum for four or more objects; people count more scattered ones row by row."""

IN_REGION, OUT_OF_REGION = 0.36, 0.5
"""Maximum distance of a center from a side to be on that side, and minimum not to be; shares of the image's extent."""

IN_MIDDLE, OUT_OF_MIDDLE = 0.12, 0.25
"""The same limits for the distance from the image's center, along each axis."""

IN_LINE, OUT_OF_LINE = 0.25, 0.75
"""Maximum difference of centers within one row, and minimum between two rows; shares of the mean size."""

LARGER, TALLER = 1.5, 1.25
"""Minimum ratio of the area of the biggest object to any other, and of the height of the tallest."""

MAX_LATERAL_OFFSET, MIN_EXCLUDED_LATERAL_OFFSET = 0.625, 3.0
"""Limits of the vertical offset for "left of", as multiples of the horizontal one (and the reverse for "above").

Up to the first limit an object is left of the anchor, from the second on it is not; in between it is borderline."""

NEXT_TO, NOT_NEXT_TO = 0.5, 1.0
"""Maximum gap of objects that are next to each other, as a share of the smaller one's size, and minimum gap of those
that are not, as a share of the mean size of both."""

MIN_NEXT_TO_OVERLAP = 0.5
"""Minimum vertical overlap of objects that are next to each other, as a share of the smaller one's height; on a
diagonal nobody says "beside"."""

NEARER = 1.5
"""Minimum ratio of the distance of every other object to that of the nearest."""

IN_BETWEEN, NOT_IN_BETWEEN = 0.25, 0.5
"""Maximum offset from the line between two ends to be between them, and minimum not to be; shares of their distance.

An object between them is also at least the first share away from each end, along the line."""

MIN_FOOT_GAP = 0.06
"""Minimum difference of the lower edges of two objects in depth, as a share of the image's height."""

NOT_IN_CONTACT = 0.25
"""Minimum gap of placed objects that are neither on nor in each other, as a share of the smaller one's size."""

OPPOSITE: Mapping[p.Side, p.Side] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
SIDE_OF_DIRECTION: Mapping[p.Direction, p.Side] = {"left": "left", "right": "right", "above": "top", "below": "bottom"}

_Test = Callable[[int], bool | None]
"""Test of an object by its index; None if the object is borderline."""


def evaluate_program(program: p.Program, scene: Scene, noise: float = 0.0) -> Selection:
    """Return the indices of the objects that the program selects; empty if there are none or any is unclear.

    Args:
        program: relation program.
        scene: objects with their boxes and attributes.
        noise: share of the box's size along an axis by which each edge may move without a change of the selection.
    """
    return ProgramEvaluator(scene, noise).evaluate(program)


class ProgramEvaluator:
    """Evaluator of programs on one scene; it evaluates each shared part once.

    Args:
        scene: objects with their boxes and attributes.
        noise: see ``evaluate_program``.
        include_borderline: select borderline objects, too, instead of nothing if there are any. The result then holds
            everything that a person could mean.
    """

    def __init__(self, scene: Scene, noise: float = 0.0, *, include_borderline: bool = False) -> None:
        self._scene = scene
        self._geometry = Geometry(scene, noise)
        self._include_borderline = include_borderline
        self._cache: dict[p.Program, Selection] = {}
        # The box of an object in another one does not tell its size.
        self._hidden = frozenset(one.object_index for one in scene.contacts if one.kind == "in")

    def evaluate(self, program: p.Program) -> Selection:
        """Return the indices of the objects that the program selects; empty if there are none or any is unclear."""
        if program not in self._cache:
            self._cache[program] = self._evaluate(program)
        return self._cache[program]

    def _evaluate(self, program: p.Program) -> Selection:
        geometry = self._geometry
        match program:
            case p.Category(name=name):
                return frozenset(i for i, obj in enumerate(self._scene.objects) if obj.category == name)
            case p.WithAttribute(base=base, attribute=attribute, value=value):
                return self._select(self.evaluate(base), make_attribute_test(self._scene, attribute, value))
            case p.Extreme(base=base, side=side):
                return _find_nth(geometry, self.evaluate(base), side, 1) if len(self.evaluate(base)) >= 2 else EMPTY
            case p.Ordinal(base=base, rank=rank, side=side):
                return _select_ordinal(geometry, self.evaluate(base), side, rank)
            case p.Middle(base=base):
                return _select_middle(geometry, self.evaluate(base))
            case p.Region(base=base, region=region):
                return self._select(self.evaluate(base), make_region_test(geometry, region))
            case p.Line(base=base, rank=rank, side=side):
                return _select_line(geometry, self.evaluate(base), side, rank)
            case p.Superlative(base=base, measure=measure):
                members = self.evaluate(base)
                if not self._include_borderline and not self._hidden.isdisjoint(members):
                    return EMPTY
                return _find_best(members, _make_measure_comparator(geometry, measure))
            case p.Depth(base=base, position="front"):
                return _find_best(self.evaluate(base), lambda i, j: _is_in_front(geometry, i, j))
            case p.Depth(base=base):
                return _find_best(self.evaluate(base), lambda i, j: _is_in_front(geometry, j, i))
            case p.Between(base=base, ends=ends):
                if len(pair := sorted(self.evaluate(ends))) != 2:
                    return EMPTY
                return self._select(self.evaluate(base) - frozenset(pair), make_between_test(geometry, *pair))
            case p.Beside() | p.NextTo() | p.Nearest():
                return self._evaluate_relation(program)
            case p.Without(base=base, attribute=attribute, value=value):
                has = make_attribute_test(self._scene, attribute, value)
                return self._select(self.evaluate(base), lambda i: None if (fact := has(i)) is None else not fact)
            case p.Except(base=base, excluded=excluded):
                out = self.evaluate(excluded)
                return self.evaluate(base) - out if len(out) == 1 and out <= self.evaluate(base) else EMPTY
            case p.Both(base=base, other=other):
                one, two = self.evaluate(base), self.evaluate(other)
                return one | two if len(one) == len(two) == 1 and one != two else EMPTY
            case p.Leading(base=base, count=count, side=side):
                return _select_leading(geometry, self.evaluate(base), side, count)
            case p.Odd(base=base, attribute=name):
                return select_odd(self._scene, self.evaluate(base), name, include_borderline=self._include_borderline)
            case p.Alike(base=base, attribute=name):
                return select_alike(self._scene, self.evaluate(base), name, include_borderline=self._include_borderline)

    def _evaluate_relation(self, program: p.Beside | p.NextTo | p.Nearest) -> Selection:
        """Select by the relation to the anchor, which must be a single object and is not selected itself."""
        anchors = self.evaluate(program.anchor)
        if len(anchors) != 1:
            return EMPTY
        (anchor,) = anchors
        members = self.evaluate(program.base) - anchors
        match program:
            case p.Beside(direction=direction):
                return self._select(members, make_side_test(self._geometry, anchor, direction))
            case p.NextTo():
                return self._select(members, make_adjacency_test(self._geometry, anchor))
            case p.Nearest():
                return _find_best(members, _make_distance_comparator(self._geometry, anchor))

    def _select(self, members: Selection, test: _Test) -> Selection:
        """Return the members that pass the test; empty if any member is borderline."""
        verdicts = {i: test(i) for i in members}
        if self._include_borderline:
            return frozenset(i for i in members if verdicts[i] is not False)
        return EMPTY if None in verdicts.values() else frozenset(i for i in members if verdicts[i])


def _find_best(members: Selection, is_ahead: Callable[[int, int], bool]) -> Selection:
    """Return the member that is ahead of every other; empty if there is none or only one member."""
    if len(members) < 2:
        return EMPTY
    return frozenset(i for i in members if all(is_ahead(i, j) for j in members if j != i))


def make_attribute_test(scene: Scene, attribute: str, value: str) -> _Test:
    def test(i: int) -> bool | None:
        fact = scene.objects[i].attributes.get(attribute)
        return None if fact is None else fact == value

    return test


def _find_nth(geometry: Geometry, members: Selection, side: p.Side, rank: int) -> Selection:
    """Return the ``rank``-th member from a side; empty if any member before it is not clearly in order."""
    left = members
    first = EMPTY
    for _ in range(rank):
        first = frozenset(i for i in left if all(geometry.is_clearly_before(i, j, side) for j in left if j != i))
        if not first:
            return EMPTY
        left -= first
    return first


def _select_leading(geometry: Geometry, members: Selection, side: p.Side, count: int) -> Selection:
    """Return the ``count`` members nearest to a side; empty if any other member is not clearly behind each of them."""
    leading = frozenset(
        i
        for i in members
        if sum(geometry.is_clearly_before(i, j, side) for j in members if j != i) >= len(members) - count
    )
    is_clear = all(geometry.is_clearly_before(i, j, side) for i in leading for j in members - leading)
    return leading if len(leading) == count < len(members) and is_clear else EMPTY


def _select_ordinal(geometry: Geometry, members: Selection, side: p.Side, rank: int) -> Selection:
    """Return the ``rank``-th member of a row or a column; empty for scattered members, which people do not count."""
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


def _find_median(geometry: Geometry, members: Selection, side: p.Side) -> Selection:
    """Return the member in the middle along an axis; it must be clearly in order with every other one."""
    rank = len(members) // 2 + 1
    return _find_nth(geometry, members, side, rank) & _find_nth(geometry, members, OPPOSITE[side], rank)


def _is_line(geometry: Geometry, members: Selection, along: Axis, max_spread: float) -> bool:
    across: Axis = 1 if along == 0 else 0
    spreads = _compute_center_distances(geometry, members, across)
    far = [one.scale(max_spread) for one in _compute_center_distances(geometry, members, along)]
    return all(any(one.is_certainly_le(other) for other in far) for one in spreads)


def _compute_center_distances(geometry: Geometry, members: Selection, axis: Axis) -> list[Interval]:
    return [geometry.center_distance(i, j, axis) for i, j in combinations(sorted(members), 2)]


def make_region_test(geometry: Geometry, region: p.RegionName) -> _Test:
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


def _select_line(geometry: Geometry, members: Selection, side: p.Side, rank: int) -> Selection:
    """Return the ``rank``-th of at least two lines; each must hold at least two objects that are clearly in order."""
    lines = _find_lines(geometry, members, side)
    if len(lines) < 2 or rank > len(lines) or not all(_is_in_order(geometry, line, side) for line in lines):
        return EMPTY
    lines.sort(key=lambda line: min(geometry.distance_from_side(i, side).center for i in line))
    return lines[rank - 1]


def _find_lines(geometry: Geometry, members: Selection, side: p.Side) -> list[Selection]:
    """Group the members into lines; return none if it is unclear for any two of them whether they share a line."""
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


def _is_in_order(geometry: Geometry, line: Selection, side: p.Side) -> bool:
    along: p.Side = "top" if AXIS[side] == 0 else "left"
    return len(line) >= 2 and all(
        geometry.is_clearly_before(i, j, along) or geometry.is_clearly_before(j, i, along)
        for i, j in combinations(line, 2)
    )


def _make_measure_comparator(geometry: Geometry, measure: p.Measure) -> Callable[[int, int], bool]:
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
    """Return whether ``i`` is nearer than ``j``, by the cue of ``Depth``."""
    objects = geometry.scene.objects
    if not geometry.scene.perspective or objects[i].category != objects[j].category:
        return False
    lower = geometry.end(i, 1) - geometry.end(j, 1)
    return make_exact(MIN_FOOT_GAP * geometry.extent_px(1)).is_certainly_le(lower) and _is_taller(geometry, i, j)


def make_side_test(geometry: Geometry, anchor: int, direction: p.Direction) -> _Test:
    if direction in ("front", "behind"):
        return _make_depth_test(geometry, anchor, direction)
    if direction in ("on", "in"):
        return _make_contact_test(geometry, anchor, direction)
    side = SIDE_OF_DIRECTION[direction]
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


def _compute_edge_gap(geometry: Geometry, i: int, anchor: int, side: p.Side) -> Interval:
    """Compute the distance from the object's edge to the anchor's; negative if they overlap along the axis."""
    axis = AXIS[side]
    if side in ("left", "top"):
        return geometry.start(anchor, axis) - geometry.end(i, axis)
    return geometry.start(i, axis) - geometry.end(anchor, axis)


def _make_depth_test(geometry: Geometry, anchor: int, direction: p.Direction) -> _Test:
    def test(i: int) -> bool | None:
        nearer, farther = _is_in_front(geometry, i, anchor), _is_in_front(geometry, anchor, i)
        return None if nearer == farther else nearer == (direction == "front")

    return test


def _make_contact_test(geometry: Geometry, anchor: int, kind: ContactKind) -> _Test:
    """Make a test for objects on or in the anchor; only a composer knows it of the objects that it placed."""
    scene = geometry.scene

    def test(i: int) -> bool | None:
        if Contact(kind=kind, object_index=i, anchor_index=anchor) in scene.contacts:
            return True
        gap_px = minimum(geometry.mean_side(i), geometry.mean_side(anchor)).scale(NOT_IN_CONTACT)
        is_apart = (gap_px * gap_px).is_certainly_le(geometry.squared_gap(i, anchor))
        return False if is_apart and {i, anchor} <= scene.placed else None

    return test


def make_adjacency_test(geometry: Geometry, anchor: int) -> _Test:
    def test(i: int) -> bool | None:
        own, other, squared_gap = geometry.mean_side(i), geometry.mean_side(anchor), geometry.squared_gap(i, anchor)
        near = minimum(own, other).scale(NEXT_TO)
        far = (own + other).scale(NOT_NEXT_TO / 2)
        if (far * far).is_certainly_le(squared_gap):
            return False
        is_apart = (near * near).is_certainly_le(geometry.squared_distance(i, anchor))  # not on top of it
        is_aside = (
            minimum(geometry.size(i, 1), geometry.size(anchor, 1))
            .scale(MIN_NEXT_TO_OVERLAP)
            .is_certainly_le(geometry.overlap(i, anchor, 1))
        ) and geometry.center_distance(i, anchor, 1).is_certainly_le(geometry.center_distance(i, anchor, 0))
        return True if squared_gap.is_certainly_le(near * near) and is_apart and is_aside else None

    return test


def _make_distance_comparator(geometry: Geometry, anchor: int) -> Callable[[int, int], bool]:
    min_px = 0.06 * max(geometry.extent_px(0), geometry.extent_px(1))

    def is_ahead(i: int, j: int) -> bool:
        near, far = geometry.squared_distance(i, anchor), geometry.squared_distance(j, anchor)
        is_nearer = near.scale(NEARER**2).is_certainly_le(far) and make_exact(min_px**2).is_certainly_le(far - near)
        return is_nearer and geometry.squared_gap(i, anchor).is_certainly_le(geometry.squared_gap(j, anchor))

    return is_ahead


def make_between_test(geometry: Geometry, first: int, second: int) -> _Test:
    """Make a test for objects between two, by their position along the line through both and their offset from it."""

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
