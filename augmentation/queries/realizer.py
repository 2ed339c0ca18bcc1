"""From a program to the ways people say it, in the style of a data set.

* ``refcoco``: short and telegraphic, often without an article: "2nd cup from left", "ball next to red cup".
* ``refcoco+``: the same without any word of location; what tells things apart is how they look, and their neighbours.
* ``refcocog``: phrases as of a careful writer: "the red cup that is second from the left".

``Wording.phrasings`` lists all ways in a fixed order. A program and its mirror image have as many, in the same order,
so swapping left and right in a phrase gives a phrase of the flipped program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from augmentation.errors import AugmentationError
from augmentation.queries.templates import FORMS, Forms, Style
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    Extreme,
    Line,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Program,
    Region,
    Side,
    Superlative,
    WithAttribute,
    to_json,
)
from augmentation.relations.types import FAMILIES, Family

ADJECTIVE_ORDER = ("size", "material", "pattern", "colour")
"""How English orders adjectives: "small striped red cup"; kinds that are not listed come first."""

ORDINALS: Mapping[int, tuple[str, ...]] = {
    1: ("first", "1st"),
    2: ("second", "2nd"),
    3: ("third", "3rd"),
    4: ("fourth", "4th"),
    5: ("fifth", "5th"),
    6: ("sixth", "6th"),
    7: ("seventh", "7th"),
    8: ("eighth", "8th"),
}

SUPERLATIVES: Mapping[str, tuple[str, ...]] = {
    "biggest": ("biggest", "largest"),
    "smallest": ("smallest",),
    "tallest": ("tallest",),
    "shortest": ("shortest",),
}

_WITHOUT_LOCATION: tuple[Family, ...] = ("attribute", "size", "near", "between")


def families_of(style: Style) -> tuple[Family, ...]:
    """The families of programs that a style has words for."""
    return _WITHOUT_LOCATION if style == "refcoco+" else FAMILIES


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How programs are said."""

    style: Style = "refcoco"
    plurals: Mapping[str, str] = field(default_factory=dict)
    """Category to its plural. Of other categories than these no thing is spoken of but the target."""

    def phrasings(self, program: Program) -> tuple[str, ...]:
        """Every way of saying the program, in a fixed order; none where the style has no words for it.

        Raises:
            AugmentationError: no style has words for such a nesting of operators.
        """
        forms = FORMS[self.style]
        match program:
            case Category() | WithAttribute():
                return _filled(forms.named, program)
            case Extreme(of=Line() as line, side=side):
                return _filled(forms.end_of_line, line.of, side=[side], line=_lines(line))
            case Ordinal(of=Line() as line, rank=rank, side=side) if rank in ORDINALS:
                return _filled(forms.ordinal_in_line, line.of, side=[side], line=_lines(line), nth=ORDINALS[rank])
            case Middle(of=Line() as line):
                return _filled(forms.middle_of_line, line.of, line=_lines(line))
            case Beside() | NextTo() | Nearest():
                return _filled(*_related_forms(forms, program), anchor=_anchors(program.anchor, program.of))
            case Between(of=of, ends=ends):
                return _filled(forms.between, of, ends=self._ends(ends))
            case _:
                return _placed(forms, program)

    def readings(self, program: Program) -> Iterator[tuple[str, Program]]:
        """Every phrase of the program with each program that it can be heard as, this one included.

        "The cup on the left" is also any cup on the left side, "the cup in the middle" that of the others or that of
        the picture, and "second red cup from the left" also the second cup from the left, if that one is red.
        """
        for text in self.phrasings(program):
            yield text, program
        forms = FORMS[self.style]
        match program:
            case Extreme(of=(Category() | WithAttribute()) as of, side=side):
                loose = forms.across_on if side in ("left", "right") else forms.down_at
                yield from ((text, Region(of=of, region=side)) for text in _filled(loose, of, side=[side]))
            case Ordinal(of=WithAttribute()) | Middle(of=WithAttribute()):
                yield from ((text, _attribute_last(program)) for text in self.phrasings(program))
        match program:
            case Middle(of=(Category() | WithAttribute()) as of):
                yield from ((text, Region(of=of, region="middle")) for text in self.phrasings(program))
            case Region(of=(Category() | WithAttribute()) as of, region="middle"):
                yield from ((text, Middle(of=of)) for text in self.phrasings(program))

    def weight(self, text: str) -> float:
        """How often a phrase is chosen, beside the others that say the same."""
        return float(len(text.split()) ** -FORMS[self.style].brevity)

    def _ends(self, ends: Program) -> list[str]:
        """ "red balls"; nothing where the plural is not known."""
        category = category_of(ends)
        if category not in self.plurals:
            return []
        return [f"{noun_phrase(ends).removesuffix(category)}{self.plurals[category]}"]


