"""A small language of relation programs, which express the meaning of a query.

    Ordinal(base=Category(name="cup"), rank=2, side="right")                      # "second cup from the right"
    Nearest(base=Category(name="cup"), anchor=Category(name="ball"))              # "the cup closest to the ball"

This module holds the operators and their JSON records;
``augmentation.relations.evaluator.evaluate_program`` evaluates a program on a scene.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, cast, get_args

from augmentation.errors import AugmentationError

Side = Literal["left", "right", "top", "bottom"]
RegionName = Literal["left", "right", "top", "bottom", "middle"]
Direction = Literal["left", "right", "above", "below", "front", "behind", "on", "in"]
Measure = Literal["biggest", "smallest", "tallest", "shortest"]
DepthPosition = Literal["front", "back"]

_KNOWN_WORDS: Mapping[str, tuple[str, ...]] = {
    "side": get_args(Side),
    "region": get_args(RegionName),
    "direction": get_args(Direction),
    "measure": get_args(Measure),
    "position": get_args(DepthPosition),
}
"""Permitted values by the name of the field."""


class _Checked:
    """Base of operators with words or ranks."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in _KNOWN_WORDS and value not in _KNOWN_WORDS[name]:
                raise AugmentationError(f"{name} must be one of {', '.join(_KNOWN_WORDS[name])}, got {value!r}")
            if name == "rank" and (not isinstance(value, int) or value < 1):
                raise AugmentationError(f"rank counts from 1, got {value!r}")
            if name == "count" and (not isinstance(value, int) or value < 2):
                raise AugmentationError(f"count must be 2 or more, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Category:
    """All objects of a category."""

    name: str


@dataclass(frozen=True, kw_only=True)
class WithAttribute:
    """Objects of ``base`` with an attribute; none if the attribute of any of them is unknown."""

    base: Program
    attribute: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Extreme(_Checked):
    """The object of at least two that is clearly nearest to a side: "left cup"."""

    base: Program
    side: Side


@dataclass(frozen=True, kw_only=True)
class Ordinal(_Checked):
    """The ``rank``-th object from a side, all before it clearly in order: "second cup from the left"."""

    base: Program
    rank: int
    side: Side


@dataclass(frozen=True, kw_only=True)
class Middle:
    """The middle object of an odd number, along a row or a column, or along both axes at once."""

    base: Program


@dataclass(frozen=True, kw_only=True)
class Region(_Checked):
    """Objects in a part of the image, if every object of ``base`` is clearly in it or clearly not."""

    base: Program
    region: RegionName


@dataclass(frozen=True, kw_only=True)
class Line(_Checked):
    """Objects of the ``rank``-th row from the top or bottom, or column from the left or right."""

    base: Program
    rank: int
    side: Side


@dataclass(frozen=True, kw_only=True)
class Superlative(_Checked):
    """The object of at least two that is clearly bigger, smaller, taller or shorter than every other."""

    base: Program
    measure: Measure


@dataclass(frozen=True, kw_only=True)
class Beside(_Checked):
    """Objects on one side of the single object that ``anchor`` selects, or standing on it or in it.

    None is selected if any of ``base`` is borderline.
    """

    base: Program
    direction: Direction
    anchor: Program


@dataclass(frozen=True, kw_only=True)
class NextTo:
    """Objects with hardly a gap to the single object that ``anchor`` selects."""

    base: Program
    anchor: Program


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The object of at least two that is clearly nearest to the single object that ``anchor`` selects."""

    base: Program
    anchor: Program


@dataclass(frozen=True, kw_only=True)
class Between:
    """Objects between the two objects that ``ends`` selects: "the cup between the two balls"."""

    base: Program
    ends: Program


@dataclass(frozen=True, kw_only=True)
class Depth(_Checked):
    """The object of at least two that is clearly in front, or at the back, in a scene in perspective.

    The cue: of two objects of one category on one ground, the nearer one reaches lower in the image and is taller.
    """

    base: Program
    position: DepthPosition


@dataclass(frozen=True, kw_only=True)
class Without:
    """Objects of ``base`` without an attribute: "cups that are not red"; none if that of any of them is unknown."""

    base: Program
    attribute: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Except:
    """Objects of ``base`` but the single one that ``excluded`` selects among them: "every cup but the red one"."""

    base: Program
    excluded: Program


@dataclass(frozen=True, kw_only=True)
class Both:
    """The single object of ``base`` and that of ``other``: "the red cup and the left ball"."""

    base: Program
    other: Program


@dataclass(frozen=True, kw_only=True)
class Leading(_Checked):
    """The ``count`` objects of more that are clearly nearest to a side: "the two leftmost cups"."""

    base: Program
    count: int
    side: Side


@dataclass(frozen=True, kw_only=True)
class Odd:
    """The one object of at least three that looks different, while all others look alike: "the odd one out"."""

    base: Program
    attribute: str | None
    """Attribute that is compared; None for all: the object is the only one that differs in any of them."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """The two objects of at least three that look alike, if no other two do: "the two cups of the same color"."""

    base: Program
    attribute: str | None
    """Attribute that they share; None for all."""


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
    | Without
    | Except
    | Both
    | Leading
    | Odd
    | Alike
)

SET_OPERATORS = (Without, Except, Both, Leading, Alike)
"""Operators that queries of several targets have; of those with one target, measured styles have ``Without``."""

_OPERATORS: Mapping[str, type[Any]] = {
    re.sub(r"\B([A-Z])", r"_\1", operator.__name__).lower(): operator for operator in get_args(Program)
}
"""Operators by the name in their records: "with_attribute" for ``WithAttribute``."""

_NAMES = {operator: name for name, operator in _OPERATORS.items()}
_PROGRAM_FIELDS = frozenset({"base", "anchor", "ends", "excluded", "other"})
"""Names of the fields that hold programs."""

MAX_NESTING = 16
"""Maximum nesting of operators in a record."""


def get_category(program: Program) -> str:
    """Return the category of the objects that a program selects among."""
    while not isinstance(program, Category):
        program = program.base
    return program.name


def to_json(program: Program) -> dict[str, Any]:
    """Return the program as JSON values; ``op`` names the operator."""
    record: dict[str, Any] = {"op": _NAMES[type(program)]}
    for field in fields(program):
        value = getattr(program, field.name)
        record[field.name] = to_json(value) if field.name in _PROGRAM_FIELDS else value
    return record


def from_json(record: Mapping[str, Any]) -> Program:
    """Parse a program from the JSON values of ``to_json``.

    Raises:
        AugmentationError: an operator is unknown, or its fields do not fit it.
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
