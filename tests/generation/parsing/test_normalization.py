"""Normalization of queries."""

from __future__ import annotations

import pytest

from generation.parsing.normalization import is_empty, normalize_text, separate_possessives


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("  Left\tCUP ", "left cup"),
        ("man w/ hat", "man with hat"),
        ("the dog 's tail", "the dog's tail"),
        ("cup, left/right", "cup , left and right"),
        ("blue colored cup", "blue cup"),
        ("half eaten donut", "half-eaten donut"),
        ("a couple of dogs", "two dogs"),
        ("arms up", "raised arms"),
        ("head is down", "lowered head"),
        ("hand up top", "hand up top"),
        ("back leg", "hind leg"),
        ("cup\x00 on\u200b table", "cup on table"),
    ],
)
def test_equivalent_wordings_become_one(text: str, normalized: str) -> None:
    assert normalize_text(text) == normalized


def test_a_possessive_is_a_word() -> None:
    assert separate_possessives("man hand") == "man 's hand"
    assert separate_possessives("dog's tail") == "dog 's tail"


def test_a_text_of_symbols_is_empty() -> None:
    assert is_empty(" ?! ")
    assert not is_empty("2")
