"""Noun phrases: the things that a run of words names, each with its modifiers.

wooden table, red and white shirt, wine glass, three cups
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from generation.parsing import lexicon as lex
from generation.parsing.tokens import KNOWN_NOUNS, LIVING, MODIFIERS, NEVER_NOUNS, Word, is_noun


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A noun with what is said of it."""

    surface: str = ""
    """The noun as written, with its compound ("wine glass"); "one" in its place, or empty where neither was said."""

    lemma: str = ""
    """Its last word, spelling corrected, singular."""

    noun: str = ""
    """The whole noun, spelling corrected, as a picture's caption would have it."""

    colours: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Further modifiers, such as ``bald``."""

    count: int | None = None
    plural: bool = False
    contents: tuple[Thing, ...] = ()
    """What a quantity or a part is of: "glass of wine", "slice of pizza"."""

    @property
    def colours_with_owner(self) -> tuple[tuple[str, str], ...]:
        """(colour, lemma) of the thing and of its contents."""
        own = tuple((colour, self.lemma) for colour in self.colours)
        return own + tuple(pair for thing in self.contents for pair in thing.colours_with_owner)


_KINDS = {
    "person": lex.PEOPLE,
    "animal": lex.ANIMALS,
    "garment": lex.GARMENTS,
    "part": lex.BODY_PARTS,
    "stuff": lex.STUFF,
}


_PERSON_ENDINGS = ("man", "woman", "men", "women", "boy", "girl", "person", "people", "ist")


def kind_of(thing: Thing) -> str:
    """``person``, ``animal``, ``garment``, ``part``, ``stuff``, ``thing`` or, without a noun, ``unknown``."""
    last = thing.noun.split()[-1] if thing.noun else ""
    for kind, nouns in _KINDS.items():
        if last in nouns or thing.lemma in nouns:
            return kind
    if last.endswith(_PERSON_ENDINGS) and last not in KNOWN_NOUNS:
        return "person"
    return "thing" if thing.noun else "unknown"


def things_in(words: list[Word]) -> Iterator[Thing]:
    """The things that a run of words names, each with the modifiers before it."""
    thing: Thing | None = None
    modifiers = Thing()
    previous_noun = owned = False
    for word in words:
        if not is_noun(word) or _is_colour_here(word, words):
            if word.text not in lex.SKIPPED:
                modifiers = _modified(modifiers, word)
                previous_noun = False
            owned = owned or word.text == "'s"
            continue
        if thing is None:
            thing = named(modifiers, word)
        elif not owned and _goes_on(thing, modifiers, word, previous_noun):
            thing = _compounded(thing, modifiers, word)
        else:
            yield thing
            thing = named(modifiers, word)
        modifiers, previous_noun, owned = Thing(), True, False
    if thing is not None:
        yield thing
    if modifiers != Thing():
        yield modifiers


def _is_colour_here(word: Word, words: list[Word]) -> bool:
    """ "orange cat" but "cut orange"; "gold", "fur", "paper" likewise: a modifier if a noun follows at once."""
    if word.text not in MODIFIERS:
        return False
    following = [one for one in words[words.index(word) + 1 :] if one.text != "and"][:1]
    return bool(following) and (is_noun(following[0]) or following[0].text in _BEFORE_HEADS)


def _goes_on(thing: Thing, modifiers: Thing, word: Word, adjacent: bool) -> bool:
    """Whether a further noun goes on with the compound ("wine" + "glass") instead of naming another thing."""
    last = thing.noun.split()[-1]
    if word.text in lex.GARMENTS and last in lex.GARMENTS:
        return adjacent and last in _GARMENT_KINDS
    if word.text in lex.GARMENTS and last not in lex.THINGS:
        return adjacent and (last in _CRAFTS or last not in LIVING)
    if last in lex.GARMENTS and word.text in lex.PEOPLE:
        return False
    if (last in lex.PEOPLE and not adjacent) or (last in lex.PERSONS and word.text not in LIVING):
        return False
    if word.text in lex.PERSONS and last in _THINGS_OF_PEOPLE:
        return False
    return adjacent or modifiers == Thing()


_GARMENT_KINDS = frozenset(["dress", "suit", "polo", "uniform", "jersey", "sweater", "swimsuit"])
""" "suit jacket" is one garment, "shirt jeans" are two."""

_CRAFTS = frozenset(["snow", "police", "fire", "repair", "tennis", "bus", "cow", "business", "delivery"])


_THINGS_OF_PEOPLE = KNOWN_NOUNS - lex.PEOPLE - _CRAFTS
_BEFORE_HEADS = MODIFIERS | lex.VAGUE


def _modified(thing: Thing, word: Word) -> Thing:
    """``thing`` with one more modifier, by the kind of the word."""
    text = word.text
    if text in lex.COUNTS:
        return replace(thing, count=lex.COUNTS[text])
    if text in lex.COLOURS:
        return replace(thing, colours=(*thing.colours, text))
    if text in lex.PATTERNS:
        return replace(thing, patterns=(*thing.patterns, text))
    if text in lex.SIZES:
        return replace(thing, sizes=(*thing.sizes, text))
    if text in lex.MATERIALS:
        return replace(thing, materials=(*thing.materials, text))
    if text in NEVER_NOUNS or text in lex.RELATIONS or word.pos not in ("ADJ", "VERB", "NUM", "NOUN", "PROPN"):
        return thing
    return replace(thing, others=(*thing.others, text))


def named(modifiers: Thing, word: Word) -> Thing:
    lemma = _singular(word)
    plural = lemma != word.text and (word.text.endswith("s") or word.text in lex.PLURALS)
    return replace(modifiers, surface=word.surface, lemma=lemma, noun=word.text, plural=plural)


def _compounded(thing: Thing, modifiers: Thing, word: Word) -> Thing:
    """``thing`` as the first part of a longer noun."""
    further = named(modifiers, word)
    return replace(
        with_modifiers(thing, further),
        surface=f"{thing.surface} {further.surface}",
        lemma=further.lemma,
        noun=f"{thing.noun} {further.noun}",
        plural=further.plural,
    )


def _singular(word: Word) -> str:
    """spaCy's lemma for nouns, but never of a word known to have no singular ("glasses", "pants", "bus")."""
    text = word.text.rstrip("_")
    if text in lex.IRREGULAR:
        return lex.IRREGULAR[text]
    if text in lex.SAME_IN_SINGULAR:
        return text
    if text not in KNOWN_NOUNS:
        known = next((one for one in (text[:-1], text[:-2]) if text.endswith("s") and one in KNOWN_NOUNS), "")
        return known or (word.lemma if word.pos in ("NOUN", "PROPN") else text)
    if not text.endswith("s") or text.endswith(("ss", "us", "is")):
        return text
    return text[:-2] if text.endswith(("shes", "ches", "xes")) else text[:-1]


def with_modifiers(thing: Thing, more: Thing) -> Thing:
    """``thing`` with the modifiers of ``more`` after its own."""
    return replace(
        thing,
        colours=(*thing.colours, *more.colours),
        patterns=(*thing.patterns, *more.patterns),
        materials=(*thing.materials, *more.materials),
        sizes=(*thing.sizes, *more.sizes),
        others=(*thing.others, *more.others),
        count=thing.count or more.count,
    )
