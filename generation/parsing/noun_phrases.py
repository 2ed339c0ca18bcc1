"""Noun phrases: nouns with their modifiers, such as "red and white shirt", "wine glass" and "three cups"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from generation.parsing import lexicon as lex
from generation.parsing.spelling import is_english
from generation.parsing.tokens import KNOWN_NOUNS, LIVING, MODIFIERS, NEVER_NOUNS, Word, is_noun


@dataclass(frozen=True, kw_only=True)
class NounPhrase:
    """Noun with its modifiers."""

    surface: str = ""
    """Noun as written, with its compound ("wine glass"); "one" or empty without a noun."""

    lemma: str = ""
    """Last word of the noun, spelling corrected, singular."""

    noun: str = ""
    """Whole noun, spelling corrected, for captions."""

    colors: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    other_modifiers: tuple[str, ...] = ()
    """Further modifiers, such as ``bald``."""

    count: int | None = None
    plural: bool = False
    contents: tuple[NounPhrase, ...] = ()
    """Wholes of a quantity or a part: "glass of wine", "slice of pizza"."""

    @property
    def colors_with_owner(self) -> tuple[tuple[str, str], ...]:
        """(color, lemma) pairs of the noun and of its contents."""
        own = tuple((color, self.lemma) for color in self.colors)
        return own + tuple(pair for noun_phrase in self.contents for pair in noun_phrase.colors_with_owner)


_KINDS = {
    "person": lex.PEOPLE,
    "animal": lex.ANIMALS,
    "garment": lex.GARMENTS,
    "part": lex.BODY_PARTS,
    "stuff": lex.STUFF,
}


_PERSON_ENDINGS = ("man", "woman", "men", "women", "boy", "girl", "person", "people", "ist")


def infer_kind(noun_phrase: NounPhrase) -> str:
    """Infer ``person``, ``animal``, ``garment``, ``part``, ``stuff`` or ``object``; ``unknown`` without a noun."""
    last = noun_phrase.noun.split()[-1] if noun_phrase.noun else ""
    for kind, nouns in _KINDS.items():
        if last in nouns or noun_phrase.lemma in nouns:
            return kind
    if last.endswith(_PERSON_ENDINGS) and last not in KNOWN_NOUNS:
        return "person"
    return "object" if noun_phrase.noun else "unknown"


def find_noun_phrases(words: list[Word]) -> Iterator[NounPhrase]:
    """Yield the nouns in a run of words, each with the modifiers before it."""
    noun_phrase: NounPhrase | None = None
    modifiers = NounPhrase()
    previous_noun = owned = False
    for word in words:
        if not is_noun(word) or _is_modifier(word, words):
            if word.text not in lex.SKIPPED:
                modifiers = _add_modifier(modifiers, word)
                previous_noun = False
            owned = owned or word.text == "'s"
            continue
        if noun_phrase is None:
            noun_phrase = make_noun_phrase(modifiers, word)
        elif not owned and _extends_compound(noun_phrase, modifiers, word, previous_noun):
            noun_phrase = _extend_compound(noun_phrase, modifiers, word)
        else:
            yield noun_phrase
            noun_phrase = make_noun_phrase(modifiers, word)
        modifiers, previous_noun, owned = NounPhrase(), True, False
    if noun_phrase is not None:
        yield noun_phrase
    if modifiers != NounPhrase():
        yield modifiers


def _is_modifier(word: Word, words: list[Word]) -> bool:
    """Return whether the next word makes this one a modifier: "orange cat" but "cut orange"."""
    if word.text not in MODIFIERS:
        return False
    following = [one for one in words[words.index(word) + 1 :] if one.text != "and"][:1]
    return bool(following) and (is_noun(following[0]) or following[0].text in _BEFORE_HEADS)


def _extends_compound(noun_phrase: NounPhrase, modifiers: NounPhrase, word: Word, adjacent: bool) -> bool:
    """Return whether a noun extends the compound ("wine" + "glass") instead of naming another object."""
    last = noun_phrase.noun.split()[-1]
    if word.text in lex.GARMENTS and last in lex.GARMENTS:
        return adjacent and last in _GARMENT_KINDS
    if word.text in lex.GARMENTS and last not in lex.OBJECT_NOUNS:
        return adjacent and (last in _CRAFTS or last not in LIVING)
    if last in lex.GARMENTS and word.text in lex.PEOPLE:
        return False
    if (last in lex.PEOPLE and not adjacent) or (last in lex.PERSONS and word.text not in LIVING):
        return False
    if word.text in lex.PERSONS and last in _NOUNS_OF_POSSESSIONS:
        return False
    return adjacent or modifiers == NounPhrase()


_GARMENT_KINDS = frozenset(["dress", "suit", "polo", "uniform", "jersey", "sweater", "swimsuit"])
""" "suit jacket" is one garment, "shirt jeans" are two."""

_CRAFTS = frozenset(["snow", "police", "fire", "repair", "tennis", "bus", "cow", "business", "delivery"])


_NOUNS_OF_POSSESSIONS = KNOWN_NOUNS - lex.PEOPLE - _CRAFTS
_BEFORE_HEADS = MODIFIERS | lex.VAGUE


def _add_modifier(noun_phrase: NounPhrase, word: Word) -> NounPhrase:
    """Add a modifier in the field for its kind."""
    text = word.text
    if text in lex.COUNTS:
        return replace(noun_phrase, count=lex.COUNTS[text])
    if text in lex.COLORS:
        return replace(noun_phrase, colors=(*noun_phrase.colors, text))
    if text in lex.PATTERNS:
        return replace(noun_phrase, patterns=(*noun_phrase.patterns, text))
    if text in lex.SIZES:
        return replace(noun_phrase, sizes=(*noun_phrase.sizes, text))
    if text in lex.MATERIALS:
        return replace(noun_phrase, materials=(*noun_phrase.materials, text))
    if text in NEVER_NOUNS or text in lex.RELATIONS or word.pos not in ("ADJ", "VERB", "NUM", "NOUN", "PROPN"):
        return noun_phrase
    return replace(noun_phrase, other_modifiers=(*noun_phrase.other_modifiers, text))


def make_noun_phrase(modifiers: NounPhrase, word: Word) -> NounPhrase:
    """Make a noun phrase of a noun and the modifiers before it."""
    lemma, noun = _find_singular(word), word.text
    if modifiers.count and modifiers.count > 1 and noun in _IRREGULAR_PLURALS:  # "two woman"
        noun = _IRREGULAR_PLURALS[noun]
    plural = lemma != noun and (noun.endswith("s") or noun in lex.PLURALS or _is_plural_of_man(noun))
    return replace(modifiers, surface=word.surface, lemma=lemma, noun=noun, plural=plural)


def _extend_compound(noun_phrase: NounPhrase, modifiers: NounPhrase, word: Word) -> NounPhrase:
    """Extend a noun to a compound."""
    further = make_noun_phrase(modifiers, word)
    return replace(
        add_modifiers(noun_phrase, further),
        surface=f"{noun_phrase.surface} {further.surface}",
        lemma=further.lemma,
        noun=f"{noun_phrase.noun} {further.noun}",
        plural=further.plural,
    )


_IRREGULAR_PLURALS = {lex.IRREGULAR[plural]: plural for plural in lex.PLURALS if plural != "people"}


def _is_plural_of_man(text: str) -> bool:
    """Return whether a word is a plural such as "fishermen"; "specimen" is none."""
    return text.endswith("men") and is_english(f"{text[:-3]}man")


def _find_singular(word: Word) -> str:
    """Find the singular: spaCy's lemma, except for known words without a singular ("glasses", "pants", "bus")."""
    text = word.text.rstrip("_")
    if text in lex.IRREGULAR:
        return lex.IRREGULAR[text]
    if text in lex.SAME_IN_SINGULAR:
        return text
    if _is_plural_of_man(text):
        return f"{text[:-3]}man"
    if text not in KNOWN_NOUNS:
        known = next((one for one in (text[:-1], text[:-2]) if text.endswith("s") and one in KNOWN_NOUNS), "")
        return known or (word.lemma if word.pos in ("NOUN", "PROPN") else text)
    if not text.endswith("s") or text.endswith(("ss", "us", "is")):
        return text
    return text[:-2] if text.endswith(("shes", "ches", "xes")) else text[:-1]


def add_modifiers(noun_phrase: NounPhrase, more: NounPhrase) -> NounPhrase:
    """Append the modifiers of ``more``."""
    return replace(
        noun_phrase,
        colors=(*noun_phrase.colors, *more.colors),
        patterns=(*noun_phrase.patterns, *more.patterns),
        materials=(*noun_phrase.materials, *more.materials),
        sizes=(*noun_phrase.sizes, *more.sizes),
        other_modifiers=(*noun_phrase.other_modifiers, *more.other_modifiers),
        count=noun_phrase.count or more.count,
    )
