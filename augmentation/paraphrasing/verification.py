"""Verification of paraphrases: the parser reads what it reads in the query, and no other object of the scene fits.

    verifier.find_fault("the cup that is on the left", query, scene) == ""
    verifier.find_fault("the right cup", query, scene) == "other_place"

A paraphrase has a reading: the category, attributes, place, relations and negations that the parser finds. It must be
that of the verified query. All programs of the scene whose phrases have this reading must select the target, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from augmentation.queries.generator import VerifiedQuery, enumerate_negations, enumerate_programs
from augmentation.queries.measured_style import MARKS, SUPERLATIVE_WORDS, load_style
from augmentation.queries.parse_check import RoundTripParser, is_category_name
from augmentation.queries.realizer import PhraseRealizer, get_noun_program, list_categories
from augmentation.queries.templates import VARIED
from augmentation.relations import programs as p
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.scene import Scene
from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.english import ORDINALS
from generation.parsing.lexicon import COLORS, NEGATIONS, PATTERNS, SIZES
from generation.parsing.normalization import is_empty, normalize_text
from generation.parsing.noun_phrases import NounPhrase

Fault = Literal[
    "",
    "empty",
    "unchanged",
    "unknown_words",
    "other_target",
    "other_attributes",
    "other_place",
    "other_relations",
    "other_negation",
    "other_meaning",
]
"""Reason to reject a paraphrase; empty for none."""

_PLACES = {
    "leftmost": "left",
    "rightmost": "right",
    "topmost": "top",
    "bottommost": "bottom",
    "upper": "top",
    "lower": "bottom",
    "center": "middle",
    "foreground": "front",
    "background": "back",
    "furthest": "far",
    "farthest": "far",
}
_RELATIONS = {"beside": "next to", "nearest": "closest to", "nearest to": "closest to"}
_MEASURES = {word: measure for measure, (most, more) in SUPERLATIVE_WORDS.items() for word in (*most, *more)}
_RANKS = {word: str(rank) for rank, words in ORDINALS.items() for word in words}
_PATTERNS_BY_MARK = {mark: pattern for pattern, mark in MARKS.items()}
"""One word for each meaning."""


_FUNCTION_WORDS = """a an and are can find has having image is it its located of photo picture placed please positioned
scene see shown side there this which who with you"""
_WORDS = frozenset(_FUNCTION_WORDS.split()) | {
    word for template in VARIED.list_all() for word in re.sub(r"\{\w+\}", " ", template).split()
}
_WORDS |= {*_PLACES, *_PLACES.values(), *_RANKS, *_MEASURES, *PATTERNS, *COLORS, *SIZES}
"""Words that a paraphrase may have besides those of the query: all others could change its meaning unnoticed."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What the parser finds in a text, in one word for each meaning."""

    target: str
    """Category, or empty without a noun."""

    attributes: frozenset[object]
    place: frozenset[str]
    relations: frozenset[object]
    comparison: str
    negation: frozenset[str]
    is_negated: bool
    """Whether the text negates anything; the parser does not read "not on the left"."""


_FAULTS: Mapping[str, Fault] = {
    "target": "other_target",
    "attributes": "other_attributes",
    "place": "other_place",
    "comparison": "other_attributes",
    "relations": "other_relations",
    "negation": "other_negation",
    "is_negated": "other_negation",
}
"""Fault by the part of the reading that differs."""


