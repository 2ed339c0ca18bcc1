from __future__ import annotations

import pytest

from trainer.data.spatial_words import has_place_word, has_position_word, swap_left_right


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("left cup", "right cup"),
        ("the Right one", "the Left one"),
        ("LEFT", "RIGHT"),
        ("leftmost man, rightmost dog", "rightmost man, leftmost dog"),
        ("left-hand side, right handed", "right-hand side, left handed"),
        ("2nd from left, on the right's left", "2nd from right, on the left's right"),
        ("lefty on the righthand side", "righty on the lefthand side"),
        ("bright upright leftover", "bright upright leftover"),
        ("righteous copyright cleft", "righteous copyright cleft"),
        ("top cup", "top cup"),
    ],
)
def test_a_mirrored_query_swaps_left_and_right_as_words(query: str, expected: str) -> None:
    assert swap_left_right(query) == expected
    assert swap_left_right(expected) == query


@pytest.mark.parametrize("query", ["left cup", "Topmost", "cup in the middle", "bottom right", "man at center"])
def test_a_place_in_the_image_is_noticed(query: str) -> None:
    assert has_position_word(query)


@pytest.mark.parametrize("query", ["bright cup", "laptop", "leftover pizza", "stopped car", "red one"])
def test_a_place_is_not_read_into_other_words(query: str) -> None:
    assert not has_position_word(query) and not has_place_word(query)


@pytest.mark.parametrize("query", ["left cup", "cup above the hat", "Second one", "man next to her", "closest bus"])
def test_sides_ranks_and_relations_are_places(query: str) -> None:
    assert has_place_word(query)
