"""From a program to the ways people say it, in the style of a data set.

* ``refcoco``: short and telegraphic, often without an article: "2nd cup from left", "ball next to red cup".
* ``refcoco+``: the same without any word of location; what tells objects apart is how they look, and their neighbors.
* ``refcocog``: phrases as of a careful writer: "the red cup that is second from the left".

``PhraseRealizer.phrasings`` lists all ways in a fixed order. A program and its mirror image have as many, in the
same order,
so swapping left and right in a phrase gives a phrase of the flipped program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from augmentation.errors import AugmentationError
from augmentation.queries.templates import TEMPLATES, PhraseTemplates, Style
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
from augmentation.relations.types import RELATION_TYPES, RelationType
from generation.parsing.english import ORDINALS, add_article

ADJECTIVE_ORDER = ("size", "material", "pattern", "color")
"""How English orders adjectives: "small striped red cup"; kinds that are not listed come first."""

SUPERLATIVES: Mapping[str, tuple[str, ...]] = {
    "biggest": ("biggest", "largest"),
    "smallest": ("smallest",),
    "tallest": ("tallest",),
    "shortest": ("shortest",),
}

_TYPES_WITHOUT_LOCATION: tuple[RelationType, ...] = ("attribute", "size", "near", "between")


def get_relation_types(style: Style) -> tuple[RelationType, ...]:
    """The families of programs that a style has words for."""
    return _TYPES_WITHOUT_LOCATION if style == "refcoco+" else RELATION_TYPES


@dataclass(frozen=True, kw_only=True)
class PhraseRealizer:
    """How programs are said."""

    style: Style = "refcoco"
    plurals: Mapping[str, str] = field(default_factory=dict)
    """Category to its plural. Of other categories than these no object is spoken of but the target."""

    def realize(self, program: Program) -> tuple[str, ...]:
        """Every way of saying the program, in a fixed order; none where the style has no words for it.

        Raises:
            AugmentationError: no style has words for such a nesting of operators.
        """
        forms = TEMPLATES[self.style]
        match program:
            case Category() | WithAttribute():
                return _fill_templates(forms.noun_only, program)
            case Extreme(base=Line() as line, side=side):
                return _fill_templates(forms.end_of_line, line.base, side=[side], line=_realize_line(line))
            case Ordinal(base=Line() as line, rank=rank, side=side) if rank in ORDINALS:
                return _fill_templates(
                    forms.ordinal_in_line, line.base, side=[side], line=_realize_line(line), nth=ORDINALS[rank]
                )
            case Middle(base=Line() as line):
                return _fill_templates(forms.middle_of_line, line.base, line=_realize_line(line))
            case Beside() | NextTo() | Nearest():
                return _fill_templates(
                    *_get_relation_templates(forms, program), anchor=_realize_anchor(program.anchor, program.base)
                )
            case Between(base=base, ends=ends):
                return _fill_templates(forms.between, base, ends=self._realize_ends(ends))
            case _:
                return _realize_position(forms, program)

    def find_interpretations(self, program: Program) -> Iterator[tuple[str, Program]]:
        """Every phrase of the program with each program that it can be heard as, this one included.

        "The cup on the left" is also any cup on the left side, "the cup in the middle" that of the others or that of
        the image, and "second red cup from the left" also the second cup from the left, if that one is red.
        """
        for text in self.realize(program):
            yield text, program
        forms = TEMPLATES[self.style]
        match program:
            case Extreme(base=(Category() | WithAttribute()) as base, side=side):
                loose = forms.horizontal_side if side in ("left", "right") else forms.vertical_side
                yield from (
                    (text, Region(base=base, region=side)) for text in _fill_templates(loose, base, side=[side])
                )
            case Ordinal(base=WithAttribute()) | Middle(base=WithAttribute()):
                yield from ((text, _move_attributes_last(program)) for text in self.realize(program))
        match program:
            case Middle(base=(Category() | WithAttribute()) as base):
                yield from ((text, Region(base=base, region="middle")) for text in self.realize(program))
            case Region(base=(Category() | WithAttribute()) as base, region="middle"):
                yield from ((text, Middle(base=base)) for text in self.realize(program))

    def compute_sampling_weight(self, text: str) -> float:
        """How often a phrase is chosen, beside the others that say the same."""
        return float(len(text.split()) ** -TEMPLATES[self.style].brevity)

    def _realize_ends(self, ends: Program) -> list[str]:
        """ "red balls"; nothing where the plural is not known."""
        category = get_category(ends)
        if category not in self.plurals:
            return []
        return [f"{realize_noun_phrase(ends).removesuffix(category)}{self.plurals[category]}"]


def _move_attributes_last(program: Ordinal | Middle) -> Program:
    """Chosen among all of the category, and then with the attributes."""
    attributes, base = list[WithAttribute](), program.base
    while isinstance(base, WithAttribute):
        attributes.append(base)
        base = base.base
    reordered: Program = replace(program, base=base)
    for one in attributes:
        reordered = replace(one, base=reordered)
    return reordered


def _realize_position(forms: PhraseTemplates, program: Program) -> tuple[str, ...]:
    """What is said of objects among their like, without a row, a column or another object."""
    match program:
        case Region(base=Region(base=base, region=("top" | "bottom") as first), region=("left" | "right") as second):
            return _fill_templates(forms.corner, base, side=[f"{first} {second}"])
        case Extreme(base=Region(base=base, region=region), side=("left" | "right") as side) if side == region:
            return _fill_templates(forms.far_side, base, side=[side])
        case Superlative(base=Region(base=base, region=("left" | "right") as region), measure=measure):
            return _fill_templates(forms.superlative_on_side, base, side=[region], most=SUPERLATIVES[measure])
        case Extreme(base=base, side=("left" | "right") as side):
            return _fill_templates((*forms.horizontal_extreme, *forms.horizontal_side), base, side=[side])
        case Extreme(base=base, side=side):
            return _fill_templates((*forms.vertical_extreme, *forms.vertical_side), base, side=[side])
        case Ordinal(base=base, rank=rank, side=side) if rank in ORDINALS:
            return _fill_templates(forms.ordinal, base, side=[side], nth=ORDINALS[rank])
        case Middle(base=base):
            return _fill_templates(forms.middle, base)
        case Region(base=base, region="middle"):
            return _fill_templates(forms.in_middle, base)
        case Region(base=base, region=region):
            return _fill_templates(forms.on_side if region in ("left", "right") else forms.in_half, base, side=[region])
        case Superlative(base=base, measure=measure):
            return _fill_templates(forms.superlative, base, most=SUPERLATIVES[measure])
        case Depth(base=base, position=position):
            return _fill_templates(forms.front if position == "front" else forms.back, base)
    raise AugmentationError(f"there are no words for the program {to_json(program)}")


def _get_relation_templates(
    forms: PhraseTemplates, program: Beside | NextTo | Nearest
) -> tuple[tuple[str, ...], Program]:
    match program:
        case NextTo(base=base):
            return forms.next_to, base
        case Nearest(base=base):
            return forms.nearest, base
        case Beside(base=base, direction=direction):
            return forms.beside[direction], base


def _realize_anchor(anchor: Program, base: Program) -> list[str]:
    """ "red ball"; of objects of one category also "red one"."""
    noun = realize_noun_phrase(anchor)
    category = get_category(anchor)
    if category != get_category(base) or noun == category:
        return [noun]
    return [f"{noun.removesuffix(category)}one", noun]


def _realize_line(line: Line) -> list[str]:
    """ "top row", "second column from the left"."""
    line_kind = _get_line_kind(line.side)
    if line.rank == 1:
        return [f"{line.side} {line_kind}"]
    return [f"{ORDINALS[line.rank][0]} {line_kind} from the {line.side}"] if line.rank in ORDINALS else []


def _get_line_kind(side: Side) -> Literal["row", "column"]:
    return "row" if side in ("top", "bottom") else "column"


def get_category(program: Program) -> str:
    """The category of the objects that a program chooses among."""
    while not isinstance(program, Category):
        program = program.base
    return program.name


def realize_noun_phrase(program: Program) -> str:
    """Category and attributes without an article: "striped red cup".

    Raises:
        AugmentationError: the program says where objects are, which is no noun phrase.
    """
    adjectives: dict[str, str] = {}
    while isinstance(program, WithAttribute):
        adjectives[program.attribute] = program.value
        program = program.base
    if not isinstance(program, Category):
        raise AugmentationError(f"there are no words for what is chosen among {to_json(program)}")
    return " ".join([*(adjectives[attribute] for attribute in sort_adjectives(adjectives)), program.name])


def sort_adjectives(attribute_names: Mapping[str, str]) -> list[str]:
    """The kinds of attributes in the order in which English says them."""
    order = {attribute: i for i, attribute in enumerate(ADJECTIVE_ORDER)}
    return sorted(attribute_names, key=lambda attribute: (order.get(attribute, -1), attribute))


def _fill_templates(forms: tuple[str, ...], base: Program, **slots: Iterable[str]) -> tuple[str, ...]:
    """Each form with each choice of words for its slots, each phrase once."""
    noun = realize_noun_phrase(base)
    filled = (
        form.format(noun=noun, a_noun=add_article(noun), **dict(zip(slots, words, strict=True)))
        for form in forms
        for words in product(*slots.values())
    )
    return tuple(dict.fromkeys(filled))