class ParaphraseVerifier:
    """Verifier of paraphrases.

    Args:
        realizer: realizer of the queries. Interpretations are those of its style and of a measured one, which has more
            words.
    """

    def __init__(self, realizer: PhraseRealizer) -> None:
        self._realizers = (realizer, replace(realizer, style=load_style("refcoco-measured")))
        self._realizer, self._round_trip = realizer, RoundTripParser(nouns=realizer.nouns)
        self._parser, self._parsed = AttributeParser(), dict[str, Attributes]()

    def find_fault(self, text: str, query: VerifiedQuery, scene: Scene) -> Fault:
        """Return the reason to reject a paraphrase of a query; empty if it is verified."""
        if is_empty(text):
            return "empty"
        if text == query.text:
            return "unchanged"
        names = self._list_names(scene)
        known = (
            _WORDS
            | COLORS
            | PATTERNS
            | SIZES
            | set(query.text.split())
            | {word for nouns in names.values() for noun in nouns for word in noun.split()}
        )
        if not set(normalize_text(text).split()) - {","} <= known:
            return "unknown_words"
        expected, found = (self._read(one, names) for one in (query.text, text))
        for name, value in vars(expected).items():
            if getattr(found, name) != value:
                return _FAULTS[name]
        if not self._round_trip.is_consistent(text, query.program):
            return "other_place"
        return (
            "" if self._find_selections(found, query, scene, names) == {frozenset([query.target])} else "other_meaning"
        )

    def _list_names(self, scene: Scene) -> dict[str, list[str]]:
        """List the nouns that name objects of each category of the scene, and of no other one."""
        categories = sorted({one.category for one in scene.objects})
        return {name: [name, *self._realizer.list_nouns(name, scene)] for name in categories}

    def _parse(self, texts: list[str]) -> list[Attributes]:
        new = [text for text in dict.fromkeys(texts) if text not in self._parsed]
        self._parsed.update(zip(new, self._parser.parse(new), strict=True))
        return [self._parsed[text] for text in texts]

    def _read(self, text: str, names: Mapping[str, list[str]]) -> _Reading:
        (parsed,) = self._parse([text])
        others = (parsed.wearing, parsed.carrying, parsed.parts, parsed.owner, parsed.actions, parsed.inscription)
        return _Reading(
            target=_find_category(parsed.target, names),
            attributes=_read_attributes(parsed.target) | {others, parsed.target.plural},
            place=frozenset(_PLACES.get(word, word) for word in parsed.absolute_location)
            | {_RANKS.get(word, word) for word in parsed.ordinals},
            relations=frozenset(
                (
                    _RELATIONS.get(one.relation, one.relation),
                    _find_category(one.noun_phrase, names),
                    _read_attributes(one.noun_phrase),
                    one.noun_phrase.plural,
                )
                for one in parsed.related
            ),
            comparison=parsed.comparison,
            negation=frozenset(_PATTERNS_BY_MARK.get(word, word) for word in parsed.negated) - {"one"},
            is_negated=not NEGATIONS.isdisjoint(text.split()),
        )

    def _find_selections(
        self, reading: _Reading, query: VerifiedQuery, scene: Scene, names: Mapping[str, list[str]]
    ) -> set[frozenset[int]]:
        """Find what the interpretations select, of all phrases of the scene that have the same reading."""
        evaluator = ProgramEvaluator(scene, include_borderline=True)
        interpretations = list(self._list_interpretations(query, scene))
        self._parse([text for text, _ in interpretations])
        return {
            selected
            for text, program in interpretations
            if self._read(text, names) == reading and (selected := evaluator.evaluate(program))
        }

    def _list_interpretations(self, query: VerifiedQuery, scene: Scene) -> Iterator[tuple[str, p.Program]]:
        category, noun = p.get_category(query.program), get_noun_program(query.program)
        programs = list(enumerate_programs(scene, category, self._realizer.plurals, has_side_anchors=True))
        programs = [query.program, *programs, *enumerate_negations(programs)]
        for program in dict.fromkeys(programs):
            if get_noun_program(program) == noun and list_categories(program) == list_categories(query.program):
                for realizer in self._realizers:
                    yield from realizer.find_interpretations(program)


def _find_category(noun_phrase: NounPhrase, names: Mapping[str, list[str]]) -> str:
    """Return the category that a noun names in the scene, or the noun itself."""
    lemma = noun_phrase.lemma
    named = (name for name, nouns in names.items() if any(is_category_name(lemma, noun) for noun in nouns))
    return next(named, lemma)


def _read_attributes(noun_phrase: NounPhrase) -> frozenset[object]:
    words = (*noun_phrase.colors, *noun_phrase.materials, *noun_phrase.other_modifiers, *noun_phrase.contents)
    patterns = (_PATTERNS_BY_MARK.get(word, word) for word in noun_phrase.patterns)
    return frozenset([*words, *patterns, *(_MEASURES.get(word, word) for word in noun_phrase.sizes)])
