"""Realization of programs as phrases, in the style of a dataset.

* ``refcoco``: short and telegraphic, often without an article: "2nd cup from left", "ball next to red cup".
* ``refcoco+``: the same without location words; attributes, sizes and neighbors distinguish objects.
* ``refcocog``: careful writing: "the red cup that is second from the left".

A ``MeasuredStyle`` says how often people use each template and word (`augmentation.queries.measured_style`).

``PhraseRealizer.realize`` lists all phrases in a fixed order. A program and its mirror image have phrases in the same
order, so swapping left and right in a phrase gives a phrase of the flipped program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from random import Random
from typing import get_args

from augmentation.errors import AugmentationError
from augmentation.queries.measured_style import (
    IMAGE_WORDS,
    MARKS,
    SIDE_WORDS,
    SUPERLATIVE_WORDS,
    MeasuredStyle,
    keeps_noun,
    load_style,
)
from augmentation.queries.misspelling import misspell
from augmentation.queries.templates import TEMPLATES, PhraseTemplates, Style
from augmentation.relations import programs as p
from augmentation.relations.scene import Scene
from augmentation.relations.types import RELATION_TYPES, RelationType
from generation.parsing.coco_categories import COCO_CATEGORIES
from generation.parsing.english import ORDINALS, add_article

ADJECTIVE_ORDER = ("size", "material", "pattern", "color")
"""Order of adjectives in English, "small striped red cup"; attributes that are not listed come first."""

SUPERLATIVES: Mapping[str, tuple[str, ...]] = {
    "biggest": ("biggest", "largest"),
    "smallest": ("smallest",),
    "tallest": ("tallest",),
    "shortest": ("shortest",),
}

_TYPES_WITHOUT_LOCATION: tuple[RelationType, ...] = ("attribute", "size", "near", "between", "contact")


def get_style(name: str) -> Style | MeasuredStyle:
    """Return a written style by its name, or load a measured one; see ``load_style``."""
    written = {one: one for one in TEMPLATES}
    return written[name] if name in written else load_style(name)


def get_relation_types(style: Style | MeasuredStyle) -> tuple[RelationType, ...]:
    """Return the relation types that a style has words for."""
    if isinstance(style, MeasuredStyle):
        return tuple(style.type_shares)
    return _TYPES_WITHOUT_LOCATION if style == "refcoco+" else RELATION_TYPES


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A phrase of a program."""

    text: str
    template: str
    weight: float
    """Weight by which it is sampled among the phrases of its program."""


