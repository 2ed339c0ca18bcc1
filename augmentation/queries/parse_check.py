"""Whether a phrase is understood: our own parser must read out of it what the program put in.

Priors are drawn from what the parser reads. A phrase whose head it takes for something else, or whose place it takes
for a look, would train the network with a picture of another thing.
"""

from __future__ import annotations

import re
from functools import lru_cache

from augmentation.queries.realizer import ORDINALS, category_of
from augmentation.relations.programs import Beside, Between, Nearest, NextTo, Program
from generation.parsing.attributes import AttributeParser, Attributes

PLACE_WORDS = frozenset(
    [
        *("left", "right", "top", "bottom", "leftmost", "rightmost", "topmost", "bottommost", "middle", "center"),
        *("front", "back", "background", "behind", "above", "below", "between", "beside", "next"),
        *("closest", "nearest", "furthest", "far", "row", "column", "corner"),
        *(word for words in ORDINALS.values() for word in words),
    ]
)
"""Words of our phrases that say where something is."""

_NOT_KEPT = frozenset({"column", "corner", "far"})
"""Those that the parser may take out without a record of them: they never tell two places apart."""


class Readback:
    """Parses phrases, each once as long as it remembers it."""

    def __init__(self, parser: AttributeParser | None = None) -> None:
        self._parser = parser or AttributeParser()
        self._read = lru_cache(maxsize=100_000)(lambda text: self._parser.parse([text])[0])

    def understands(self, text: str, program: Program) -> bool:
        """Whether head, place and the things that it is related to come back."""
        read = self._read(text)
        return (
            names(read.target.lemma, category_of(program))
            and _said(text) <= _located(read)
            and _is_related(read, program)
        )


def names(lemma: str, category: str) -> bool:
    """Whether a head noun stands for a category: "table" for "dining table", "hotdog" for "hot dog"."""
    return bool(lemma) and lemma in (category, category.replace(" ", ""), category.split()[-1])


def _said(text: str) -> set[str]:
    return set(text.split()) & (PLACE_WORDS - _NOT_KEPT)


def _located(read: Attributes) -> set[str]:
    found = (*read.absolute_location, *read.ordinals, *read.relative_location, *(one.relation for one in read.related))
    return {word for words in found for word in re.split(r"[ _]", words)}


def _is_related(read: Attributes, program: Program) -> bool:
    """Whether the other thing is read as such; "one" names none."""
    match program:
        case Beside(anchor=other) | NextTo(anchor=other) | Nearest(anchor=other) | Between(ends=other):
            category = category_of(other)
            return any(not one.thing.lemma or names(one.thing.lemma, category) for one in read.related)
    return True
