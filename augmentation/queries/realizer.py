"""Realization of programs as phrases, in the style of a dataset.

* ``refcoco``: short and telegraphic, often without an article: "2nd cup from left", "ball next to red cup".
* ``refcoco+``: the same without location words; attributes, sizes and neighbors distinguish objects.
* ``refcocog``: careful writing: "the red cup that is second from the left".

``PhraseRealizer.realize`` lists all phrases in a fixed order. A program and its mirror image have phrases in the same
order, so swapping left and right in a phrase gives a phrase of the flipped program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from augmentation.errors import AugmentationError
from augmentation.queries.templates import TEMPLATES, PhraseTemplates, Style
from augmentation.relations import programs as p
from augmentation.relations.types import RELATION_TYPES, RelationType
from generation.parsing.english import ORDINALS, add_article

ADJECTIVE_ORDER = ("size", "material", "pattern", "color")
"""Order of adjectives in English, "small striped red cup"; attributes that are not listed come first."""

SUPERLATIVES: Mapping[str, tuple[str, ...]] = {
    "biggest": ("biggest", "largest"),
    "smallest": ("smallest",),
    "tallest": ("tallest",),
    "shortest": ("shortest",),
}

_TYPES_WITHOUT_LOCATION: tuple[RelationType, ...] = ("attribute", "size", "near", "between")


def get_relation_types(style: Style) -> tuple[RelationType, ...]:
    """Return the relation types that a style has words for."""
    return _TYPES_WITHOUT_LOCATION if style == "refcoco+" else RELATION_TYPES


@dataclass(frozen=True, kw_only=True)
class PhraseRealizer:
    """Realizer of programs in one style."""

    style: Style = "refcoco"
    plurals: Mapping[str, str] = field(default_factory=dict)
    """Plural by category. Only objects of these categories are named beside the target."""

    def realize(self, program: p.Program) -> tuple[str, ...]:
        """Return every phrase of the program, in a fixed order; none if the style has no words for it.

        Raises:
            AugmentationError: no style has words for such a nesting of operators.
        """
        forms = TEMPLATES[self.style]
        match program:
            case p.Category() | p.WithAttribute():
                return _fill_templates(forms.noun_only, program)
            case p.Extreme(base=p.Line() as line, side=side):
                return _fill_templates(forms.end_of_line, line.base, side=[side], line=_realize_line(line))
            case p.Ordinal(base=p.Line() as line, rank=rank, side=side) if rank in ORDINALS:
                return _fill_templates(
                    forms.ordinal_in_line, line.base, side=[side], line=_realize_line(line), nth=ORDINALS[rank]
                )
            case p.Middle(base=p.Line() as line):
                return _fill_templates(forms.middle_of_line, line.base, line=_realize_line(line))
            case p.Beside() | p.NextTo() | p.Nearest():
                return _fill_templates(
                    *_get_relation_templates(forms, program), anchor=_realize_anchor(program.anchor, program.base)
                )
            case p.Between(base=base, ends=ends):
                return _fill_templates(forms.between, base, ends=self._realize_ends(ends))
            case _:
                return _realize_position(forms, program)

    def find_interpretations(self, program: p.Program) -> Iterator[tuple[str, p.Program]]:
        """Yield every phrase of the program with each of its interpretations, the program included.

        "The cup on the left" is also any cup on the left side, "the cup in the middle" that of the others or that of
        the image, and "second red cup from the left" also the second cup from the left, if that one is red.
        """
        for text in self.realize(program):
            yield text, program
        forms = TEMPLATES[self.style]
        match program:
            case p.Extreme(base=(p.Category() | p.WithAttribute()) as base, side=side):
                loose = forms.horizontal_side if side in ("left", "right") else forms.vertical_side
                yield from (
                    (text, p.Region(base=base, region=side)) for text in _fill_templates(loose, base, side=[side])
                )
            case p.Ordinal(base=p.WithAttribute()) | p.Middle(base=p.WithAttribute()):
                yield from ((text, _move_attributes_last(program)) for text in self.realize(program))
        match program:
            case p.Middle(base=(p.Category() | p.WithAttribute()) as base):
                yield from ((text, p.Region(base=base, region="middle")) for text in self.realize(program))
            case p.Region(base=(p.Category() | p.WithAttribute()) as base, region="middle"):
                yield from ((text, p.Middle(base=base)) for text in self.realize(program))

    def compute_sampling_weight(self, text: str) -> float:
        """Return the weight by which a phrase is sampled among those of its program."""
        return float(len(text.split()) ** -TEMPLATES[self.style].brevity)

    def _realize_ends(self, ends: p.Program) -> list[str]:
        """Return "red balls"; nothing if the plural is unknown."""
        category = get_category(ends)
        if category not in self.plurals:
            return []
        return [f"{realize_noun_phrase(ends).removesuffix(category)}{self.plurals[category]}"]


def _move_attributes_last(program: p.Ordinal | p.Middle) -> p.Program:
    """Return the program that selects among the whole category first and filters by attributes last."""
    attributes, base = list[p.WithAttribute](), program.base
    while isinstance(base, p.WithAttribute):
        attributes.append(base)
        base = base.base
    reordered: p.Program = replace(program, base=base)
    for one in attributes:
        reordered = replace(one, base=reordered)
    return reordered


def _realize_position(forms: PhraseTemplates, program: p.Program) -> tuple[str, ...]:
    """Realize a position among objects of the category, without a line or an anchor."""
    match program:
        case p.Region(
            base=p.Region(base=base, region=("top" | "bottom") as first), region=("left" | "right") as second
        ):
            return _fill_templates(forms.corner, base, side=[f"{first} {second}"])
        case p.Extreme(base=p.Region(base=base, region=region), side=("left" | "right") as side) if side == region:
            return _fill_templates(forms.far_side, base, side=[side])
        case p.Superlative(base=p.Region(base=base, region=("left" | "right") as region), measure=measure):
            return _fill_templates(forms.superlative_on_side, base, side=[region], most=SUPERLATIVES[measure])
        case p.Extreme(base=base, side=("left" | "right") as side):
            return _fill_templates((*forms.horizontal_extreme, *forms.horizontal_side), base, side=[side])
        case p.Extreme(base=base, side=side):
            return _fill_templates((*forms.vertical_extreme, *forms.vertical_side), base, side=[side])
        case p.Ordinal(base=base, rank=rank, side=side) if rank in ORDINALS:
            return _fill_templates(forms.ordinal, base, side=[side], nth=ORDINALS[rank])
        case p.Middle(base=base):
            return _fill_templates(forms.middle, base)
        case p.Region(base=base, region="middle"):
            return _fill_templates(forms.in_middle, base)
        case p.Region(base=base, region=region):
            return _fill_templates(forms.on_side if region in ("left", "right") else forms.in_half, base, side=[region])
        case p.Superlative(base=base, measure=measure):
            return _fill_templates(forms.superlative, base, most=SUPERLATIVES[measure])
        case p.Depth(base=base, position=position):
            return _fill_templates(forms.front if position == "front" else forms.back, base)
    raise AugmentationError(f"there are no words for the program {p.to_json(program)}")


def _get_relation_templates(
    forms: PhraseTemplates, program: p.Beside | p.NextTo | p.Nearest
) -> tuple[tuple[str, ...], p.Program]:
    match program:
        case p.NextTo(base=base):
            return forms.next_to, base
        case p.Nearest(base=base):
            return forms.nearest, base
        case p.Beside(base=base, direction=direction):
            return forms.beside[direction], base


def _realize_anchor(anchor: p.Program, base: p.Program) -> list[str]:
    """Return "red ball"; if both objects have one category, also "red one"."""
    noun = realize_noun_phrase(anchor)
    category = get_category(anchor)
    if category != get_category(base) or noun == category:
        return [noun]
    return [f"{noun.removesuffix(category)}one", noun]


def _realize_line(line: p.Line) -> list[str]:
    """Return "top row" or "second column from the left"."""
    line_kind = "row" if line.side in ("top", "bottom") else "column"
    if line.rank == 1:
        return [f"{line.side} {line_kind}"]
    return [f"{ORDINALS[line.rank][0]} {line_kind} from the {line.side}"] if line.rank in ORDINALS else []


def get_category(program: p.Program) -> str:
    """Return the category of the objects that a program selects among."""
    while not isinstance(program, p.Category):
        program = program.base
    return program.name


def realize_noun_phrase(program: p.Program) -> str:
    """Return category and attributes without an article: "striped red cup".

    Raises:
        AugmentationError: the program holds a position, which no noun phrase expresses.
    """
    adjectives: dict[str, str] = {}
    while isinstance(program, p.WithAttribute):
        adjectives[program.attribute] = program.value
        program = program.base
    if not isinstance(program, p.Category):
        raise AugmentationError(f"there are no words for a noun phrase of {p.to_json(program)}")
    return " ".join([*(adjectives[attribute] for attribute in sort_adjectives(adjectives)), program.name])


def sort_adjectives(attribute_names: Mapping[str, str]) -> list[str]:
    """Return the attributes in the order of English adjectives."""
    order = {attribute: i for i, attribute in enumerate(ADJECTIVE_ORDER)}
    return sorted(attribute_names, key=lambda attribute: (order.get(attribute, -1), attribute))


def _fill_templates(forms: tuple[str, ...], base: p.Program, **slots: Iterable[str]) -> tuple[str, ...]:
    """Fill each template with each choice of words for its slots; each phrase once."""
    noun = realize_noun_phrase(base)
    filled = (
        form.format(noun=noun, a_noun=add_article(noun), **dict(zip(slots, words, strict=True)))
        for form in forms
        for words in product(*slots.values())
    )
    return tuple(dict.fromkeys(filled))