def _attribute_last(program: Ordinal | Middle) -> Program:
    """Chosen among all of the category, and then with the attributes."""
    attributes, base = list[WithAttribute](), program.of
    while isinstance(base, WithAttribute):
        attributes.append(base)
        base = base.of
    found: Program = replace(program, of=base)
    for one in attributes:
        found = replace(one, of=found)
    return found


def _placed(forms: Forms, program: Program) -> tuple[str, ...]:
    """What is said of things among their like, without a row, a column or another thing."""
    match program:
        case Region(of=Region(of=of, region=("top" | "bottom") as first), region=("left" | "right") as second):
            return _filled(forms.corner, of, side=[f"{first} {second}"])
        case Extreme(of=Region(of=of, region=region), side=("left" | "right") as side) if side == region:
            return _filled(forms.far, of, side=[side])
        case Superlative(of=Region(of=of, region=("left" | "right") as region), measure=measure):
            return _filled(forms.superlative_on_side, of, side=[region], most=SUPERLATIVES[measure])
        case Extreme(of=of, side=("left" | "right") as side):
            return _filled((*forms.across, *forms.across_on), of, side=[side])
        case Extreme(of=of, side=side):
            return _filled((*forms.down, *forms.down_at), of, side=[side])
        case Ordinal(of=of, rank=rank, side=side) if rank in ORDINALS:
            return _filled(forms.ordinal, of, side=[side], nth=ORDINALS[rank])
        case Middle(of=of):
            return _filled(forms.middle, of)
        case Region(of=of, region="middle"):
            return _filled(forms.in_middle, of)
        case Region(of=of, region=region):
            return _filled(forms.on_side if region in ("left", "right") else forms.in_half, of, side=[region])
        case Superlative(of=of, measure=measure):
            return _filled(forms.superlative, of, most=SUPERLATIVES[measure])
        case Depth(of=of, place=place):
            return _filled(forms.front if place == "front" else forms.back, of)
    raise AugmentationError(f"there are no words for the program {to_json(program)}")


def _related_forms(forms: Forms, program: Beside | NextTo | Nearest) -> tuple[tuple[str, ...], Program]:
    match program:
        case NextTo(of=of):
            return forms.next_to, of
        case Nearest(of=of):
            return forms.nearest, of
        case Beside(of=of, direction=direction):
            return forms.beside[direction], of


def _anchors(anchor: Program, of: Program) -> list[str]:
    """ "red ball"; of things of one category also "red one"."""
    noun = noun_phrase(anchor)
    category = category_of(anchor)
    if category != category_of(of) or noun == category:
        return [noun]
    return [f"{noun.removesuffix(category)}one", noun]


def _lines(line: Line) -> list[str]:
    """ "top row", "second column from the left"."""
    kind = _kind_of_line(line.side)
    if line.rank == 1:
        return [f"{line.side} {kind}"]
    return [f"{ORDINALS[line.rank][0]} {kind} from the {line.side}"] if line.rank in ORDINALS else []


def _kind_of_line(side: Side) -> Literal["row", "column"]:
    return "row" if side in ("top", "bottom") else "column"


def category_of(program: Program) -> str:
    """The category of the things that a program chooses among."""
    while not isinstance(program, Category):
        program = program.of
    return program.name


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


def with_article(noun: str) -> str:
    """ "a cup", "an orange"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _filled(forms: tuple[str, ...], of: Program, **slots: Iterable[str]) -> tuple[str, ...]:
    """Each form with each choice of words for its slots, each phrase once."""
    noun = noun_phrase(of)
    filled = (
        form.format(noun=noun, a_noun=with_article(noun), **dict(zip(slots, words, strict=True)))
        for form in forms
        for words in product(*slots.values())
    )
    return tuple(dict.fromkeys(filled))
