from __future__ import annotations

import pytest

from trainer.data.places import PLACE_WORDS, list_place_wordings
from trainer.data.words import find_words

ROW = [(0.1, 0.5), (0.35, 0.52), (0.6, 0.48), (0.85, 0.5)]


def _name(centers: list[tuple[float, float]], target: int) -> set[str]:
    return {wording.format(name="cup") for wording in list_place_wordings(centers, target)}


def test_both_ends_of_a_row_are_named_by_their_sides() -> None:
    assert _name(ROW, 0) == {"left cup", "the left cup", "cup on the left"}
    assert _name(ROW, 3) == {"right cup", "the right cup", "cup on the right"}
    assert _name([(y, x) for x, y in ROW], 0) == {"top cup", "the top cup", "cup at the top"}


def test_the_others_are_counted_from_both_sides() -> None:
    ordinals = {
        f"{rank} cup from {the}{side}"
        for rank, side in (("second", "left"), ("third", "right"))
        for the in ("", "the ")
    }
    assert _name(ROW, 1) == ordinals
    assert "second cup from the right" in _name(ROW, 2)


def test_the_middle_is_that_of_an_odd_number() -> None:
    assert {"middle cup", "cup in the middle", "second cup from the left"} <= _name(ROW[:3], 1)
    assert not any("middle" in text for i in range(4) for text in _name(ROW, i))


@pytest.mark.parametrize("target", [0, 1])
def test_neighbors_that_are_near_are_not_told_apart(target: int) -> None:
    assert _name([(0.4, 0.5), (0.45, 0.55)], target) == set()
    assert _name([(0.4, 0.1), (0.45, 0.9)], target) == _name([(0.4, 0.1), (0.4, 0.9)], target) != set()


def test_near_neighbors_elsewhere_forbid_counting_alone() -> None:
    assert _name([(0.1, 0.5), (0.3, 0.5), (0.6, 0.5), (0.62, 0.5)], 1) == set()
    assert "left cup" in _name([(0.1, 0.5), (0.3, 0.5), (0.6, 0.5), (0.62, 0.5)], 0)


def test_all_words_are_listed() -> None:
    centers = [ROW, [(y, x) for x, y in ROW], ROW[:3], [*ROW[:2], (0.5, 0.5), *ROW[2:]]]
    words = {word for one in centers for i in range(len(one)) for text in _name(one, i) for word in find_words(text)}
    assert words - {"cup"} == set(PLACE_WORDS)