@dataclass(frozen=True, kw_only=True)
class PhraseRealizer:
    """Realizer of programs in one style."""

    style: Style | MeasuredStyle = "refcoco"
    plurals: Mapping[str, str] = field(default_factory=dict)
    """Plural by category. Only objects of these categories are named beside the target."""

    nouns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further nouns by category, each true of every object of it. Measured styles use them where they are clear."""

    misspellings: bool = False
    """Flag to misspell as many words as people do; for measured styles."""

    @cached_property
    def measured(self) -> MeasuredStyle | None:
        """The style, if it was measured."""
        return self.style if isinstance(self.style, MeasuredStyle) else None

    @cached_property
    def _templates(self) -> PhraseTemplates:
        return self.style.phrase_templates if isinstance(self.style, MeasuredStyle) else TEMPLATES[self.style]

    def realize(self, program: p.Program) -> tuple[str, ...]:
        """Return every phrase of the program, in a fixed order; none if the style has no words for it.

        Raises:
            AugmentationError: no style has words for such a nesting of operators.
        """
        return tuple(phrase.text for phrase in self.list_phrases(program))

    def list_phrases(self, program: p.Program, names: Mapping[str, str] | None = None) -> tuple[Phrase, ...]:
        """Return every phrase of the program with its template and weight, in the order of ``realize``.

        Args:
            program: program to realize.
            names: other noun by category.
        """
        filler = _Filler(names or {}, self.style)
        forms = self._templates
        match program:
            case p.Category() | p.WithAttribute():
                return filler.fill(forms.noun_only, program)
            case p.Without(base=base, value=value):
                marks = [MARKS[value]] if value in MARKS else []
                negated = (one for one in forms.negated if isinstance(base, p.Category) or not one.startswith("not "))
                return filler.fill(tuple(negated), base, value=[value], marks=marks)  # never "not red striped cup"
            case p.Odd(base=base, attribute=None):
                return filler.fill(forms.odd, base)
            case p.Odd(base=base, attribute=str(attribute)):
                return filler.fill(forms.odd_in, base, attribute=[attribute])
            case p.Extreme(base=p.Line() as line, side=side):
                return filler.fill(forms.end_of_line, line.base, side=[side], line=realize_line(line))
            case p.Ordinal(base=p.Line() as line, rank=rank, side=side) if rank in ORDINALS:
                return filler.fill(
                    forms.ordinal_in_line, line.base, side=[side], line=realize_line(line), nth=ORDINALS[rank]
                )
            case p.Middle(base=p.Line() as line):
                return filler.fill(forms.middle_of_line, line.base, line=realize_line(line))
            case p.Beside() | p.NextTo() | p.Between() if not isinstance(program.base, p.Category | p.WithAttribute):
                return self._list_conjunctions(program, filler.names)
            case p.Beside() | p.NextTo() | p.Nearest():
                anchors = filler.realize_anchor(program.anchor, program.base)
                return filler.fill(*_get_relation_templates(forms, program), anchor=anchors)
            case p.Between(base=base, ends=ends):
                return filler.fill(forms.between, base, ends=self._realize_ends(ends))
            case _:
                return self._list_positions(filler, program)

    def _list_positions(self, filler: _Filler, program: p.Program) -> tuple[Phrase, ...]:
        forms = self._templates
        if not isinstance(program, p.Superlative) or self.measured is None:
            return _realize_position(filler, forms, program)
        most, more = SUPERLATIVE_WORDS[program.measure]
        match program.base:
            case p.Region(base=base, region=("left" | "right") as region):
                return filler.fill(forms.superlative_on_side, base, side=[region], most=most)
        ends = self._realize_ends(program.base)
        if filler.names.get(p.get_category(program)) == "":
            ends = [""]  # "the smaller of the two"
        return filler.fill(forms.superlative, program.base, most=most, more=more, ends=ends)

    def _list_conjunctions(
        self, program: p.Beside | p.NextTo | p.Between, names: Mapping[str, str]
    ) -> tuple[Phrase, ...]:
        """Return phrases with a relation last: "left person next to dog", "person by the car and left of the dog"."""
        conjunction = " and" if isinstance(program.base, p.Beside | p.NextTo | p.Between) else ""
        relation = replace(program, base=get_noun_program(program.base))
        ending = "{side}" if isinstance(program, p.Beside) else "{noun} {side}"  # never "cup on left left of the ball"
        heads = [one for one in self.list_phrases(program.base, names) if not one.template.endswith(ending)]
        tails = {
            phrase.template: (phrase.text.removeprefix(noun), phrase.weight)
            for phrase in self.list_phrases(relation, names)
            for noun in [_Filler(names, self.style).realize_noun(relation.base)]
            if phrase.template.startswith("{noun} ")
        }
        return tuple(
            Phrase(
                text=f"{head.text}{conjunction}{tail}",
                template=f"{head.template} + {template}",
                weight=head.weight * weight,
            )
            for head in heads
            for template, (tail, weight) in tails.items()
        )

    def find_interpretations(self, program: p.Program) -> Iterator[tuple[str, p.Program]]:
        """Yield every phrase of the program with each of its interpretations, the program included.

        "The cup on the left" is also any cup on the left side, "the cup in the middle" that of the others or that of
        the image, "second red cup from the left" also the second cup from the left, if that one is red, and "the
        different cup" also the biggest or the smallest one. In measured styles, phrases without their noun follow:
        "left" is "left cup" and "cup left".
        """
        yield from self._find_interpretations(program, {})
        if self.measured is not None and _may_drop_noun(program):
            nameless = self._find_interpretations(program, {p.get_category(program): ""})
            yield from ((" ".join(text.split()), other) for text, other in nameless)

    def _find_interpretations(self, program: p.Program, names: Mapping[str, str]) -> Iterator[tuple[str, p.Program]]:
        texts = [one.text for one in self.list_phrases(program, names)]
        yield from ((text, program) for text in texts)
        forms, filler = self._templates, _Filler(names, self.style)
        match program:
            case p.Extreme(base=(p.Category() | p.WithAttribute()) as base, side=side):
                loose = forms.horizontal_side if side in ("left", "right") else forms.vertical_side
                yield from (
                    (one.text, p.Region(base=base, region=side)) for one in filler.fill(loose, base, side=[side])
                )
            case p.Ordinal(base=p.WithAttribute()) | p.Middle(base=p.WithAttribute()):
                yield from ((text, _move_attributes_last(program)) for text in texts)
        match program:
            case p.Middle(base=(p.Category() | p.WithAttribute()) as base):
                yield from ((text, p.Region(base=base, region="middle")) for text in texts)
            case p.Region(base=(p.Category() | p.WithAttribute()) as base, region="middle"):
                yield from ((text, p.Middle(base=base)) for text in texts)
            case p.Odd(base=members, attribute=None):
                for measure in get_args(p.Measure):
                    yield from ((text, p.Superlative(base=members, measure=measure)) for text in texts)
        if self.measured is not None:
            yield from self._find_further_interpretations(program)

    def _find_further_interpretations(self, program: p.Program) -> Iterator[tuple[str, p.Program]]:
        """Yield the further interpretations of phrases that only measured styles have.

        What is near is next to the anchor, or nearer to it than the others. The position in "left person next to the
        dog" is that of all people, or of those next to the dog.
        """
        match program:
            case p.NextTo(base=(p.Category() | p.WithAttribute()) as base, anchor=anchor):
                near = p.Nearest(base=base, anchor=anchor)
                yield from (
                    (one.text, near)
                    for one in self.list_phrases(program)
                    if any(f" {word} " in one.template for word in ("near", "by", "close to"))
                )
            case p.Beside() | p.NextTo() | p.Between() if not isinstance(program.base, p.Category | p.WithAttribute):
                noun = get_noun_program(program.base)
                inner = replace_noun_program(program.base, replace(program, base=noun))
                for text in self.realize(program):
                    yield text, replace(program, base=noun)
                    yield text, program.base
                    yield text, inner

    def vary_nouns(self, phrase: Phrase, program: p.Program, scene: Scene, random: Random) -> str:
        """Return the phrase with other nouns, drawn by their frequencies in the measured style.

        A noun is used only if no object of another category of the scene may be called so. Then it means the same as
        the category's name, and so does the phrase. "One" is used, or the noun left out, if all objects are of one
        category.
        """
        names = {category: self._draw_noun(category, scene, random) for category in sorted(list_categories(program))}
        kept = {"one", ""} if isinstance(program, p.Category) else set()
        if keeps_noun(phrase.template) or not _may_drop_noun(program):
            kept.add("")
        names = {category: noun for category, noun in names.items() if noun not in kept}
        varied = [one for one in self.list_phrases(program, names) if one.template == phrase.template]
        same = [one.text for one in self.list_phrases(program) if one.template == phrase.template]
        text = varied[same.index(phrase.text)].text if len(varied) == len(same) else phrase.text
        return " ".join(text.split())

    def misspell(self, text: str, random: Random) -> str:
        """Return the phrase with as many misspelled words as the measured style has, if the realizer misspells."""
        return misspell(text, self.measured.misspelled_words, random) if self.measured and self.misspellings else text

    def list_nouns(self, category: str, scene: Scene) -> list[str]:
        """List the further nouns that name objects of a category, and no other object of the scene."""
        others = {one.category for one in scene.objects} - {category}
        return [one for one in self.nouns.get(category, ()) if not any(self.may_name(one, other) for other in others)]

    def _draw_noun(self, category: str, scene: Scene, random: Random) -> str:
        """Draw a noun for the objects of a category, or its own name."""
        is_only = all(one.category == category for one in scene.objects)
        assert self.measured is not None  # written styles have one noun per category
        counts, shares = self.measured.nouns.get(category, {}), self.measured.placeholder_shares
        choices = [category, *self.list_nouns(category, scene), *(list(shares) if is_only else [])]
        return random.choices(choices, [shares.get(one, 1.0) + counts.get(one, 0) for one in choices])[0]

    def may_name(self, noun: str, category: str) -> bool:
        """Return whether an object of a category may be called by a noun."""
        coco = COCO_CATEGORIES[category].nouns.split() if category in COCO_CATEGORIES else ()
        names = (category, *self.nouns.get(category, ()), *(one.replace("_", " ") for one in coco))
        return any(noun in (name, name.split()[-1]) for name in names)

    def compute_sampling_weight(self, text: str) -> float:
        """Return the weight by which a phrase is sampled among those of its program."""
        return float(len(text.split()) ** -self._templates.brevity)

    def _realize_ends(self, ends: p.Program) -> list[str]:
        """Return "red balls"; nothing if the plural is unknown."""
        category = p.get_category(ends)
        if category not in self.plurals:
            return []
        return [f"{realize_noun_phrase(ends).removesuffix(category)}{self.plurals[category]}"]


def _may_drop_noun(program: p.Program) -> bool:
    """Return whether a program is about a position or attributes alone, so that its noun may be left out."""
    if isinstance(program, p.Category):
        return False
    while not isinstance(program, p.Category):
        if isinstance(program, p.Beside | p.NextTo | p.Nearest | p.Between | p.Without):
            return False
        program = program.base
    return True


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


def _realize_position(filler: _Filler, forms: PhraseTemplates, program: p.Program) -> tuple[Phrase, ...]:
    """Realize a position among objects of the category, without a line or an anchor."""
    match program:
        case p.Region(
            base=p.Region(base=base, region=("top" | "bottom") as first), region=("left" | "right") as second
        ):
            return filler.fill(forms.corner, base, side=filler.list_corner_words(f"{first} {second}"))
        case p.Extreme(base=p.Region(base=base, region=region), side=("left" | "right") as side) if side == region:
            return filler.fill(forms.far_side, base, side=[side])
        case p.Superlative(base=p.Region(base=base, region=("left" | "right") as region), measure=measure):
            return filler.fill(forms.superlative_on_side, base, side=[region], most=SUPERLATIVES[measure])
        case p.Extreme(base=base, side=("left" | "right") as side):
            return filler.fill((*forms.horizontal_extreme, *forms.horizontal_side), base, side=[side])
        case p.Extreme(base=base, side=side):
            return filler.fill((*forms.vertical_extreme, *forms.vertical_side), base, side=[side])
        case p.Ordinal(base=base, rank=rank, side=side) if rank in ORDINALS:
            return filler.fill(forms.ordinal, base, side=[side], nth=ORDINALS[rank])
        case p.Middle(base=base):
            return filler.fill(forms.middle, base)
        case p.Region(base=base, region="middle"):
            return filler.fill(forms.in_middle, base)
        case p.Region(base=base, region=region):
            return filler.fill(forms.on_side if region in ("left", "right") else forms.in_half, base, side=[region])
        case p.Superlative(base=base, measure=measure):
            return filler.fill(forms.superlative, base, most=SUPERLATIVES[measure])
        case p.Depth(base=base, position=position):
            return filler.fill(forms.front if position == "front" else forms.back, base)
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
            return forms.beside.get(direction, ()), base


def realize_line(line: p.Line) -> list[str]:
    """Return "top row" or "second column from the left"."""
    line_kind = "row" if line.side in ("top", "bottom") else "column"
    if line.rank == 1:
        return [f"{line.side} {line_kind}"]
    return [f"{ORDINALS[line.rank][0]} {line_kind} from the {line.side}"] if line.rank in ORDINALS else []


def get_noun_program(program: p.Program) -> p.Program:
    """Return the category with its attributes that a program selects among, without positions and relations."""
    while not isinstance(program, p.Category | p.WithAttribute):
        program = program.base
    return program


def list_categories(program: p.Program) -> set[str]:
    """Return the categories of all objects that a program names."""
    if isinstance(program, p.Category):
        return {program.name}
    parts = (getattr(program, name) for name in ("base", "anchor", "ends") if hasattr(program, name))
    return set().union(*map(list_categories, parts))


def replace_noun_program(program: p.Program, noun: p.Program) -> p.Program:
    """Replace the category with its attributes inside a position by another program."""
    if isinstance(program, p.Category | p.WithAttribute):
        return noun
    return replace(program, base=replace_noun_program(program.base, noun))


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


@dataclass(frozen=True)
class _Filler:
    """Filler of templates; it fills each with each choice of words for its slots, and gives each phrase once."""

    names: Mapping[str, str]
    style: Style | MeasuredStyle

    def fill(self, forms: tuple[str, ...], base: p.Program, **slots: Sequence[str]) -> tuple[Phrase, ...]:
        noun = self.realize_noun(base)
        phrases: dict[str, Phrase] = {}
        for form in forms:
            used = {name: words for name, words in slots.items() if f"{{{name}}}" in form}
            if "{an_anchor}" in form:
                used["an_anchor"] = [add_article(anchor) for anchor in slots["anchor"]]
                if slots["anchor"][0].split()[0] in ("left", "right"):
                    continue  # nobody says "a left car"
            if "{image}" in form:
                used["image"] = IMAGE_WORDS
            for words in product(*used.values()):
                filled = dict(zip(used, words, strict=True))
                text = form.format(noun=noun, a_noun=add_article(noun), **filled)
                if text not in phrases:
                    phrases[text] = Phrase(text=text, template=form, weight=self._weigh(form, used, words))
        return tuple(phrases.values())

    def _weigh(self, form: str, slots: Mapping[str, Sequence[str]], words: Sequence[str]) -> float:
        """Weigh a phrase by the frequencies of its template and of its words in a measured style."""
        if not isinstance(self.style, MeasuredStyle):
            return 1.0
        weight = float(self.style.templates.get(form, 0))
        for choices, word in zip(slots.values(), words, strict=True):
            counts = [1 + self.style.words.get(choice.partition(" ")[0], 0) for choice in choices]
            weight *= counts[list(choices).index(word)] / sum(counts)
        return weight

    def list_corner_words(self, corner: str) -> Sequence[str]:
        return SIDE_WORDS[corner] if isinstance(self.style, MeasuredStyle) else [corner]

    def realize_noun(self, program: p.Program) -> str:
        """Return the noun phrase of a program, with the other noun of its category if it has one."""
        noun, category = realize_noun_phrase(program), p.get_category(program)
        return f"{noun.removesuffix(category)}{self.names.get(category, category)}"

    def realize_anchor(self, anchor: p.Program, base: p.Program) -> list[str]:
        """Return "red ball"; if both objects have one category, also "red one"."""
        if isinstance(anchor, p.Extreme):
            return [f"{anchor.side} {self.realize_noun(anchor.base)}"]
        noun = self.realize_noun(anchor)
        category = p.get_category(anchor)
        if category != p.get_category(base) or isinstance(anchor, p.Category):
            return [noun]
        name = self.names.get(category, category)
        return [f"{noun.removesuffix(name)}one", noun]
