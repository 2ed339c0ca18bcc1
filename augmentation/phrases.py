"""From a program to the ways people say it, short and telegraphic as in RefCOCO: "2nd cup from left", "top ball".

``phrasings`` lists them all in a fixed order, ``say`` picks one by a seed. A program and its mirror image have as many,
in the same order, so swapping left and right in a phrase gives a phrase of the flipped program.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from augmentation.errors import AugmentationError
from augmentation.programs import Category, Extreme, Middle, Ordinal, Program, Region, WithAttribute, to_json

ADJECTIVE_ORDER = ("size", "material", "pattern", "colour")
"""How English orders adjectives: "small striped red cup"; kinds that are not listed come first."""

ORDINALS: Mapping[int, tuple[str, str]] = {
    1: ("first", "1st"),
    2: ("second", "2nd"),
    3: ("third", "3rd"),
    4: ("fourth", "4th"),
    5: ("fifth", "5th"),
    6: ("sixth", "6th"),
    7: ("seventh", "7th"),
    8: ("eighth", "8th"),
}

_NAMED = ("{noun}", "the {noun}")
_ACROSS = (
    "{side} {noun}",
    "{noun} {side}",
    "the {side} {noun}",
    "{side}most {noun}",
    "the {side}most {noun}",
    "{noun} on {side}",
    "{noun} on the {side}",
    "the {noun} on the {side}",
    "{noun} to the {side}",
    "{noun} furthest {side}",
)
_DOWN = (
    "{side} {noun}",
    "the {side} {noun}",
    "{side}most {noun}",
    "{noun} at {side}",
    "{noun} at the {side}",
    "{noun} on the {side}",
    "the {noun} at the {side}",
)
_FAR = (
    "far {side} {noun}",
    "{noun} far {side}",
    "{noun} on far {side}",
    "{noun} on the far {side}",
    "the far {side} {noun}",
)
_ORDINAL = (
    "{nth} {noun} from {side}",
    "{nth} {noun} from the {side}",
    "the {nth} {noun} from the {side}",
    "{noun} {nth} from {side}",
    "{noun} {nth} from the {side}",
    "{nth} from {side} {noun}",
)
_MIDDLE = (
    "middle {noun}",
    "the middle {noun}",
    "center {noun}",
    "{noun} in middle",
    "{noun} in the middle",
    "the {noun} in the middle",
    "{noun} in center",
    "{noun} in the center",
)
_IN_MIDDLE = (*_MIDDLE, "{noun} in the middle of the picture", "{noun} in center of picture")
_ON_SIDE = (
    "{side} side {noun}",
    "{noun} on {side} side",
    "{noun} on the {side} side",
    "{noun} on the {side} side of the picture",
)
_IN_HALF = ("{noun} in {side} half", "{noun} in the {side} half of the picture", "{noun} at the {side} of the picture")
_CORNER = (
    "{side} {noun}",
    "{noun} {side}",
    "the {side} {noun}",
    "{noun} in {side}",
    "{noun} on the {side}",
    "{noun} in {side} corner",
    "{noun} in the {side} corner",
)


def phrasings(program: Program) -> tuple[str, ...]:
    """Every way of saying the program, in a fixed order.

    Raises:
        AugmentationError: there are no words for such a nesting of operators.
    """
    match program:
        case Category() | WithAttribute():
            return _filled(_NAMED, program, "")
        case Region(of=Region(of=of, region=("top" | "bottom") as first), region=("left" | "right") as second):
            return _filled(_CORNER, of, f"{first} {second}")
        case Extreme(of=Region(of=of, region=region), side=("left" | "right") as side) if side == region:
            return _filled(_FAR, of, side)
        case Extreme(of=of, side=side):
            return _filled(_ACROSS if side in ("left", "right") else _DOWN, of, side)
        case Ordinal(of=of, rank=rank, side=side) if rank in ORDINALS:
            numbered = (form.replace("{nth}", word) for form in _ORDINAL for word in ORDINALS[rank])
            return _filled(tuple(numbered), of, side)
        case Middle(of=of):
            return _filled(_MIDDLE, of, "")
        case Region(of=of, region=region):
            across = region in ("left", "right")
            return _filled(_IN_MIDDLE if region == "middle" else _ON_SIDE if across else _IN_HALF, of, region)
    raise AugmentationError(f"there are no words for the program {to_json(program)}")


def say(program: Program, seed: int | str) -> str:
    """One of the phrasings; the same for the same seed, and for the mirrored program its mirror image."""
    return Random(seed).choice(phrasings(program))


def noun_phrase(program: Program) -> str:
    """Category and attributes without an article: "striped red cup".

    Raises:
        AugmentationError: the program says where things are, which is no noun phrase.
    """
    adjectives: dict[str, str] = {}
    while isinstance(program, WithAttribute):
        adjectives[program.kind] = program.value
        program = program.of
    if not isinstance(program, Category):
        raise AugmentationError(f"there are no words for what is chosen among {to_json(program)}")
    return " ".join([*(adjectives[kind] for kind in in_adjective_order(adjectives)), program.name])


def in_adjective_order(kinds: Mapping[str, str]) -> list[str]:
    """The kinds of attributes in the order in which English says them."""
    order = {kind: i for i, kind in enumerate(ADJECTIVE_ORDER)}
    return sorted(kinds, key=lambda kind: (order.get(kind, -1), kind))


def _filled(forms: tuple[str, ...], of: Program, side: str) -> tuple[str, ...]:
    return tuple(form.format(noun=noun_phrase(of), side=side) for form in forms)
