"""Correction of spelling towards the words of referring expressions.

    correct_spelling("umbrealla") == "umbrella"

A table holds frequent short forms ("blk", "zbra"). Other words are corrected only if no English dictionary has them and
one edit (two in a long word) gives a word of the lexicon. So names do not change.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

from symspellpy import SymSpell, Verbosity

from generation.parsing import lexicon as lex

MIN_LETTERS = 4
LONG_WORD_LETTERS = 9
"""Minimum letters of a word in which two edits are allowed."""

MAX_LETTERS = 40
"""Maximum letters of a word that is corrected; time grows with their square."""


@lru_cache(maxsize=100_000)
def correct_spelling(word: str) -> str:
    """Correct a lower-case word; "bottomleft" becomes two words."""
    if word in lex.SPELLING:
        return lex.SPELLING[word]
    if not (MIN_LETTERS <= len(word) <= MAX_LETTERS and word.isascii() and word.isalpha()):
        return word
    if word in _build_vocabulary():
        return word
    if is_english(word) or is_english(word.removesuffix("s")):
        return word
    edits = 2 if len(word) >= LONG_WORD_LETTERS else 1
    suggestions = _build_speller().lookup(word, Verbosity.CLOSEST, max_edit_distance=edits)
    return _split_compound(word) or next((one.term for one in suggestions if one.term[0] == word[0]), word)


def is_english(word: str) -> bool:
    """Return whether a dictionary of English has the word."""
    return word in _load_english()


def _split_compound(word: str) -> str:
    """Split a noun from a modifier written with it: "plaidman", "leftguy"; empty for any other word."""
    for end in range(3, len(word) - 2):
        if word[:end] in _BEFORE_NOUNS and word[end:] in _NOUNS:
            return f"{word[:end]} {word[end:]}"
    return ""


_NOUNS = lex.PEOPLE | lex.ANIMALS | lex.GARMENTS | lex.BODY_PARTS | lex.CARRIED | lex.OBJECT_NOUNS | lex.STUFF
_BEFORE_NOUNS = lex.COLORS | lex.PATTERNS | lex.SIZES | lex.LOCATION_WORDS


@cache
def _load_english() -> dict[str, int]:
    """Load the words of English with their frequencies."""
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return {word: int(count) for word, count in (line.split() for line in text.splitlines())}


@cache
def _build_vocabulary() -> frozenset[str]:
    others = lex.COLORS | lex.PATTERNS | lex.MATERIALS | lex.WEARING | lex.HOLDING | lex.POSTURES | lex.OBJECT_ACTIONS
    others |= lex.HAVING | lex.NEGATIONS | lex.VAGUE | lex.FRAMING | lex.SKIPPED | lex.RELATIONS | lex.ADJECTIVES
    words = _NOUNS | {f"{noun}s" for noun in _NOUNS} | others | lex.LOCATION_WORDS
    return frozenset(word for word in words if word.isalpha())


@cache
def _build_speller() -> SymSpell:
    speller = SymSpell(max_dictionary_edit_distance=2)
    for word in sorted(_build_vocabulary()):
        if len(word) >= MIN_LETTERS:
            speller.create_dictionary_entry(word, _load_english().get(word, 1))
    return speller
