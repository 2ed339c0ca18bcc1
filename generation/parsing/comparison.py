"""Extraction of comparisons from a referring expression, since an image of the target alone does not show them.

"The cup unlike the others" becomes "the cup", and "two cups of the same color" becomes "two cups".
"""

from __future__ import annotations

import re

_OTHERS = r"(?:all )?(?:of )?(?:the )?(?:others?|other ones|rest)\b"
_FROM_OTHERS = rf"(?: (?:from|than|to) {_OTHERS})?"
_THAT = r"(?: (?:that|which))?"
_ATTRIBUTE = r"(color|pattern|material|size|shape|clothing)\b"

_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (kind, kept, re.compile(pattern))
    for kind, kept, pattern in (
        ("different", r"\1", r"\bodd ((?:\w+ )?\w+) out\b"),
        ("different", "", rf"{_THAT}(?: is| are)? not like {_OTHERS}"),
        ("different", "", rf"{_THAT}(?: is| are)? unlike {_OTHERS}"),
        ("different", "", rf"{_THAT} (?:is|are|looks?) different\b{_FROM_OTHERS}"),
        ("different", "", rf"{_THAT} (?:with|has|have|of) (?:a )?different {_ATTRIBUTE}{_FROM_OTHERS}"),
        ("different", "", r"\bdifferent (?=\w)"),
        ("same", "", rf"{_THAT} looks? (?:alike|the same)\b"),
        ("same", "", rf"{_THAT} (?:with|have|of) the same {_ATTRIBUTE}"),
    )
)
"""Kind of comparison, what replaces the words, and the words, most specific first. A group names the attribute."""


def extract_comparison(text: str) -> tuple[str, str]:
    """Split a normalized text into the rest and its comparison: "different", "same color", or empty for none.

    Args:
        text: lower-case words separated by single spaces, spelling corrected.
    """
    for kind, kept, pattern in _PATTERNS:
        if match := pattern.search(text):
            rest = f"{text[: match.start()]}{match.expand(kept)}{text[match.end() :]}".strip()
            attribute = match[1] if pattern.groups and not kept else ""
            return (rest, f"{kind} {attribute}".strip()) if rest else (text, "")
    return text, ""
