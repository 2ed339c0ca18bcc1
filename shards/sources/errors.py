"""Error of annotation files, and values in its message."""

from __future__ import annotations

import reprlib


class SourceError(Exception):
    """A file from outside that breaks a rule; the message names the file, the row, the rule and the remedy."""


def format_value(value: object) -> str:
    """Format a value for an error message, in at most 80 characters and in bounded time."""
    try:
        return reprlib.repr(value)[:80]
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"
