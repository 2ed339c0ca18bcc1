"""Vocabularies: prompts, files and rules."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from augmentation.errors import AugmentationError
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig

CUPS: dict[str, Any] = {
    "categories": {"cup": "cups", "fish": "fish"},
    "quantifiers": ("two", "three", "eight"),
    "attributes": {"color": ("red", "blue"), "pattern": ("striped",)},
    "attribute_sets": ((), ("color",), ("pattern", "color")),
}


def test_a_prompt_says_quantifier_attributes_and_plural() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    assert vocabulary.prompt("cup", "three", {}) == "three cups"
    assert vocabulary.prompt("cup", "three", {"pattern": "striped", "color": "red"}) == "three striped red cups"
    assert vocabulary.prompt("fish", "two", {"color": "blue"}) == "two blue fish"


def test_a_template_wraps_the_prompt() -> None:
    vocabulary = VocabularyConfig(**CUPS, template="a photo of {quantifier} {attributes} {plural}, realistic")
    assert vocabulary.prompt("cup", "eight", {}) == "a photo of eight cups, realistic"


def test_a_vocabulary_survives_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary = VocabularyConfig(**CUPS)
    path.write_text(json.dumps(asdict(vocabulary)))
    assert VocabularyConfig.from_file(path) == vocabulary


def test_categories_alone_make_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text('{"categories": {"cup": "cups"}}')
    assert VocabularyConfig.from_file(path).category_quantifiers == [("cup", word) for word in QUANTIFIERS]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantifiers": ("dozen",)}, "unknown quantifier 'dozen'; scenes can hold two, three"),
        ({"quantifiers": ()}, "no quantifiers"),
        ({"categories": {}}, "no categories"),
        ({"categories": {"Cup": "cups"}}, "lower case, got 'Cup'"),
        ({"attribute_sets": ((), ("size",))}, "names 'size', which has no words in attributes .known: color, pattern."),
        ({"attribute_sets": ()}, r"at least \[\[\]\]"),
        ({"attributes": {"color": ()}}, "no attributes of kind 'color'"),
        ({"template": "{attributes} {plural}"}, r"lacks the slot \{quantifier\}"),
        ({"template": "{quantifier} {plural}"}, r"lacks the slot \{attributes\}"),
        ({"template": "{quantifier} {attributes} {plural} {place}"}, r"unknown slot \{place\}"),
        ({"template": "{quantifier {plural}"}, "unbalanced|lacks|unknown"),
        ({"template": "{quantifier:d} {attributes} {plural}"}, "formats the slot 'quantifier'"),
        ({"quantifiers": ("two", "two")}, "each quantifier once"),
    ],
)
def test_a_vocabulary_that_breaks_a_rule_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentationError, match=message):
        VocabularyConfig(**{**CUPS, **changes})


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"categories": {"cup": "cups"}, "plurals": {}}', '{"categories": ["cup"]}',
     '{"categories": {"cup": "cups"}, "quantifiers": "two"}', '{"categories": {"cup": 3}}',
     '{"categories": {"cup": "cups"}, "template": 3}', "[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_no_vocabulary_is_refused_with_its_path(content: str, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(AugmentationError, match=r"vocabulary\.json"):
        VocabularyConfig.from_file(path)


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"none\.json"):
        VocabularyConfig.from_file(tmp_path / "none.json")


def test_prompts_of_what_is_not_in_the_vocabulary_are_refused() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    with pytest.raises(AugmentationError, match="unknown quantifier 'nine'"):
        vocabulary.prompt("cup", "nine", {})
    with pytest.raises(AugmentationError, match="unknown category 'dog'; the vocabulary has cup, fish"):
        vocabulary.prompt("dog", "two", {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"supports": {"box": ("cup",)}}, "supports name 'box', which is no category"),
        ({"containers": {"cup": ("ball", "hat")}}, "containers name 'hat', which is no category"),
        ({"supports": {"cup": ("cup",)}}, "supports of 'cup' must be of other categories"),
    ],
)
def test_what_stands_on_what_is_of_two_categories(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentationError, match=message):
        VocabularyConfig(categories={"cup": "cups", "ball": "balls"}, **fields)
