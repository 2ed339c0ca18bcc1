"""Extraction of location words."""

from __future__ import annotations

import pytest

from generation.parsing.location import extract_location


@pytest.mark.parametrize(
    ("text", "rest", "absolute", "ordinals"),
    [
        ("2nd zebra from left", "zebra ,", ("left",), ("2nd",)),
        ("cup to the left of the ball", "cup @left_of the ball", (), ()),
        ("bottom right corner cup", ", cup", ("bottom", "right", "corner"), ()),
        ("cup at 3 o'clock", "cup ,", ("3 o'clock",), ()),
        ("man with his back", "man with his back_", (), ()),  # a part of him
        ("man in back", "man ,", ("back",), ()),
        ("cup right above the ball", "cup above the ball", (), ()),  # directly above it
        ("cup on the right above the ball", "cup , above the ball", ("right",), ()),
    ],
)
def test_location_words_leave_a_plain_noun_phrase(
    text: str, rest: str, absolute: tuple[str, ...], ordinals: tuple[str, ...]
) -> None:
    extracted = extract_location(text)
    assert (extracted.text, extracted.absolute, extracted.ordinals) == (rest, absolute, ordinals)


def test_a_part_at_the_start_is_kept() -> None:
    assert extract_location("top of the building").part == "top"
