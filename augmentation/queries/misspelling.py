"""Misspellings as people type them: two letters swapped, or one left out or typed twice.

    misspell("second umbrella from left", 0.02, Random(0)) == "second umbrela from left"    # one word of fifty

A misspelled word is no word of English, and the query parser reads the word that was meant.
"""

from __future__ import annotations

from random import Random

from generation.parsing.spelling import correct_spelling, is_english


def misspell(text: str, share: float, random: Random) -> str:
    """Return the text with a share of its words misspelled, as far as any can be."""
    words = text.split()
    count = sum(random.random() < share for _ in words)
    possible = [i for i, word in enumerate(words) if count and list_misspellings(word)]
    for i in random.sample(possible, min(count, len(possible))):
        words[i] = random.choice(list_misspellings(words[i]))
    return " ".join(words)


def list_misspellings(word: str) -> list[str]:
    """List the misspellings of a word that can be read; its first letter stays."""
    inner = range(1, len(word))
    swapped = (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1])
    dropped = (word[:i] + word[i + 1 :] for i in inner)
    doubled = (word[:i] + word[i] + word[i:] for i in inner)
    unread = {*swapped, *dropped, *doubled} - {word}
    return sorted(one for one in unread if not is_english(one) and correct_spelling(one) == word)
