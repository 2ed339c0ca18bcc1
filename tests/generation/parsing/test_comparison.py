"""Extraction of comparisons."""

from __future__ import annotations

import pytest

from generation.parsing.attributes import AttributeParser
from generation.parsing.comparison import extract_comparison


@pytest.mark.parametrize(
    ("text", "rest", "comparison"),
    [
        ("the odd one out", "the one", "different"),
        ("odd traffic light out on the left", "traffic light on the left", "different"),
        ("the cup that is not like the others", "the cup", "different"),
        ("cup unlike all the others", "cup", "different"),
        ("the cup that looks different from the others", "the cup", "different"),
        ("cup with a different color", "cup", "different color"),
        ("the cup that has a different pattern from the others", "the cup", "different pattern"),
        ("different cup", "cup", "different"),
        ("the two cups that look alike", "the two cups", "same"),
        ("the two cups of the same color", "the two cups", "same color"),
        ("the other cup", "the other cup", ""),
        ("odd lady in corner with pets", "odd lady in corner with pets", ""),
        ("unlike the others", "unlike the others", ""),  # nothing would be left
    ],
)
def test_what_a_comparison_leaves(text: str, rest: str, comparison: str) -> None:
    assert extract_comparison(text) == (rest, comparison)


def test_an_image_of_the_odd_red_cup_shows_a_red_cup() -> None:
    parsed = AttributeParser().parse(["the red cup with a different pattern from the others on the left"])[0]
    assert (parsed.target.lemma, parsed.target.colors, parsed.parts) == ("cup", ("red",), ())
    assert (parsed.comparison, parsed.absolute_location, parsed.related) == ("different pattern", ("left",), ())
