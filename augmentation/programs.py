"""A small language of relation programs: what a query means, as something that can be run.

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
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias, cast, get_args

from augmentation.errors import AugmentationError
from augmentation.scene import Scene

Side = Literal["left", "right", "top", "bottom"]
RegionName = Literal["left", "right", "top", "bottom", "middle"]

LEAST_GAP_OF_PICTURE = 0.06
"""Two things are in order along an axis if their centres differ by this share of the picture's extent ..."""

LEAST_GAP_OF_SIZE = 0.4
"""... and by this share of their mean size along that axis."""

MOST_SPREAD_ACROSS = 0.7
"""Things form a row (or a column) if their centres spread at most this share as far across it as along it."""

IN_REGION, OUT_OF_REGION = 0.36, 0.5
"""A centre within the first 36 % counts from a side is on that side, from 50 % on it is not."""

IN_MIDDLE, OUT_OF_MIDDLE = 0.12, 0.25
"""The same for the picture's middle: distance of the centre from the picture's, as a share of its extent."""

_MIRRORED: Mapping[str, Any] = {"left": "right", "right": "left"}


@dataclass(frozen=True, kw_only=True)
class Category:
    """All things of a category."""

    name: str


@dataclass(frozen=True, kw_only=True)
class WithAttribute:
    """Those of ``of`` that have an attribute; nothing if it is unknown of any of them."""

    of: Program
    kind: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """The one of at least two that is clearly nearest to a side: "left cup"."""

    of: Program
    side: Side

    def __post_init__(self) -> None:
        _check_word("side", self.side, get_args(Side))


@dataclass(frozen=True, kw_only=True)
class Ordinal:
    """The one that comes ``rank``-th from a side, everything before it clearly in order: "second cup from the left"."""

    of: Program
    rank: int
    side: Side

    def __post_init__(self) -> None:
        _check_word("side", self.side, get_args(Side))
        if self.rank < 1:
            raise AugmentationError(f"rank counts from 1, got {self.rank}")


@dataclass(frozen=True, kw_only=True)
class Middle:
    """The middle one of an odd number, along a row or a column, or along both axes at once."""

    of: Program


@dataclass(frozen=True, kw_only=True)
class Region:
    """Those in a part of the picture, if every one of ``of`` is clearly in it or clearly not."""

    of: Program
    region: RegionName

    def __post_init__(self) -> None:
        _check_word("region", self.region, get_args(RegionName))


Program: TypeAlias = Category | WithAttribute | Extreme | Ordinal | Middle | Region

_OPERATORS: Mapping[str, type[Any]] = {
    "category": Category,
    "with_attribute": WithAttribute,
    "extreme": Extreme,
    "ordinal": Ordinal,
    "middle": Middle,
    "region": Region,
}
_NAMES = {operator: name for name, operator in _OPERATORS.items()}


