"""Tagged words and their possible roles in a referring expression: noun, modifier, verb, or noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from generation.parsing import lexicon as lex


@dataclass(frozen=True, slots=True)
class Word:
    """Tagged word; ``surface`` is the written form, ``text`` the corrected one."""

    text: str
    surface: str
    lemma: str
    pos: str


def normalize_words(words: list[Word]) -> Iterator[Word]:
    """Yield words for the grammar: finite verbs as ``-ing`` forms, compounds with a verb form as one word."""
    nothing = Word("", "", "", "")
    previous, skip = nothing, False
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else nothing
        if skip:
            skip = False
            continue
        result = word
        if following.text in lex.COMPOUNDS.get(word.text, "").split():
            result = Word(
                f"{word.text} {following.text}", f"{word.surface} {following.surface}", following.lemma, "NOUN"
            )
            skip = True
        elif following.text in _SHAPED and word.pos in ("NOUN", "PROPN", "ADJ"):
            if word.text not in MODIFIERS:
                result = Word(f"{word.text}-{following.text}", f"{word.surface} {following.surface}", word.lemma, "ADJ")
            skip = True
        elif following.text in _COVERED and word.pos in ("NOUN", "PROPN") and i + 2 < len(words):
            if words[i + 2].pos in ("NOUN", "PROPN", "ADJ"):
                result = Word(f"{word.text}-{following.text}", f"{word.surface} {following.surface}", word.lemma, "ADJ")
                skip = True
        elif word.text in _PARTICLES and (previous.text in lex.POSTURES or previous.text in lex.OBJECT_ACTIONS):
            continue
        elif word.text.endswith("ing") and word.pos == "NOUN" and previous.text in LIVING:
            result = replace(word, pos="VERB")
        elif word.text == "number" and following.text.isdigit():
            continue
        elif _is_finite(word, previous, following):
            result = replace(word, text=_find_participle(word), pos="VERB")
        yield result
        previous = result


_SHAPED = frozenset({"shaped", "sized", "patterned", "colored", "coloured"})
_COVERED = frozenset({"covered", "filled", "topped", "glazed", "frosted", "coated", "flavored", "sleeved", "lined"})
""" "chocolate covered donut": one modifier."""

_PARTICLES = frozenset({"over", "down", "up", "out"})


def _is_finite(word: Word, previous: Word, following: Word) -> bool:
    """Return whether a word is a finite verb ("a zebra sniffs the ground"), whatever its tag."""
    if word.text in KNOWN_NOUNS or word.text in MODIFIERS or word.text in lex.FILLED:
        return False
    if word.pos == "VERB":
        return word.text in (word.lemma, f"{word.lemma}s", f"{word.lemma}es")
    subject = previous.text in LIVING
    return subject and word.text.endswith("s") and following.text in _AFTER_VERBS


def _find_participle(verb: Word) -> str:
    """Find the ``-ing`` form if the lexicon has it ("sits": "sitting"); else return the verb unchanged."""
    stem = verb.lemma if verb.pos == "VERB" else verb.text.removesuffix("s")
    for form in (f"{stem}ing", f"{stem[:-1]}ing", f"{stem}{stem[-1:]}ing"):
        if form in lex.POSTURES or form in lex.OBJECT_ACTIONS:
            return form
    return verb.text


def is_noun(word: Word) -> bool:
    """Return whether a word is a noun, by the lexicon and its tag."""
    return (
        word.text in KNOWN_NOUNS or word.lemma in KNOWN_NOUNS or word.pos in ("NOUN", "PROPN", "X", "INTJ")
    ) and not (
        word.text in _NEVER_HEADS
        or word.text in NEVER_NOUNS
        or (word.text in MODIFIERS and word.text not in KNOWN_NOUNS)
        or ("-" in word.text and word.pos == "ADJ")
        or is_participle(word)
    )


def is_participle(word: Word) -> bool:
    """Return whether a word is an attribute in -ed ("faced", "overstuffed"), whatever its tag."""
    return len(word.text) > 4 and word.text.endswith("ed") and word.text not in KNOWN_NOUNS


KNOWN_NOUNS = (
    (lex.PEOPLE | lex.ANIMALS | lex.GARMENTS | lex.BODY_PARTS | lex.CARRIED | lex.RIDDEN)
    | (lex.OBJECT_NOUNS | lex.IMAGE_NOUNS | lex.STUFF | lex.FURTHER_NOUNS)
) - {"stone", "brick"}
MODIFIERS = lex.COLORS | lex.PATTERNS | lex.MATERIALS | lex.SIZES
LIVING = lex.PEOPLE | lex.ANIMALS
_AFTER_VERBS = lex.DETERMINERS | lex.RELATIONS
_VERBS = lex.POSTURES | lex.OBJECT_ACTIONS | lex.FILLED
_NEVER_VERBS = lex.ADJECTIVES - lex.POSTURES
_NEVER_HEADS = lex.ADJECTIVES - KNOWN_NOUNS
NEVER_NOUNS = lex.FRAMING | lex.SKIPPED | lex.VAGUE | lex.ORDINAL_WORDS | frozenset(lex.COUNTS)


def is_verb(word: Word) -> bool:
    """Return whether a word is an action, by the lexicon and its tag."""
    text = word.text
    if text in KNOWN_NOUNS or text in MODIFIERS or text in NEVER_NOUNS or text in _NEVER_VERBS:
        return False
    return text in _VERBS or (text.endswith("ing") and word.pos == "VERB")
