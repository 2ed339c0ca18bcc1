"""Round-trip check of phrases: the query parser must recover what the program expresses.

Priors are rendered from parsed queries. If the parser mistakes the head noun, or a position for an attribute, the
prior shows another object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from augmentation.queries.measured_style import MARKS
from augmentation.relations.programs import (
    Alike,
    Beside,
    Between,
    Both,
    Except,
    Nearest,
    NextTo,
    Odd,
    Program,
    Without,
    get_category,
)
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
"""Position words of the phrase templates."""

_UNRECORDED_WORDS = frozenset({"column", "corner", "far"})
"""Position words that the parser may drop; they never distinguish two positions."""


_CONTACT_WORDS = {"on": ("on", "top of"), "in": ("in", "inside")}
"""Relations that the parser finds for "on top of" and "inside"."""


class RoundTripParser:
    """Parser of phrases with a cache.

    Args:
        parser: parser of queries; a new one if None.
        nouns: further nouns by category, as in ``VocabularyConfig.nouns``.
    """

    def __init__(self, parser: AttributeParser | None = None, nouns: Mapping[str, Sequence[str]] | None = None) -> None:
        self._nouns = nouns or {}
        self._parser = parser or AttributeParser()
        self._parse = lru_cache(maxsize=100_000)(lambda text: self._parser.parse([text])[0])

    def is_consistent(self, text: str, program: Program) -> bool:
        """Return whether the parser recovers the phrase's head noun, position, comparison and related objects."""
        parsed = self._parse(text)
        return (
            (self._names(parsed.target.lemma, get_category(program)) or self._has_no_noun(text, parsed, program))
            and set(text.split()) & (POSITION_WORDS - _UNRECORDED_WORDS) <= _list_parsed_locations(parsed)
            and parsed.comparison == _get_comparison(program)
            and self._is_related(parsed, program)
        )

    def names_several(self, text: str, program: Program) -> bool:
        """Return whether the parser reads a phrase of several objects as such: plural, "every ..." or "... and ..."."""
        target = self._parse(text).target
        is_list = isinstance(program, Both | Except) or text.startswith("every ")
        return is_list or target.plural or (target.count or 0) > 1

    def _names(self, lemma: str, category: str) -> bool:
        return any(is_category_name(lemma, noun) for noun in (category, *self._nouns.get(category, ())))

    def _has_no_noun(self, text: str, parsed: Attributes, program: Program) -> bool:
        """Return whether the phrase names no category, and the parser finds none: "red one", "second from left"."""
        category = get_category(program)
        starts = tuple(noun.split()[-1][:3] for noun in (category, *self._nouns.get(category, ())))
        return not parsed.target.lemma and not any(word.startswith(starts) for word in text.split())

    def _is_related(self, parsed: Attributes, program: Program) -> bool:
        """Return whether the parser finds the anchor or the negated word of the program.

        "One" as the noun of an anchor fits every category.
        """
        match program:
            case Without(value=value):
                return not {value, MARKS.get(value, value)}.isdisjoint(parsed.negated)
            case Beside(direction=("on" | "in") as kind, anchor=other):
                return any(
                    one.relation in _CONTACT_WORDS[kind] and self._names(one.noun_phrase.lemma, get_category(other))
                    for one in parsed.related
                )
            case Beside(anchor=other) | NextTo(anchor=other) | Nearest(anchor=other) | Between(ends=other):
                category = get_category(other)
                return any(
                    not one.noun_phrase.lemma or self._names(one.noun_phrase.lemma, category) for one in parsed.related
                )
        return True


def is_category_name(lemma: str, category: str) -> bool:
    """Return whether a head noun names a category: "table" for "dining table", "hotdog" for "hot dog"."""
    return bool(lemma) and lemma in (category, category.replace(" ", ""), category.split()[-1])


def _get_comparison(program: Program) -> str:
    """Return what the parser finds in a phrase of the program: "different", "same color", or nothing."""
    match program:
        case Odd(attribute=attribute):
            return f"different {attribute or ''}".strip()
        case Alike(attribute=attribute):
            return f"same {attribute or ''}".strip()
    return ""


def _list_parsed_locations(parsed: Attributes) -> set[str]:
    locations = (
        *parsed.absolute_location,
        *parsed.ordinals,
        *parsed.relative_location,
        *(one.relation for one in parsed.related),
    )
    return {word for words in locations for word in re.split(r"[ _]", words)}
