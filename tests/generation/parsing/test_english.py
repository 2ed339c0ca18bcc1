"""Articles, by the sound that a phrase starts with."""

from __future__ import annotations

import pytest

from generation.parsing.english import NUMBER_WORDS, ORDINALS, add_article


@pytest.mark.parametrize(
    "phrase",
    [
        *("an hourglass", "an hour glass", "an honest man", "an heirloom", "an umbrella", "an ugly cup", "an onion"),
        *("an unusual hat", "an unidentified object", "an unimpressed cat", "an upside down cup", "an urn"),
        *("an orange", "an x-ray", "an l-shaped couch", "an 8 ball", "an SUV", "an egg", "an ottoman", "an ice cream"),
        *("a uniform", "a one-handled cup", "a unicycle", "a used car", "a utensil", "a ukulele", "a European bird"),
        *("a ewe", "a u-shaped pipe", "a u-turn", "a house", "a horse", "a red umbrella", "a t-shirt", "a yellow cup"),
        *("a USA flag", "a US flag", "a UK flag"),
    ],
)
def test_an_article_follows_the_sound(phrase: str) -> None:
    assert add_article(phrase.split(" ", 1)[1]) == phrase


def test_numbers_and_ordinals_start_at_one() -> None:
    assert [NUMBER_WORDS[n] for n in (1, 2, 8)] == ["one", "two", "eight"]
    assert ORDINALS[2] == ("second", "2nd") and list(ORDINALS) == list(range(1, 11))