def _check_word(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise AugmentationError(f"{what} must be one of {', '.join(known)}, got {value!r}")


def to_json(program: Program) -> dict[str, Any]:
    """JSON values; ``op`` names the operator."""
    record: dict[str, Any] = {"op": _NAMES[type(program)]}
    for field in fields(program):
        value = getattr(program, field.name)
        record[field.name] = to_json(value) if field.name == "of" else value
    return record


def from_json(record: Mapping[str, Any]) -> Program:
    """The inverse of ``to_json``.

    Raises:
        AugmentationError: for an unknown operator, or fields that do not fit it.
    """
    values = dict(record)
    name = values.pop("op", None)
    if name not in _OPERATORS:
        raise AugmentationError(f"program {dict(record)}: unknown operator {name!r}; known are {', '.join(_OPERATORS)}")
    operator = _OPERATORS[name]
    expected = {field.name for field in fields(operator)}
    if set(values) != expected:
        raise AugmentationError(f"program {dict(record)}: {name} takes {sorted(expected)}, got {sorted(values)}")
    if "of" in values:
        values["of"] = from_json(values["of"])
    return cast(Program, operator(**values))


def flip(program: Program) -> Program:
    """The program that means in the mirrored scene what ``program`` means in the scene."""
    match program:
        case Category():
            return program
        case Extreme(of=of, side=side) | Ordinal(of=of, side=side):
            return replace(program, of=flip(of), side=_MIRRORED.get(side, side))
        case Region(of=of, region=region):
            return Region(of=flip(of), region=_MIRRORED.get(region, region))
        case WithAttribute(of=of) | Middle(of=of):
            return replace(program, of=flip(of))


def run(program: Program, scene: Scene, noise: float = 0.0) -> frozenset[int]:
    """Indices of the things that the program means; empty where that is nothing, or not clear.

    Args:
        noise: how far each edge of each box may move, as a share of the box's size along that axis, without any
            change of the answer.
    """
    match program:
        case Category(name=name):
            return frozenset(i for i, thing in enumerate(scene.things) if thing.category == name)
        case WithAttribute(of=of, kind=kind, value=value):
            return _with_attribute(run(of, scene, noise), scene, kind, value)
        case Extreme(of=of, side=side):
            members = run(of, scene, noise)
            return _nth(_View(scene, side, noise), members, 1) if len(members) >= 2 else frozenset()
        case Ordinal(of=of, rank=rank, side=side):
            return _nth(_View(scene, side, noise), run(of, scene, noise), rank)
        case Middle(of=of):
            return _middle(scene, run(of, scene, noise), noise)
        case Region(of=of, region=region):
            return _in_region(scene, run(of, scene, noise), region, noise)


@dataclass(frozen=True)
class _View:
    """The scene along one axis, measured from one side; ``noise`` always counts against what is asked."""

    scene: Scene
    side: Side
    noise: float

    @property
    def extent_px(self) -> int:
        return self.scene.width if self.side in ("left", "right") else self.scene.height

    def size_px(self, i: int) -> float:
        x1, y1, x2, y2 = self.scene.things[i].box_xyxy
        return x2 - x1 if self.side in ("left", "right") else y2 - y1

    def centre_px(self, i: int) -> float:
        """Distance of the centre from the side."""
        x1, y1, x2, y2 = self.scene.things[i].box_xyxy
        centre = (x1 + x2) / 2 if self.side in ("left", "right") else (y1 + y2) / 2
        return centre if self.side in ("left", "top") else self.extent_px - centre

    def slack_px(self, *things: int) -> float:
        """How far the centres of the things can move in all."""
        return self.noise * sum(self.size_px(i) for i in things)

    def clearly_before(self, i: int, j: int) -> bool:
        """Whether ``i`` must be nearer to the side than ``j``."""
        mean_size_px = (1 + 2 * self.noise) * (self.size_px(i) + self.size_px(j)) / 2
        needed_px = max(LEAST_GAP_OF_PICTURE * self.extent_px, LEAST_GAP_OF_SIZE * mean_size_px)
        return self.centre_px(j) - self.centre_px(i) - self.slack_px(i, j) >= needed_px

    def spread_px(self, members: frozenset[int], sign: int) -> float:
        """Largest distance of two centres: at most (``sign`` 1) or at least (-1)."""
        pairs = combinations(sorted(members), 2)
        return max(abs(self.centre_px(i) - self.centre_px(j)) + sign * self.slack_px(i, j) for i, j in pairs)

    def off_centre_px(self, i: int) -> float:
        return abs(self.centre_px(i) - self.extent_px / 2)


def _with_attribute(members: frozenset[int], scene: Scene, kind: str, value: str) -> frozenset[int]:
    facts = {i: scene.things[i].attributes.get(kind) for i in members}
    if None in facts.values():
        return frozenset()
    return frozenset(i for i, fact in facts.items() if fact == value)


def _nth(view: _View, members: frozenset[int], rank: int) -> frozenset[int]:
    """Take the clearly first one away, again and again; the ``rank``-th taken is meant."""
    left = members
    for _ in range(rank):
        first = frozenset(i for i in left if all(view.clearly_before(i, j) for j in left if j != i))
        if not first:
            return frozenset()
        left -= first
    return first


def _middle(scene: Scene, members: frozenset[int], noise: float) -> frozenset[int]:
    if len(members) < 3 or len(members) % 2 == 0:
        return frozenset()
    horizontal, vertical = _View(scene, "left", noise), _View(scene, "top", noise)
    in_row, in_column = _median(scene, members, "left", noise), _median(scene, members, "top", noise)
    if in_row == in_column or _is_line(horizontal, vertical, members):
        return in_row
    return in_column if _is_line(vertical, horizontal, members) else frozenset()


def _median(scene: Scene, members: frozenset[int], side: Side, noise: float) -> frozenset[int]:
    """The middle one along an axis, clearly in order with all before and all behind it."""
    rank = len(members) // 2 + 1
    opposite: Mapping[Side, Side] = {"left": "right", "top": "bottom"}
    from_side = _nth(_View(scene, side, noise), members, rank)
    from_opposite = _nth(_View(scene, opposite[side], noise), members, rank)
    return from_side & from_opposite


def _is_line(along: _View, across: _View, members: frozenset[int]) -> bool:
    return across.spread_px(members, 1) <= MOST_SPREAD_ACROSS * along.spread_px(members, -1)


def _in_region(scene: Scene, members: frozenset[int], region: RegionName, noise: float) -> frozenset[int]:
    is_in, is_out = _middle_tests(scene, noise) if region == "middle" else _side_tests(_View(scene, region, noise))
    inside = frozenset(i for i in members if is_in(i))
    return inside if all(is_out(i) for i in members - inside) else frozenset()


_Test: TypeAlias = Callable[[int], bool]


def _side_tests(view: _View) -> tuple[_Test, _Test]:
    """Whether a thing must be on the side, and whether it must not be."""
    return (
        lambda i: view.centre_px(i) + view.slack_px(i) <= IN_REGION * view.extent_px,
        lambda i: view.centre_px(i) - view.slack_px(i) >= OUT_OF_REGION * view.extent_px,
    )


def _middle_tests(scene: Scene, noise: float) -> tuple[_Test, _Test]:
    views = (_View(scene, "left", noise), _View(scene, "top", noise))
    return (
        lambda i: all(v.off_centre_px(i) + v.slack_px(i) <= IN_MIDDLE * v.extent_px for v in views),
        lambda i: any(v.off_centre_px(i) - v.slack_px(i) >= OUT_OF_MIDDLE * v.extent_px for v in views),
    )
