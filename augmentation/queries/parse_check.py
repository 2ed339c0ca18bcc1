"""Whether a phrase is understood: our own parser must read out of it what the program put in.

Priors are drawn from what the parser reads. A phrase whose head it takes for something else, or whose place it takes
for a look, would train the network with a image of another object.
"""

from __future__ import annotations

import re
from functools import lru_cache

from augmentation.queries.realizer import get_category
from augmentation.relations.programs import Beside, Between, Nearest, NextTo, Program
from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.english import ORDINALS

POSITION_WORDS = frozenset(
    [
        *("left", "right", "top", "bottom", "leftmost", "rightmost", "topmost", "bottommost", "middle", "center"),
        *("front", "back", "background", "behind", "above", "below", "between", "beside", "next"),
        *("closest", "nearest", "furthest", "far", "row", "column", "corner"),
        *(word for words in ORDINALS.values() for word in words),
    ]
)
"""Words of our phrases that say where something is."""

_UNRECORDED_WORDS = frozenset({"column", "corner", "far"})
"""Those that the parser may take out without a record of them: they never tell two places apart."""


class RoundTripParser:
    """Parses phrases, each once as long as it remembers it."""

    def __init__(self, parser: AttributeParser | None = None) -> None:
        self._parser = parser or AttributeParser()
        self._parse = lru_cache(maxsize=100_000)(lambda text: self._parser.parse([text])[0])

    def is_consistent(self, text: str, program: Program) -> bool:
        """Whether head, place and the objects that it is related to come back."""
        parsed = self._parse(text)
        return (
            is_category_name(parsed.target.lemma, get_category(program))
            and _find_location_words(text) <= _list_parsed_locations(parsed)
            and _is_related(parsed, program)
        )


def is_category_name(lemma: str, category: str) -> bool:
    """Whether a head noun stands for a category: "table" for "dining table", "hotdog" for "hot dog"."""
    return bool(lemma) and lemma in (category, category.replace(" ", ""), category.split()[-1])


def _find_location_words(text: str) -> set[str]:
    return set(text.split()) & (POSITION_WORDS - _UNRECORDED_WORDS)


def _list_parsed_locations(parsed: Attributes) -> set[str]:
    locations = (
        *parsed.absolute_location,
        *parsed.ordinals,
        *parsed.relative_location,
        *(one.relation for one in parsed.related),
    )
    return {word for words in locations for word in re.split(r"[ _]", words)}


def _is_related(parsed: Attributes, program: Program) -> bool:
    """Whether the other object is read as such; "one" names none."""
    match program:
        case Beside(anchor=other) | NextTo(anchor=other) | Nearest(anchor=other) | Between(ends=other):
            category = get_category(other)
            return any(
                not one.noun_phrase.lemma or is_category_name(one.noun_phrase.lemma, category) for one in parsed.related
            )
    return True
