"""Realization of programs for several objects as phrases, in the style of a dataset.

Words in brackets are optional, as in ``augmentation.queries.templates``. Slots: ``all`` ("both", "all the", "the
three"), ``nouns`` ("red cups"), ``noun``, ``side``, ``line`` ("top row"), ``anchor`` ("ball"), ``one`` ("red one"),
``value`` ("striped"), ``number`` ("two"), ``first`` and ``second`` ("red cup"), ``attribute`` ("color").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from augmentation.queries.realizer import (
    PhraseRealizer,
    get_relation_types,
    realize_line,
    realize_noun_phrase,
)
from augmentation.queries.templates import expand_templates
from augmentation.relations import programs as p
from generation.parsing.english import NUMBER_WORDS

ALL_OF_TWO = ("both {nouns}", "the two {nouns}", "the {nouns}", "{nouns}")
ALL_OF_MORE = ("all {nouns}", "all the {nouns}", "the {number} {nouns}", "the {nouns}", "{nouns}")

_WITHOUT_LOCATION: Mapping[type[p.Program], tuple[str, ...]] = {
    p.Category: ("{all}",),
    p.WithAttribute: ("{all}",),
    p.NextTo: ("{all} next to [the ]{anchor}", "{all} beside the {anchor}"),
    p.Except: ("every {noun} but the {one}", "every {noun} except the {one}", "all {nouns} but the {one}"),
    p.Without: ("[all ]{nouns} that are not {value}", "the {nouns} that are not {value}"),
    p.Both: ("[the ]{first} and [the ]{second}",),
    p.Alike: (
        "[the ]two {nouns} that look alike",
        "[the ]two {nouns} that look the same",
        "[the ]two {nouns} with the same {attribute}",
        "the two {nouns} of the same {attribute}",
    ),
}

_SHORT: Mapping[type[p.Program], tuple[str, ...]] = {
    **_WITHOUT_LOCATION,
    p.Region: ("{all} on [the ]{side} side", "{all} in the {side} half of the image"),
    p.Leading: ("{number} {side}most {nouns}", "the {number} {side}most {nouns}", "{number} {nouns} furthest {side}"),
    p.Beside: ("{all} {direction} [the ]{anchor}",),
    p.Line: ("{all} in [the ]{line}",),
}

_LONG: Mapping[type[p.Program], tuple[str, ...]] = {
    p.Category: ("{all}", "{all} in the image"),
    p.WithAttribute: ("{all}", "{all} in the image"),
    p.NextTo: ("{all} next to the {anchor}", "{all} that are next to the {anchor}", "{all} beside the {anchor}"),
    p.Except: (
        "every {noun} except for the {one}",
        "every {noun} but the {one}",
        "all of the {nouns} except the {one}",
    ),
    p.Without: ("[all ]the {nouns} that are not {value}", "every {noun} that is not {value}"),
    p.Both: ("the {first} and the {second}[ in the image]",),
    p.Alike: (
        "the two {nouns} that look alike",
        "the two {nouns} that look the same",
        "the two {nouns} that have the same {attribute}",
        "the two {nouns} with the same {attribute}",
    ),
    p.Region: ("{all} on the {side} side[ of the image]", "{all} that are in the {side} half of the image"),
    p.Leading: ("the {number} {side}most {nouns}", "the {number} {nouns} that are furthest to the {side}"),
    p.Beside: ("{all} {direction} the {anchor}", "{all} that are {direction} the {anchor}"),
    p.Line: ("{all} in the {line}", "{all} that are in the {line}"),
}

_DIRECTIONS: Mapping[p.Direction, str] = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}


@dataclass(frozen=True)
class SetRealizer:
    """Realizer of programs for several objects.

    Args:
        realizer: realizer of single objects, whose style and plurals this one takes.
    """

    realizer: PhraseRealizer

    def realize(self, program: p.Program, count: int) -> tuple[str, ...]:
        """Return every phrase of a program that selects ``count`` objects; none if the style has no words for it."""
        style = self.realizer.style
        forms = _LONG if style == "refcocog" else _SHORT
        if "side" not in get_relation_types(style):
            if isinstance(program, p.Except) and isinstance(program.excluded, p.Extreme):
                return ()
            forms = _WITHOUT_LOCATION
        plurals = self.realizer.plurals
        category = p.get_category(program)
        if type(program) not in forms or plurals.get(category, category) == category or count not in NUMBER_WORDS:
            return ()
        noun = realize_noun_phrase(_get_noun(program))
        nouns = f"{noun.removesuffix(category)}{plurals[category]}"
        words = {"noun": noun, "nouns": nouns, "number": NUMBER_WORDS[count]}
        every = [one.format(**words) for one in (ALL_OF_TWO if count == 2 else ALL_OF_MORE)]
        slots = {name: [word] for name, word in words.items()} | {"all": every} | _list_words(program)
        templates = expand_templates(*forms[type(program)])
        if isinstance(program, p.Alike):
            templates = tuple(one for one in templates if ("{attribute}" in one) == (program.attribute is not None))
        return _fill(templates, slots)

    def find_interpretations(self, program: p.Program, count: int) -> Iterator[tuple[str, p.Program]]:
        """Yield every phrase with each of its interpretations, the program included.

        "The two cups on the left side" are also the two leftmost, and "the left one" also any one on the left side.
        """
        texts = self.realize(program, count)
        yield from ((text, program) for text in texts)
        match program:
            case p.Region(base=base, region=("left" | "right" | "top" | "bottom") as side):
                leading = p.Leading(base=base, count=count, side=side)
                yield from ((text, leading) for text in texts if "image" not in text.split())
            case p.Leading(base=base, side=side):
                yield from ((text, p.Region(base=base, region=side)) for text in texts)
            case p.Except(excluded=p.Extreme(base=base, side=side)):
                loose = replace(program, excluded=p.Region(base=base, region=side))
                yield from ((text, loose) for text in texts)


def _get_noun(program: p.Program) -> p.Program:
    return program if isinstance(program, p.Category | p.WithAttribute) else program.base


def _list_words(program: p.Program) -> dict[str, list[str]]:
    """Return the words for the slots that only this program has."""
    match program:
        case p.Region(region=side) | p.Leading(side=side):
            return {"side": [side]}
        case p.Line():
            return {"line": realize_line(program)}
        case p.Beside(direction=direction, anchor=anchor):
            return {"direction": [_DIRECTIONS[direction]], "anchor": [realize_noun_phrase(anchor)]}
        case p.NextTo(anchor=anchor):
            return {"anchor": [realize_noun_phrase(anchor)]}
        case p.Except(base=base, excluded=p.Extreme(side=side)):
            return {"one": [f"{side} one", f"{side}most one", f"{side} {p.get_category(base)}"]}
        case p.Except(base=base, excluded=excluded):
            noun = realize_noun_phrase(excluded)
            return {"one": [f"{noun.removesuffix(p.get_category(base))}one", noun]}
        case p.Without(value=value):
            return {"value": [value]}
        case p.Alike(attribute=str(attribute)):
            return {"attribute": [attribute]}
        case p.Both(base=base, other=other):
            return {"first": [realize_noun_phrase(base)], "second": [realize_noun_phrase(other)]}
    return {}


def _fill(forms: Iterable[str], slots: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Fill each template with each choice of words for its slots; each phrase once."""
    return tuple(
        dict.fromkeys(
            form.format(**dict(zip(slots, words, strict=True))) for form in forms for words in product(*slots.values())
        )
    )
