"""Scenes to ask for: even spread, determinism, prompts, and clear refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from augmentation.errors import AugmentationError
from augmentation.vocabulary import QUANTIFIERS, SceneSpec, VocabularyConfig, scene_specs

CUPS: dict[str, Any] = {
    "categories": {"cup": "cups", "fish": "fish"},
    "quantifiers": ("two", "three", "eight"),
    "attributes": {"colour": ("red", "blue"), "pattern": ("striped",)},
    "attribute_sets": ((), ("colour",), ("pattern", "colour")),
}


def test_a_prompt_says_quantifier_attributes_and_plural() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    assert vocabulary.prompt("cup", "three", {}) == "three cups"
    assert vocabulary.prompt("cup", "three", {"pattern": "striped", "colour": "red"}) == "three striped red cups"
    assert vocabulary.prompt("fish", "two", {"colour": "blue"}) == "two blue fish"


def test_a_template_wraps_the_prompt() -> None:
    vocabulary = VocabularyConfig(**CUPS, template="a photo of {quantifier} {attributes} {plural}, realistic")
    assert vocabulary.prompt("cup", "eight", {}) == "a photo of eight cups, realistic"


def test_cells_are_asked_for_equally_often_and_any_prefix_differs_by_one_at_most() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    specs = list(scene_specs(vocabulary, 60, seed=3))
    assert set(Counter((spec.category, spec.count) for spec in specs).values()) == {10}
    assert len(Counter((spec.category, spec.count) for spec in specs)) == 6
    some = Counter((spec.category, spec.count) for spec in specs[:20])
    assert max(some.values()) - min(some.values()) <= 1


def test_every_attribute_set_and_word_is_used() -> None:
    specs = list(scene_specs(VocabularyConfig(**CUPS), 200, seed=0))
    assert {tuple(spec.attributes) for spec in specs} == {(), ("colour",), ("pattern", "colour")}
    assert {spec.attributes["colour"] for spec in specs if spec.attributes} == {"red", "blue"}


def test_the_same_seed_gives_the_same_scenes_and_more_scenes_extend_fewer() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    few, many = list(scene_specs(vocabulary, 17, seed=5)), list(scene_specs(vocabulary, 50, seed=5))
    assert many[:17] == few
    assert list(scene_specs(vocabulary, 17, seed=6)) != few
    assert len({spec.key for spec in many}) == 50


def test_a_spec_survives_the_payload_of_a_plan() -> None:
    for spec in scene_specs(VocabularyConfig(**CUPS), 10, seed=1):
        assert SceneSpec.from_payload(spec.key, json.loads(json.dumps(spec.to_payload()))) == spec


def test_a_vocabulary_survives_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary = VocabularyConfig(**CUPS)
    path.write_text(json.dumps(vocabulary.to_json()))
    assert VocabularyConfig.from_file(path) == vocabulary


def test_categories_alone_make_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text('{"categories": {"cup": "cups"}}')
    assert VocabularyConfig.from_file(path).cells == [("cup", word) for word in QUANTIFIERS]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantifiers": ("dozen",)}, "unknown quantifier 'dozen'; scenes can hold two, three"),
        ({"quantifiers": ()}, "no quantifiers"),
        ({"categories": {}}, "no categories"),
        ({"categories": {"Cup": "cups"}}, "lower case, got 'Cup'"),
        ({"attribute_sets": ((), ("size",))}, "kind 'size', of which there are no words; known: colour, pattern"),
        ({"attribute_sets": ()}, r"at least \[\[\]\]"),
        ({"attributes": {"colour": ()}}, "no attributes of kind 'colour'"),
        ({"template": "{attributes} {plural}"}, r"lacks the slot \{quantifier\}"),
        ({"template": "{quantifier} {plural}"}, r"lacks the slot \{attributes\}"),
        ({"template": "{quantifier} {attributes} {plural} {place}"}, r"unknown slot \{place\}"),
        ({"template": "{quantifier {plural}"}, "unbalanced|lacks|unknown"),
    ],
)
def test_a_vocabulary_that_breaks_a_rule_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentationError, match=message):
        VocabularyConfig(**{**CUPS, **changes})


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"categories": {"cup": "cups"}, "plurals": {}}', '{"categories": ["cup"]}',
     '{"categories": {"cup": "cups"}, "quantifiers": "two"}', '{"categories": {"cup": 3}}',
     '{"categories": {"cup": "cups"}, "template": 3}'],
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


def test_no_scenes_are_refused() -> None:
    with pytest.raises(AugmentationError, match="num_scenes must be at least 1, got 0"):
        next(scene_specs(VocabularyConfig(**CUPS), 0, seed=0))
