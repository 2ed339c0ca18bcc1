from __future__ import annotations

from trainer.data.words import find_words, replace_words


def test_a_word_has_letters_digits_and_hyphens_or_apostrophes_inside() -> None:
    assert find_words("The man's T-shirt, no. 7 - left_most!") == ["the", "man's", "t-shirt", "no", "7", "left", "most"]


def test_words_are_replaced_where_they_are_and_the_rest_stays() -> None:
    replaced = replace_words("Red cup, (red-ish) RED!", lambda word: "[UNK]" if word == "red" else None)
    assert replaced == "[UNK] cup, (red-ish) [UNK]!"
