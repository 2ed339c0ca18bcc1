"""Correction of spelling."""

from __future__ import annotations

import pytest

from generation.parsing.spelling import correct_spelling


@pytest.mark.parametrize(
    ("word", "correction"),
    [
        ("umbrealla", "umbrella"),  # two edits in a long word
        ("zbra", "zebra"),  # of the table
        ("leftguy", "left guy"),
        ("umbrella", "umbrella"),
        ("stevens", "stevens"),  # English has it
        ("xqzk", "xqzk"),  # nothing is near
    ],
)
def test_only_misspelled_words_change(word: str, correction: str) -> None:
    assert correct_spelling(word) == correction


def test_a_megabyte_without_a_space_is_no_word() -> None:
    word = "left" * 250_000
    assert correct_spelling(word) == word
