"""A small language of relation programs: what a query means, as something that can be run.

    Ordinal(of=Category(name="cup"), rank=2, side="right")                      # "second cup from the right"
    Nearest(of=Category(name="cup"), anchor=Category(name="ball"))              # "the cup closest to the ball"

This is the language: its operators, their JSON records and their mirror images.
``augmentation.relations.evaluator.run`` says what a program selects in a scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, cast, get_args

from augmentation.errors import AugmentationError

Side = Literal["left", "right", "top", "bottom"]
RegionName = Literal["left", "right", "top", "bottom", "middle"]
Direction = Literal["left", "right", "above", "below", "front", "behind"]
Measure = Literal["biggest", "smallest", "tallest", "shortest"]
DepthPosition = Literal["front", "back"]


@dataclass(frozen=True, kw_only=True)
class Category:
    """All objects of a category."""

    name: str


@dataclass(frozen=True, kw_only=True)
class WithAttribute:
    """Those of ``base`` that have an attribute; nothing if it is unknown of any of them."""

    base: Program
    attribute: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """The one of at least two that is clearly nearest to a side: "left cup"."""

    base: Program
    side: Side

    def __post_init__(self) -> None:
        _check_word("side", self.side, get_args(Side))


@dataclass(frozen=True, kw_only=True)
class Ordinal:
    """The one that comes ``rank``-th from a side, everything before it clearly in order: "second cup from the left"."""

    base: Program
    rank: int
    side: Side

    def __post_init__(self) -> None:
        _check_word("side", self.side, get_args(Side))
        _check_rank(self.rank)


@dataclass(frozen=True, kw_only=True)
class Middle:
    """The middle one of an odd number, along a row or a column, or along both axes at once."""

    base: Program


@dataclass(frozen=True, kw_only=True)
class Region:
    """Those in a part of the image, if every one of ``base`` is clearly in it or clearly not."""

    base: Program
    region: RegionName

    def __post_init__(self) -> None:
        _check_word("region", self.region, get_args(RegionName))


@dataclass(frozen=True, kw_only=True)
class Line:
    """The ``rank``-th row from the top or the bottom, or column from the left or the right, where all stand in such."""

    base: Program
    rank: int
    side: Side

    def __post_init__(self) -> None:
        _check_word("side", self.side, get_args(Side))
        _check_rank(self.rank)


@dataclass(frozen=True, kw_only=True)
class Superlative:
    """The one of at least two that is clearly larger, smaller, taller or shorter than each other one."""

    base: Program
    measure: Measure

    def __post_init__(self) -> None:
        _check_word("measure", self.measure, get_args(Measure))


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Those on one side of the single object that ``anchor`` means, if every one clearly is or clearly is not."""

    base: Program
    direction: Direction
    anchor: Program

    def __post_init__(self) -> None:
        _check_word("direction", self.direction, get_args(Direction))


@dataclass(frozen=True, kw_only=True)
class NextTo:
    """Those that hardly any gap parts from the single object that ``anchor`` means."""

    base: Program
    anchor: Program


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The one of at least two that is clearly nearest to the single object that ``anchor`` means."""

    base: Program
    anchor: Program


@dataclass(frozen=True, kw_only=True)
class Between:
    """Those between the two objects that ``ends`` means: "the cup between the two balls"."""

    base: Program
    ends: Program


@dataclass(frozen=True, kw_only=True)
class Depth:
    """The one of at least two that is clearly in front, or at the back, in a scene that is known to be in perspective.

    The cue: of objects of one category on one ground, the nearer one reaches lower in the image and is taller.
    """

    base: Program
    position: DepthPosition

    def __post_init__(self) -> None:
        _check_word("position", self.position, get_args(DepthPosition))


Program: TypeAlias = (
    Category
    | WithAttribute
    | Extreme
    | Ordinal
    | Middle
    | Region
    | Line
    | Superlative
    | Beside
    | NextTo
    | Nearest
    | Between
    | Depth
)

_OPERATORS: Mapping[str, type[Any]] = {
    "category": Category,
    "with_attribute": WithAttribute,
    "extreme": Extreme,
    "ordinal": Ordinal,
    "middle": Middle,
    "region": Region,
    "line": Line,
    "superlative": Superlative,
    "beside": Beside,
    "next_to": NextTo,
    "nearest": Nearest,
    "between": Between,
    "depth": Depth,
}
_NAMES = {operator: name for name, operator in _OPERATORS.items()}
_PROGRAM_FIELDS = frozenset({"base", "anchor", "ends"})
"""Fields that are programs themselves."""

_MIRRORED: Mapping[str, str] = {"left": "right", "right": "left"}
_MIRRORED_FIELDS = frozenset({"side", "region", "direction"})
"""Fields whose value a mirror may swap."""

MAX_NESTING = 16
"""Operators within each other in a record; a deeper one is no program that anybody made."""


def _check_word(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise AugmentationError(f"{what} must be one of {', '.join(known)}, got {value!r}")


def _check_rank(rank: int) -> None:
    if not isinstance(rank, int) or rank < 1:
        raise AugmentationError(f"rank counts from 1, got {rank!r}")


def to_json(program: Program) -> dict[str, Any]:
    """JSON values; ``op`` names the operator."""
    record: dict[str, Any] = {"op": _NAMES[type(program)]}
    for field in fields(program):
        value = getattr(program, field.name)
        record[field.name] = to_json(value) if field.name in _PROGRAM_FIELDS else value
    return record


def from_json(record: Mapping[str, Any]) -> Program:
    """The inverse of ``to_json``.

    Raises:
        AugmentationError: for an unknown operator, or fields that do not fit it.
    """
    return _parse_record(record, MAX_NESTING)


def _parse_record(record: Any, depth: int) -> Program:
    if not isinstance(record, Mapping) or depth == 0:
        raise AugmentationError(
            f"a program is an object of at most {MAX_NESTING} nested ones, got {str(record)[:80]!r}"
        )
    values = dict(record)
    name = values.pop("op", None)
    if name not in _OPERATORS:
        raise AugmentationError(f"program {dict(record)}: unknown operator {name!r}; known are {', '.join(_OPERATORS)}")
    operator = _OPERATORS[name]
    expected = {field.name for field in fields(operator)}
    if set(values) != expected:
        raise AugmentationError(f"program {dict(record)}: {name} takes {sorted(expected)}, got {sorted(values)}")
    for part in _PROGRAM_FIELDS & expected:
        values[part] = _parse_record(values[part], depth - 1)
    return cast(Program, operator(**values))


def flip(program: Program) -> Program:
    """The program that means in the mirrored scene what ``program`` means in the scene."""
    values = {field.name: getattr(program, field.name) for field in fields(program)}
    for name, value in values.items():
        if name in _PROGRAM_FIELDS:
            values[name] = flip(value)
        elif name in _MIRRORED_FIELDS:
            values[name] = _MIRRORED.get(value, value)
    return type(program)(**values)
