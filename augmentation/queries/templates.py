"""Phrase templates by the style of a dataset.

Words in brackets are optional: "{noun} on [the ]{side}" stands for two templates, first without them.

Slots: ``noun`` ("red cup"), ``a_noun`` ("a red cup"), ``side``, ``nth``, ``line`` ("top row"), ``most`` ("biggest"),
``anchor`` ("ball", "striped one"), ``an_anchor`` ("a ball"), ``ends`` ("balls"), ``more`` ("bigger"), ``image``
("picture"), ``value`` ("striped"), ``marks`` ("stripes"), ``attribute`` ("color").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from augmentation.relations.programs import Direction

Style = Literal["refcoco", "refcoco+", "refcocog"]


@dataclass(frozen=True, kw_only=True)
class PhraseTemplates:
    """Templates of one style; an empty tuple if the style has no words for a kind of program."""

    brevity: float
    """Preference for short phrases: one of n words is sampled with weight n ** -brevity."""

    noun_only: tuple[str, ...]
    negated: tuple[str, ...] = ()
    """Object without an attribute that others have."""

    odd: tuple[str, ...] = ()
    """Object that looks different from the others, which look alike."""

    odd_in: tuple[str, ...] = ()
    """Object that differs from the others in one attribute."""

    horizontal_extreme: tuple[str, ...] = ()
    """Leftmost or rightmost object."""

    horizontal_side: tuple[str, ...] = ()
    """Leftmost or rightmost object, in words that fit every object on that side."""

    vertical_extreme: tuple[str, ...] = ()
    """Topmost or bottommost object."""

    vertical_side: tuple[str, ...] = ()
    """Topmost or bottommost object, in words that fit every object there."""

    far_side: tuple[str, ...] = ()
    ordinal: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()
    in_middle: tuple[str, ...] = ()
    """Object in the middle of the image."""

    on_side: tuple[str, ...] = ()
    in_half: tuple[str, ...] = ()
    corner: tuple[str, ...] = ()
    end_of_line: tuple[str, ...] = ()
    ordinal_in_line: tuple[str, ...] = ()
    middle_of_line: tuple[str, ...] = ()
    superlative: tuple[str, ...]
    superlative_on_side: tuple[str, ...] = ()
    beside: Mapping[Direction, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(get_args(Direction), ()))
    next_to: tuple[str, ...]
    nearest: tuple[str, ...]
    between: tuple[str, ...]
    front: tuple[str, ...] = ()
    back: tuple[str, ...] = ()

    def list_all(self) -> tuple[str, ...]:
        """List the templates of all kinds."""
        fields = (value for value in vars(self).values() if isinstance(value, tuple))
        return tuple(template for templates in (*fields, *self.beside.values()) for template in templates)

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, tuple):
                object.__setattr__(self, name, expand_templates(*value))


def expand_templates(*templates: str) -> tuple[str, ...]:
    """Write out the optional words, in the order of the templates."""
    expanded: list[str] = []
    for template in templates:
        before, bracket, rest = template.partition("[")
        optional, _, after = rest.partition("]")
        expanded += expand_templates(before + after, before + optional + after) if bracket else [template]
    return tuple(expanded)


def _make_short_side_templates(side: str) -> tuple[str, ...]:
    return expand_templates(
        f"{{noun}} {side} of [the ]{{anchor}}",
        f"{{noun}} to {side} of {{anchor}}",
        f"{{noun}} to the {side} of the {{anchor}}",
    )


def _make_long_side_templates(side: str) -> tuple[str, ...]:
    return (
        f"the {{noun}} to the {side} of the {{anchor}}",
        f"{{a_noun}} to the {side} of the {{anchor}}",
        f"the {{noun}} that is to the {side} of the {{anchor}}",
        f"{{a_noun}} that is {side} of the {{anchor}}",
        f"{{noun}} to the {side} of the {{anchor}} in the image",
    )


def _make_short_templates(relation: str) -> tuple[str, ...]:
    return expand_templates(f"{{noun}} {relation} [the ]{{anchor}}")


def _make_long_templates(relation: str) -> tuple[str, ...]:
    return (
        f"the {{noun}} {relation} the {{anchor}}",
        f"{{a_noun}} {relation} the {{anchor}}",
        f"the {{noun}} that is {relation} the {{anchor}}",
        f"{{a_noun}} that is {relation} the {{anchor}}",
        f"{{noun}} that is {relation} the {{anchor}} in the image",
    )


_REFCOCO_PLUS = PhraseTemplates(
    brevity=2.5,
    noun_only=("{noun}", "the {noun}"),
    odd=(
        "odd {noun} out",
        "the odd {noun} out",
        "different {noun}",
        "the different {noun}",
        "{noun} unlike the others",
        "{noun} not like the others",
        "{noun} that looks different",
    ),
    odd_in=("{noun} with [a ]different {attribute}", "the {noun} with a different {attribute}"),
    superlative=("{most} {noun}", "the {most} {noun}"),
    beside={"on": _make_short_templates("on"), "in": _make_short_templates("in")},
    next_to=(*_make_short_templates("next to"), *_make_short_templates("beside")),
    nearest=(*_make_short_templates("closest to"), *_make_short_templates("nearest to")),
    between=("{noun} between [the ]{ends}", "{noun} between the two {ends}", "{noun} between 2 {ends}"),
)

_REFCOCO = PhraseTemplates(
    brevity=2.5,
    noun_only=_REFCOCO_PLUS.noun_only,
    odd=_REFCOCO_PLUS.odd,
    odd_in=_REFCOCO_PLUS.odd_in,
    horizontal_extreme=("{side} {noun}", "the {side} {noun}", "{side}most {noun}", "{noun} furthest {side}"),
    horizontal_side=("{noun} {side}", "{noun} on [the ]{side}", "the {noun} on the {side}", "{noun} to the {side}"),
    vertical_extreme=("{side} {noun}", "the {side} {noun}", "{side}most {noun}"),
    vertical_side=("{noun} at {side}", "{noun} at the {side}", "{noun} on the {side}", "the {noun} at the {side}"),
    far_side=("far {side} {noun}", "{noun} far {side}", "{noun} on [the ]far {side}"),
    ordinal=("{nth} {noun} from [the ]{side}", "{noun} {nth} from [the ]{side}", "{nth} from {side} {noun}"),
    middle=(
        "middle {noun}",
        "center {noun}",
        "{noun} in [the ]middle",
        "the {noun} in the middle",
        "{noun} in [the ]center",
    ),
    in_middle=(
        "middle {noun}",
        "center {noun}",
        "{noun} in [the ]middle",
        "{noun} in center",
        "{noun} in the middle of the image",
        "{noun} in center of image",
    ),
    on_side=("{side} side {noun}", "{noun} on [the ]{side} side", "{noun} on the {side} side of the image"),
    in_half=(
        "{noun} in {side} half",
        "{noun} in the {side} half of the image",
        "{noun} at the {side} of the image",
    ),
    corner=(
        "{side} {noun}",
        "{noun} {side}",
        "the {side} {noun}",
        "{noun} in {side}",
        "{noun} on the {side}",
        "{noun} in [the ]{side} corner",
    ),
    end_of_line=("{side} {noun} in [the ]{line}", "{side}most {noun} in {line}", "the {side}most {noun} in the {line}"),
    ordinal_in_line=(
        "{nth} {noun} from {side} in {line}",
        "{nth} {noun} from the {side} in the {line}",
    ),
    middle_of_line=("middle {noun} in {line}", "the middle {noun} in the {line}"),
    superlative=_REFCOCO_PLUS.superlative,
    superlative_on_side=("{most} {noun} on [the ]{side}", "the {most} {noun} on the {side} side"),
    beside={
        "left": _make_short_side_templates("left"),
        "right": _make_short_side_templates("right"),
        "above": _make_short_templates("above"),
        "below": _make_short_templates("below"),
        "front": _make_short_templates("in front of"),
        "behind": _make_short_templates("behind"),
        "on": (*_make_short_templates("on"), *_make_short_templates("on top of")),
        "in": (*_make_short_templates("in"), *_make_short_templates("inside")),
    },
    next_to=_REFCOCO_PLUS.next_to,
    nearest=_REFCOCO_PLUS.nearest,
    between=_REFCOCO_PLUS.between,
    front=(
        "front {noun}",
        "the front {noun}",
        "{noun} in [the ]front",
        "closest {noun}",
        "the closest {noun}",
        "{noun} closest to us",
    ),
    back=(
        "back {noun}",
        "the back {noun}",
        "{noun} in [the ]back",
        "furthest {noun}",
        "{noun} furthest away",
        "{noun} in the background",
    ),
)

_REFCOCOG = PhraseTemplates(
    brevity=0,
    noun_only=("the {noun}", "{a_noun}", "the {noun} in the image", "{a_noun} in this image", "{noun}"),
    odd=(
        "the odd {noun} out[ in the image]",
        "the {noun} that looks different[ from the others]",
        "the {noun} that is different from the others",
        "the {noun} that is not like the others",
        "the {noun} unlike the others",
        "the {noun} which is unlike all the others",
    ),
    odd_in=(
        "the {noun} with a different {attribute}[ from the others]",
        "the {noun} that has a different {attribute}[ from the others]",
        "{a_noun} with a different {attribute} from the others",
    ),
    horizontal_extreme=(
        "the {side}most {noun}[ in the image]",
        "the {noun} that is furthest to the {side}",
        "{a_noun} that is furthest to the {side}",
    ),
    horizontal_side=(
        "the {noun} on the {side}",
        "{a_noun} on the {side}",
        "the {noun} which is on the {side}",
        "{noun} on the {side} in the image",
    ),
    vertical_extreme=(
        "the {side}most {noun}[ in the image]",
        "the {noun} that is at the very {side}",
    ),
    vertical_side=("the {noun} at the {side}", "{a_noun} at the {side}", "{noun} at the {side} in the image"),
    far_side=(
        "the {noun} on the far {side}",
        "{a_noun} on the far {side} of the image",
        "the {noun} that is on the far {side}",
        "{noun} on the far {side} of the image",
    ),
    ordinal=(
        "the {nth} {noun} from the {side}",
        "the {noun} that is {nth} from the {side}",
        "{a_noun} that is {nth} from the {side}",
        "the {noun} which is the {nth} from the {side}",
        "{nth} {noun} from the {side} in the image",
    ),
    middle=(
        "the {noun} in the middle",
        "{a_noun} in the middle",
        "the {noun} that is in the middle",
        "the middle {noun} in the image",
        "the {noun} in the center",
    ),
    in_middle=(
        "the {noun} in the middle of the image",
        "{a_noun} in the center of the image",
        "the {noun} that is in the middle of the image",
        "{noun} in the middle of the image",
    ),
    on_side=(
        "the {noun} on the {side} side[ of the image]",
        "{a_noun} on the {side} side of the image",
        "the {noun} that is on the {side} side",
        "{noun} on the {side} hand side of the image",
    ),
    in_half=(
        "the {noun} in the {side} half of the image",
        "{a_noun} at the {side} of the image",
        "the {noun} that is at the {side} of the image",
        "{noun} in the {side} half of the image",
    ),
    corner=(
        "the {noun} in the {side} corner",
        "{a_noun} in the {side} corner of the image",
        "the {noun} that is in the {side} corner",
        "the {noun} on the {side}",
        "{noun} in the {side} corner of the image",
    ),
    end_of_line=(
        "the {side}most {noun} in the {line}",
        "the {noun} on the {side} in the {line}",
        "{side} {noun} in the {line}",
    ),
    ordinal_in_line=(
        "the {nth} {noun} from the {side} in the {line}",
        "the {noun} in the {line} that is {nth} from the {side}",
        "{nth} {noun} from the {side} in the {line}",
    ),
    middle_of_line=(
        "the middle {noun} in the {line}",
        "the {noun} in the middle in the {line}",
        "middle {noun} in the {line}",
    ),
    superlative=(
        "the {most} {noun}[ in the image]",
        "the {noun} that is the {most}",
        "{a_noun} that is the {most} of all",
        "{most} {noun} in the image",
    ),
    superlative_on_side=(
        "the {most} {noun} on the {side}[ side of the image]",
        "{most} {noun} on the {side} side of the image",
    ),
    beside={
        "left": _make_long_side_templates("left"),
        "right": _make_long_side_templates("right"),
        "above": _make_long_templates("above"),
        "below": _make_long_templates("below"),
        "front": _make_long_templates("in front of"),
        "behind": _make_long_templates("behind"),
        "on": (*_make_long_templates("on"), *_make_long_templates("on top of")),
        "in": (*_make_long_templates("in"), *_make_long_templates("inside")),
    },
    next_to=(*_make_long_templates("next to"), *_make_long_templates("beside")),
    nearest=(*_make_long_templates("closest to"), *_make_long_templates("nearest to")),
    between=(
        "the {noun} between the two {ends}",
        "{a_noun} between two {ends}",
        "the {noun} that is between the two {ends}",
        "{a_noun} that is between the {ends}",
        "{noun} between the two {ends} in the image",
    ),
    front=(
        "the {noun} in the front",
        "{a_noun} in the front",
        "the {noun} that is closest to the camera",
        "the {noun} closest to the viewer",
        "{noun} in the front of the image",
    ),
    back=(
        "the {noun} in the back",
        "{a_noun} in the back",
        "the {noun} that is furthest away",
        "the {noun} in the background",
        "{noun} furthest from the camera",
    ),
)


def _make_side_relation_templates(side: str) -> tuple[str, ...]:
    return expand_templates(
        f"{{noun}} {side} of [the ]{{anchor}}",
        f"{{noun}} to [the ]{side} of [the ]{{anchor}}",
        f"the {{noun}} {side} of the {{anchor}}",
        f"the {{noun}} to the {side} of the {{anchor}}",
        f"the {{noun}} to the {side} of {{an_anchor}}",
        f"{{a_noun}} to the {side} of [the ]{{anchor}}",
        f"{{a_noun}} to the {side} of {{an_anchor}}",
        f"the {{noun}} that is to the {side} of the {{anchor}}",
        f"the {{noun}} which is {side} of the {{anchor}}",
        f"{{a_noun}} that is to the {side} of the {{anchor}}",
    )


def _make_relation_templates(*relations: str) -> tuple[str, ...]:
    return expand_templates(
        *(
            template
            for relation in relations
            for template in (
                f"{{noun}} {relation} [the ]{{anchor}}",
                f"{{noun}} {relation} {{an_anchor}}",
                f"the {{noun}} {relation} [the ]{{anchor}}",
                f"the {{noun}} {relation} {{an_anchor}}",
                f"{{a_noun}} {relation} [the ]{{anchor}}",
                f"{{a_noun}} {relation} {{an_anchor}}",
                f"the {{noun}} that is {relation} the {{anchor}}",
                f"the {{noun}} that's {relation} the {{anchor}}",
                f"{{a_noun}} that is {relation} [the ]{{anchor}}",
                f"the {{noun}} which is {relation} the {{anchor}}",
            )
        )
    )


VARIED = PhraseTemplates(
    brevity=0,
    noun_only=("[the ]{noun}", "{a_noun}", "the {noun} in the {image}", "{a_noun} in the {image}", "{noun} in {image}"),
    negated=(
        "{noun} not {value}",
        "[the ]{noun} that is not {value}",
        "not [the ]{value} {noun}",
        "[the ]{noun} without {marks}",
        "{a_noun} without {marks}",
        "{noun} with no {marks}",
    ),
    horizontal_extreme=(
        "[the ]{side} {noun}",
        "[the ]{side}most {noun}[ in the {image}]",
        "{side} most {noun}",
        "{noun} furthest [to the ]{side}",
        "the {noun} furthest to the {side}",
        "furthest {side} {noun}",
        "farthest {side} {noun}",
        "{noun} farthest [to the ]{side}",
        "{noun} most {side}",
        "the {noun} that is furthest to the {side}",
    ),
    horizontal_side=(
        "{noun} {side}",
        "{noun} on {side}",
        "[the ]{noun} on the {side}",
        "{noun} to {side}",
        "[the ]{noun} to the {side}",
        "{noun} at {side}",
        "{noun} in {side}",
        "{noun} on your {side}",
        "{noun} on our {side}",
        "on {side} {noun}",
        "the {noun} that is on the {side}",
        "the {noun} which is on the {side}",
        "{a_noun} on the {side}",
        "{a_noun} to the {side}",
        "{a_noun} that is on the {side}",
    ),
    vertical_extreme=("[the ]{side} {noun}", "[the ]{side}most {noun}", "very {side} {noun}"),
    vertical_side=(
        "{noun} {side}",
        "{noun} at {side}",
        "[the ]{noun} at the {side}",
        "{noun} on {side}",
        "[the ]{noun} on the {side}",
        "{a_noun} at the {side}",
        "the {noun} that is at the {side}",
    ),
    far_side=(
        "[the ]far {side} {noun}",
        "{noun} far {side}",
        "{noun} on far {side}",
        "[the ]{noun} on the far {side}",
        "{noun} to far {side}",
        "{noun} at far {side}",
        "{noun} to the far {side}",
        "{a_noun} on the far {side}",
        "the {noun} that is on the far {side}",
    ),
    ordinal=(
        "[the ]{nth} {noun} from [the ]{side}",
        "{noun} {nth} from [the ]{side}",
        "the {noun} {nth} from the {side}",
        "{nth} from {side} {noun}",
        "{nth} {noun} on {side}",
        "{nth} {noun} in from {side}",
        "{nth} one from [the ]{side} {noun}",
        "the {noun} that is {nth} from the {side}",
        "{a_noun} that is {nth} from the {side}",
    ),
    middle=(
        "[the ]middle {noun}",
        "center {noun}",
        "{noun} middle",
        "{noun} center",
        "{noun} in middle",
        "[the ]{noun} in the middle",
        "{noun} in [the ]center",
        "the {noun} in the center",
        "{a_noun} in the middle",
        "the {noun} that is in the middle",
    ),
    in_middle=(
        "[the ]middle {noun}",
        "center {noun}",
        "{noun} middle",
        "{noun} center",
        "{noun} in middle",
        "[the ]{noun} in the middle",
        "{noun} in [the ]center",
        "{noun} in middle of {image}",
        "[the ]{noun} in the middle of the {image}",
        "{noun} in center of {image}",
        "[the ]{noun} in the center of the {image}",
        "{a_noun} in the middle",
        "{a_noun} in the middle of the {image}",
    ),
    on_side=(
        "{side} side {noun}",
        "{noun} {side} side",
        "{noun} on {side} side",
        "[the ]{noun} on the {side} side",
        "[the ]{noun} on the {side} side of the {image}",
        "{noun} on {side} side of {image}",
        "{noun} on {side} hand side",
        "[the ]{noun} on the {side} hand side",
        "{a_noun} on the {side} side",
        "{a_noun} on the {side} side of the {image}",
        "the {noun} that is on the {side} side",
    ),
    in_half=(
        "{noun} at {side} of {image}",
        "[the ]{noun} at the {side} of the {image}",
        "{noun} in {side} half",
        "{a_noun} at the {side} of the {image}",
    ),
    corner=(
        "[the ]{side} {noun}",
        "{noun} {side}",
        "{noun} in {side}",
        "{noun} at {side}",
        "{noun} on {side}",
        "{noun} on the {side}",
        "[the ]{noun} in the {side}",
        "{noun} {side} corner",
        "{side} corner {noun}",
        "{noun} in {side} corner",
        "[the ]{noun} in the {side} corner",
        "the {noun} in the {side} corner of the {image}",
        "{a_noun} in the {side} corner",
        "{a_noun} in the {side} corner of the {image}",
    ),
    end_of_line=(
        "{side} {noun} in [the ]{line}",
        "{side}most {noun} in {line}",
        "the {side}most {noun} in the {line}",
        "{line} {side} {noun}",
        "{noun} on {side} in {line}",
        "{line} {noun} on {side}",
    ),
    ordinal_in_line=(
        "{nth} {noun} from {side} in {line}",
        "{nth} {noun} from the {side} in the {line}",
        "{line} {nth} {noun} from {side}",
        "the {nth} {noun} from the {side} in the {line}",
    ),
    middle_of_line=("middle {noun} in {line}", "{line} middle {noun}", "the middle {noun} in the {line}"),
    superlative=(
        "[the ]{most} {noun}",
        "the {most} {noun} in the {image}",
        "[the ]{more} {noun}",
        "[the ]{more} of the two {ends}",
        "{more} of two {ends}",
        "the {noun} that is {more}",
    ),
    superlative_on_side=(
        "{most} {noun} on [the ]{side}",
        "the {most} {noun} on the {side}",
        "{most} {noun} {side}",
        "the {most} {noun} on the {side} side",
    ),
    beside={
        "left": _make_side_relation_templates("left"),
        "right": _make_side_relation_templates("right"),
        "above": _make_relation_templates("above"),
        "below": _make_relation_templates("below"),
        "front": _make_relation_templates("in front of"),
        "behind": _make_relation_templates("behind"),
    },
    next_to=_make_relation_templates("next to", "beside", "by", "near", "close to"),
    nearest=_make_relation_templates("closest to", "nearest", "nearest to"),
    between=(
        "[the ]{noun} between [the ]{ends}",
        "[the ]{noun} between [the ]two {ends}",
        "{noun} between 2 {ends}",
        "{noun} in between [the ]{ends}",
        "{a_noun} between [the ]two {ends}",
        "{a_noun} in between two {ends}",
        "the {noun} that is between the two {ends}",
    ),
    front=(
        "[the ]front {noun}",
        "{noun} front",
        "{noun} in front",
        "[the ]{noun} in the front",
        "{noun} up front",
        "[the ]closest {noun}",
        "closest {noun} to us",
        "closest {noun} to camera",
        "{noun} closest",
        "{noun} closest to us",
        "{noun} closest to camera",
        "[the ]{noun} closest to the camera",
        "foreground {noun}",
        "{noun} in [the ]foreground",
        "the {noun} in the foreground",
        "[the ]nearest {noun}",
        "{a_noun} in the front",
        "{a_noun} in the foreground",
        "the {noun} that is closest to the camera",
    ),
    back=(
        "[the ]back {noun}",
        "{noun} back",
        "{noun} in back",
        "[the ]{noun} in the back",
        "{noun} in background",
        "[the ]{noun} in the background",
        "furthest {noun}",
        "farthest {noun}",
        "[the ]furthest {noun} back",
        "{noun} furthest away",
        "{noun} furthest back",
        "{noun} farthest away",
        "background {noun}",
        "{noun} background",
        "{a_noun} in the back",
        "{a_noun} in the background",
    ),
)
"""Templates of people's short and long queries; a measured style says how frequent each one is."""

TEMPLATES: Mapping[Style, PhraseTemplates] = {"refcoco": _REFCOCO, "refcoco+": _REFCOCO_PLUS, "refcocog": _REFCOCOG}
