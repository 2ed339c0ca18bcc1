"""Types of relation programs, by which quotas and reports count queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

RelationType = Literal[
    "attribute", "side", "ordinal", "middle", "region", "line", "size", "beside", "near", "between", "depth", "contact"
]

TargetType = Literal["absent", "pair", "group"]
"""Type of a query without a single target, for quotas: no target, two, or more."""

TARGET_TYPES: tuple[TargetType, ...] = get_args(TargetType)

RELATION_TYPES: tuple[RelationType, ...] = get_args(RelationType)

_TYPE_OF_OPERATOR: Mapping[str, RelationType] = {
    "category": "attribute",
    "with_attribute": "attribute",
    "without": "attribute",
    "odd": "attribute",
    "extreme": "side",
    "ordinal": "ordinal",
    "middle": "middle",
    "region": "region",
    "superlative": "size",
    "beside": "beside",
    "next_to": "near",
    "nearest": "near",
    "between": "between",
    "depth": "depth",
}

MIN_OBJECTS: Mapping[RelationType | TargetType, int] = {
    "absent": 2,
    "pair": 2,
    "group": 3,
    "attribute": 2,
    "side": 2,
    "ordinal": 3,
    "middle": 3,
    "region": 2,
    "line": 4,
    "size": 2,
    "beside": 2,
    "near": 2,
    "between": 2,
    "depth": 2,
    "contact": 2,
}
"""Minimum number of objects of the category for which a program of the type can select one."""


def get_relation_type(program: Mapping[str, Any]) -> RelationType:
    """Return the type of a program's record, by its outermost operator.

    A position within a row or a column has type ``line``. "First from the left" means "left", so it has type ``side``.

    Raises:
        KeyError: the record is no program.
    """
    if program.get("base", {}).get("op") == "line":
        return "line"
    if program["op"] == "ordinal" and program["rank"] == 1:
        return "side"
    if program["op"] == "beside" and program["direction"] in ("front", "behind"):
        return "depth"
    if program["op"] == "beside" and program["direction"] in ("on", "in"):
        return "contact"
    return _TYPE_OF_OPERATOR[program["op"]]
