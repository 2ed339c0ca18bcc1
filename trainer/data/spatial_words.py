"""Words of place in referring expressions: which forbid a crop, and how a mirrored picture changes them."""

from __future__ import annotations

import re

_ENDING = r"(?=(?:-?most|-?hand(?:ed)?|-?wards?|-?side|ish|y|er)?s?\b)"
_SIDE = re.compile(rf"\b(left|right){_ENDING}", re.IGNORECASE)
_PLACE = re.compile(
    rf"\b(?:left|right|top|bottom|mid(?:dle)?|cent(?:er|re)|central|upper|lower|corner){_ENDING}", re.IGNORECASE
)
_OTHER = {"left": "right", "right": "left"}


def mirrored(phrase: str) -> str:
    """The phrase for the mirrored picture: left and right swapped as words, with their inflections.

    "Leftmost cup" -> "Rightmost cup"; "bright upright leftover" stays.
    """
    return _SIDE.sub(_swap, phrase)


def _swap(match: re.Match[str]) -> str:
    word = match.group()
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def has_place(phrase: str) -> bool:
    """Whether the phrase says where in the picture, so that cropping could make it false."""
    return _PLACE.search(phrase) is not None
