"""Corrects how people type, towards the words that referring expressions are made of.

    corrected("umbrealla") == "umbrella"

A table holds the frequent short forms ("blk", "zbra"). Of the rest only words that no English dictionary has are
touched, and only if one edit (two in a long word) makes them a word of the lexicon: names stay as they are.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

from symspellpy import SymSpell, Verbosity

from generation.parsing import lexicon as lex

MIN_LETTERS = 4
LONG_WORD = 9
"""Letters from which two edits are allowed."""


@lru_cache(maxsize=100_000)
def corrected(word: str) -> str:
    """``word`` as it was meant; lower case in, lower case out; more than one word for "bottomleft"."""
    if word in lex.SPELLING:
        return lex.SPELLING[word]
    if len(word) < MIN_LETTERS or not word.isascii() or not word.isalpha() or word in _vocabulary():
        return word
    if word in _english() or word.removesuffix("s") in _english():
        return word
    return _split(word) or _nearest(word)


def _split(word: str) -> str:
    """ "plaidman", "leftguy": what stands before the noun, written with it."""
    for end in range(3, len(word) - 2):
        if word[:end] in _BEFORE_NOUNS and word[end:] in _NOUNS:
            return f"{word[:end]} {word[end:]}"
    return ""


def _nearest(word: str) -> str:
    """The word of the lexicon with the same first letter that differs least; the word itself where there is none."""
    edits = 2 if len(word) >= LONG_WORD else 1
    found = _speller().lookup(word, Verbosity.CLOSEST, max_edit_distance=edits)
    return next((one.term for one in found if one.term[0] == word[0]), word)


_NOUNS = lex.PEOPLE | lex.ANIMALS | lex.GARMENTS | lex.BODY_PARTS | lex.CARRIED | lex.THINGS | lex.STUFF
_BEFORE_NOUNS = lex.COLOURS | lex.PATTERNS | lex.SIZES | lex.LOCATION_WORDS


@cache
def _english() -> dict[str, int]:
    """Words of English with their frequencies."""
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return {word: int(count) for word, count in (line.split() for line in text.splitlines())}


@cache
def _vocabulary() -> frozenset[str]:
    others = lex.COLOURS | lex.PATTERNS | lex.MATERIALS | lex.WEARING | lex.HOLDING | lex.POSTURES | lex.OBJECT_ACTIONS
    others |= lex.HAVING | lex.NEGATIONS | lex.VAGUE | lex.FRAMING | lex.SKIPPED | lex.RELATIONS | lex.ADJECTIVES
    words = _NOUNS | {f"{noun}s" for noun in _NOUNS} | others | lex.LOCATION_WORDS
    return frozenset(word for word in words if word.isalpha())


@cache
def _speller() -> SymSpell:
    speller = SymSpell(max_dictionary_edit_distance=2)
    for word in sorted(_vocabulary()):
        if len(word) >= MIN_LETTERS:
            speller.create_dictionary_entry(word, _english().get(word, 1))
    return speller
