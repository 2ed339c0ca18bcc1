"""Words for places in queries. Positions forbid a crop, and a mirrored image swaps left and right."""

from __future__ import annotations

import re

_ENDING = r"(?=(?:-?most|-?hand(?:ed)?|-?wards?|-?side|ish|y|er)?s?\b)"
_SIDE_WORD = re.compile(rf"\b(left|right){_ENDING}", re.IGNORECASE)
_POSITION_WORD = re.compile(
    rf"\b(?:left|right|top|bottom|mid(?:dle)?|cent(?:er|re)|central|upper|lower|corner){_ENDING}", re.IGNORECASE
)
_RELATION_WORD = re.compile(
    r"\b(?:above|below|over|under(?:neath)?|beneath|beside|behind|between|next|near(?:est)?|clos(?:e|er|est)|far(?:thest)?"
    r"|furthest|front|back|first|second|third|fourth|fifth|last)\b",
    re.IGNORECASE,
)
_OPPOSITE = {"left": "right", "right": "left"}


def swap_left_right(query: str) -> str:
    """Return the query for the mirrored image: left and right swapped as words, with their inflections.

    "Leftmost cup" becomes "Rightmost cup"; "bright upright leftover" stays.
    """
    return _SIDE_WORD.sub(_swap_word, query)


def _swap_word(match: re.Match[str]) -> str:
    word = match.group()
    opposite = _OPPOSITE[word.lower()]
    if word.isupper():
        return opposite.upper()
    return opposite.capitalize() if word[0].isupper() else opposite


def has_place_word(query: str) -> bool:
    """Return whether a query says where its target is: in the image, in a row, or relative to another object."""
    return has_position_word(query) or _RELATION_WORD.search(query) is not None


def has_position_word(query: str) -> bool:
    """Return whether the query has a word for a position in the image, so that a crop could make it false."""
    return _POSITION_WORD.search(query) is not None
