"""Indefinite articles, number words and ordinals of English, in one place for parsing, prompts and queries."""

from __future__ import annotations

import re
from collections.abc import Mapping

NUMBER_WORDS: Mapping[int, str] = {
    1: "one",
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
}

ORDINALS: Mapping[int, tuple[str, str]] = {
    1: ("first", "1st"),
    2: ("second", "2nd"),
    3: ("third", "3rd"),
    4: ("fourth", "4th"),
    5: ("fifth", "5th"),
    6: ("sixth", "6th"),
    7: ("seventh", "7th"),
    8: ("eighth", "8th"),
    9: ("ninth", "9th"),
    10: ("tenth", "10th"),
}
"""Ordinals as a word and in digits."""

_LONG_U = r"u(?:[bcfhjkqrst][aeiou]|ni(?!n|m(?!o)|d(?!i))|nanim|[ksv]\b|-)"
_CONSONANT_SOUND = rf"e[uw]|one\b|once\b|oui|{_LONG_U}"
_SILENT_H = r"hour|honest|hono|heir|herb\b"
_SPELLED_LETTER = r"[aefhilmnorsx]-|suv\b|8|1[18]\b"
_STARTS_WITH_VOWEL_SOUND = re.compile(rf"(?!{_CONSONANT_SOUND})[aeiou]|{_SILENT_H}|{_SPELLED_LETTER}", re.IGNORECASE)


def add_article(phrase: str) -> str:
    """Return a singular noun phrase with "a" or "an", by the sound that it starts with: "an hourglass", "a uniform"."""
    return f"{'an' if _STARTS_WITH_VOWEL_SOUND.match(phrase) else 'a'} {phrase}"
