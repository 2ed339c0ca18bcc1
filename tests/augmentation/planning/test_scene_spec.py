"""Requests and specs of scenes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import (
    Composer,
    SceneRequest,
    SceneSpec,
    make_scene_specs,
    make_uniform_requests,
)
from augmentation.planning.vocabulary import VocabularyConfig

CUPS: dict[str, Any] = {
    "categories": {"cup": "cups", "fish": "fish"},
    "quantifiers": ("two", "three", "eight"),
    "attributes": {"color": ("red", "blue"), "pattern": ("striped",)},
    "attribute_sets": ((), ("color",), ("pattern", "color")),
}


def _specs(
    vocabulary: VocabularyConfig, num_scenes: int, seed: int, composer: Composer = "prompted"
) -> list[SceneSpec]:
    requests = make_uniform_requests(vocabulary, num_scenes, seed, composer)
    return list(make_scene_specs(vocabulary, requests, seed, composer=composer))


def test_cells_are_asked_for_equally_often_and_any_prefix_differs_by_one_at_most() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    specs = _specs(vocabulary, 60, seed=3)
    assert set(Counter((spec.category, spec.count) for spec in specs).values()) == {10}
    assert len(Counter((spec.category, spec.count) for spec in specs)) == 6
    some = Counter((spec.category, spec.count) for spec in specs[:20])
    assert max(some.values()) - min(some.values()) <= 1


def test_every_attribute_set_and_word_is_used() -> None:
    specs = _specs(VocabularyConfig(**CUPS), 200, seed=0)
    assert {tuple(spec.attributes) for spec in specs} == {(), ("color",), ("pattern", "color")}
    assert {spec.attributes["color"] for spec in specs if spec.attributes} == {"red", "blue"}


def test_the_same_seed_gives_the_same_scenes_and_more_scenes_extend_fewer() -> None:
    vocabulary = VocabularyConfig(**CUPS)
    few, many = _specs(vocabulary, 17, seed=5), _specs(vocabulary, 50, seed=5)
    assert many[:17] == few
    assert _specs(vocabulary, 17, seed=6) != few
    assert len({spec.key for spec in many}) == 50


def test_a_spec_survives_the_payload_of_a_plan() -> None:
    for spec in _specs(VocabularyConfig(**CUPS), 10, seed=1, composer="pasted"):
        assert SceneSpec.from_payload(spec.key, json.loads(json.dumps(spec.to_payload()))) == spec


def test_no_scenes_are_refused() -> None:
    with pytest.raises(AugmentationError, match="num_scenes must be at least 1, got 0"):
        make_uniform_requests(VocabularyConfig(**CUPS), 0, seed=0)


def test_keys_say_composer_round_and_number() -> None:
    vocabulary, request = VocabularyConfig(**CUPS), SceneRequest(category="cup", count=3, arrangement="row")
    (spec,) = make_scene_specs(vocabulary, [request], seed=0, composer="pasted", round_index=12)
    assert (spec.key, spec.count, spec.arrangement) == ("pasted-12-000000", 3, "row")


def test_every_arrangement_is_asked_of_a_composer_that_places_things_equally_often() -> None:
    specs = _specs(VocabularyConfig(**CUPS), 6 * 7 * 5, seed=2, composer="pasted")
    assert set(Counter((spec.category, spec.count, spec.arrangement) for spec in specs).values()) == {5}


def test_one_that_places_nothing_is_told_nothing_of_places() -> None:
    for spec in _specs(VocabularyConfig(**CUPS), 60, seed=2):
        assert (spec.arrangement, spec.identical, spec.clutter) == ("scatter", False, ())


def test_pasted_things_are_identical_in_three_scenes_of_ten_and_otherwise_vary() -> None:
    specs = _specs(VocabularyConfig(**CUPS), 1000, seed=4, composer="pasted")
    assert 0.26 < sum(spec.identical for spec in specs) / 1000 < 0.34
    assert not any(spec.attributes for spec in specs)


def test_clutter_is_of_other_categories_and_only_where_relations_need_it() -> None:
    vocabulary = VocabularyConfig(categories={name: f"{name}s" for name in ("cup", "ball", "hat", "key", "box")})
    specs = _specs(vocabulary, 2000, seed=4, composer="pasted")
    assert not any(spec.clutter for spec in specs if spec.arrangement not in ("scatter", "cluster", "between"))
    cluttered = [spec for spec in specs if spec.arrangement in ("scatter", "cluster")]
    assert {len(spec.clutter) for spec in cluttered} == {0, 1, 2, 3}
    assert all(spec.category not in spec.clutter and len(set(spec.clutter)) == len(spec.clutter) for spec in cluttered)
    ends = [spec.clutter for spec in specs if spec.arrangement == "between"]
    assert ends and all(len(two) == 2 and two[0] == two[1] for two in ends)
    assert not any(spec.clutter for spec in _specs(VocabularyConfig(categories={"cup": "cups"}), 50, 0, "layout"))


def test_one_or_two_objects_are_on_or_in_what_the_vocabulary_allows() -> None:
    vocabulary = VocabularyConfig(
        categories={"cup": "cups", "ball": "balls", "box": "boxes"},
        supports={"box": ("ball", "cup")},
        containers={"cup": ("ball",)},
    )
    requests = [
        SceneRequest(category=name, count=3, arrangement="contact") for name in ("ball", "cup") for _ in range(60)
    ]
    specs = list(make_scene_specs(vocabulary, requests, seed=1, composer="pasted"))
    found = {(spec.category, *pair) for spec in specs for pair in zip(spec.contacts, spec.clutter, strict=True)}
    assert found == {("ball", "on", "box"), ("ball", "in", "cup"), ("cup", "on", "box")}
    assert {len(spec.contacts) for spec in specs} == {1, 2}
    arrangements = {(spec.category, spec.arrangement) for spec in _specs(vocabulary, 400, seed=1, composer="pasted")}
    assert {category for category, arrangement in arrangements if arrangement == "contact"} == {"ball", "cup"}
    assert not any(spec.arrangement == "contact" for spec in _specs(vocabulary, 400, seed=1, composer="layout"))
