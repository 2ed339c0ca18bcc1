"""The one error of annotation files that cannot be read, and how values from outside are shown in it."""

from __future__ import annotations

import reprlib


class SourceError(Exception):
    """A file from outside that breaks a rule; the message names the file, the row, the rule and the remedy."""


def format_value(value: object) -> str:
    """A value for an error's message, 80 characters at most, and quick whatever it holds: a pickle of a few bytes can
    make tuples of tuples that would take ``str`` for ever."""
    try:
        return reprlib.repr(value)[:80]
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"
