"""Words of queries: runs of letters and digits, also with hyphens or apostrophes inside."""

from __future__ import annotations

import re
from collections.abc import Callable

_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")


def find_words(text: str) -> list[str]:
    """Return the words of a text in order, in lower case."""
    return _WORD.findall(text.lower())


def replace_words(text: str, replace: Callable[[str], str | None]) -> str:
    """Return the text with each word replaced.

    Args:
        text: text.
        replace: function from a word in lower case to its replacement; None: the word stays as written.
    """

    def substitute(match: re.Match[str]) -> str:
        replacement = replace(match.group().lower())
        return match.group() if replacement is None else replacement

    return _WORD.sub(substitute, text)
