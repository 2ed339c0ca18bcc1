"""Styles measured on queries, and the phrases that follow them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import random_scene

from augmentation.errors import AugmentationError
from augmentation.queries.generator import enumerate_programs, find_interpretations, generate_queries
from augmentation.queries.labeling import LabelConfig
from augmentation.queries.measured_style import (
    SHIPPED,
    MeasuredQuery,
    load_style,
    match_template,
    measure_style,
)
from augmentation.queries.misspelling import list_misspellings, misspell
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.programs import (
    Beside,
    Category,
    Extreme,
    NextTo,
    Ordinal,
    Superlative,
    WithAttribute,
    Without,
    to_json,
)
from augmentation.relations.scene import NO_ATTRIBUTE, Scene, SceneObject
from augmentation.relations.types import RelationType, get_relation_type
from tests.augmentation.mirror import flip

PLURALS = {"cup": "cups", "ball": "balls", "motorcycle": "motorcycles", "bicycle": "bicycles"}
NOUNS = {"motorcycle": ("bike",), "bicycle": ("bike",), "ball": ("sphere",)}


@pytest.mark.parametrize(
    ("text", "relation_type", "template"),
    [
        ("left zebra", "side", "{side} {noun}"),
        ("man in red shirt on left", "side", "{noun} on {side}"),
        ("2nd man from left", "ordinal", "{nth} {noun} from {side}"),
        ("top left bowl", "region", "{side} {noun}"),
        ("bigger dog", "size", "{more} {noun}"),
        ("a dog next to a cat", "near", "{a_noun} next to {an_anchor}"),
        ("man left of dog", "beside", "{noun} left of {anchor}"),
        ("zebra behind the fence", "depth", "{noun} behind the {anchor}"),
        ("red cup", "attribute", "{noun}"),
    ],
)
def test_queries_match_the_template_of_their_words(text: str, relation_type: RelationType, template: str) -> None:
    assert match_template(text) == (relation_type, template)


def test_queries_without_a_template_match_none() -> None:
    assert match_template("the one that he throws at the left") is None


def _query(text: str, target: str = "1", category: str = "motorcycle") -> MeasuredQuery:
    return MeasuredQuery(text=text, category=category, target=target)


def test_a_style_counts_types_lengths_words_and_holds_no_other_word(tmp_path: Path) -> None:
    queries = [
        _query("left bike"),
        _query("bike on the left"),
        _query("the rusty xylophone", "2"),
        _query("lft bike", "2"),
        _query("left one", "2"),
    ]
    style = measure_style(queries, NOUNS)
    assert style.queries_per_object == 2.5
    assert {name: count for name, count in style.relation_types.items() if count} == {"attribute": 1, "side": 4}
    assert style.templates == {"the {noun}": 1, "{side} {noun}": 3, "{noun} on the {side}": 1}
    assert style.lengths == {"2": 3, "3": 1, "4": 1}
    assert style.articles == {"": 4, "the": 1}
    assert style.nouns == {"motorcycle": {"bike": 3, "one": 1}}
    assert style.misspelled_words == 1 / 13
    style.write(tmp_path / "style.json")
    text = (tmp_path / "style.json").read_text()
    assert "rusty" not in text and "xylophone" not in text
    assert load_style(str(tmp_path / "style.json")) == style


def test_a_style_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"style nowhere\.json cannot be read"):
        load_style("nowhere.json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(AugmentationError, match="cannot be read"):
        load_style(str(tmp_path / "empty.json"))
    with pytest.raises(AugmentationError, match="got none"):
        measure_style([], NOUNS)


def _realizer(name: str) -> PhraseRealizer:
    return PhraseRealizer(style=load_style(name), plurals=PLURALS, nouns=NOUNS)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_sampled_phrases_have_one_meaning_by_a_second_evaluator_too(seed: int) -> None:
    scene, realizer = random_scene(seed), _realizer(SHIPPED[seed % 3])
    queries = generate_queries(scene, "cup", realizer, 1, seed)
    assert queries == generate_queries(scene, "cup", realizer, 1, seed)
    assert len({query.text for query in queries}) == len(queries)
    programs = [*enumerate_programs(scene, "cup", PLURALS), *(query.program for query in queries)]
    loose = ProgramEvaluator(scene, include_borderline=True)
    interpreted = find_interpretations(loose, dict.fromkeys(programs), realizer)
    for query in queries:
        assert meaning(to_json(query.program), scene) == {query.target}
        assert interpreted.get(query.text.replace("sphere", "ball"), {frozenset([query.target])}) == {
            frozenset([query.target])
        }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_mirrored_program_has_phrases_with_left_and_right_swapped(name: str) -> None:
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    realizer = _realizer(name)
    for program in {program for seed in range(5) for program in enumerate_programs(random_scene(seed), "cup", PLURALS)}:
        mirrored = tuple(" ".join(swap.get(word, word) for word in text.split()) for text in realizer.realize(program))
        assert sorted(mirrored) == sorted(realizer.realize(flip(program)))


def _texts(
    scene: Scene, category: str, name: str = "refcoco-measured", *, seeds: int = 12, misspellings: bool = False
) -> dict[str, int]:
    style = replace(load_style(name), nouns={"cup": {"cup": 1, "one": 1, "": 1}})
    realizer = replace(_realizer(name), style=style, misspellings=misspellings)
    accepts = RoundTripParser(nouns=NOUNS).is_consistent
    queries = (
        query
        for seed in range(seeds)
        for query in generate_queries(scene, category, realizer, 2, seed, accepts=accepts)
    )
    return {query.text: query.target for query in queries}


def _scene(*categories: str, colors: Sequence[str] = (), pattern: str = "striped") -> Scene:
    """Make a row of objects; the first one is plain, and the others have the pattern."""
    objects = tuple(
        SceneObject(
            box_xyxy=(20 + 100 * i, 100, 60 + 100 * i, 140 + 60 * (i % 2)),
            category=category,
            attributes={"color": colors[i], "pattern": pattern if i else NO_ATTRIBUTE} if colors else {},
        )
        for i, category in enumerate(categories)
    )
    return Scene(width=500, height=300, objects=objects)


def test_a_noun_that_may_name_another_object_of_the_scene_is_not_used() -> None:
    alone, among = _scene("motorcycle", "motorcycle"), _scene("motorcycle", "motorcycle", "bicycle")
    assert _texts(alone, "motorcycle")["left bike"] == 0
    assert not any("bike" in text for text in _texts(among, "motorcycle"))


def test_one_is_said_only_if_all_objects_are_of_one_category() -> None:
    assert "left one" in _texts(_scene("cup", "cup"), "cup")
    assert not any("one" in text.split() for text in _texts(_scene("cup", "cup", "ball"), "cup"))
    assert not any(text.split()[-1] == "one" and len(text.split()) <= 2 for text in _texts(_scene("cup"), "cup"))


def test_two_relations_that_are_true_of_the_same_object_are_joined_by_and() -> None:
    ball, motorcycle = Category(name="ball"), Category(name="motorcycle")
    program = NextTo(base=Beside(base=Category(name="cup"), direction="left", anchor=ball), anchor=motorcycle)
    realizer = _realizer("refcocog-measured")
    assert "the cup to the left of the ball and next to the motorcycle" in realizer.realize(program)
    alone = {other for _, other in realizer.find_interpretations(program) if other != program}
    assert {NextTo(base=Category(name="cup"), anchor=motorcycle), program.base} <= alone


def test_comparatives_need_exactly_two_objects() -> None:
    assert any(
        "bigger" in text or "taller" in text for text in _texts(_scene("cup", "cup"), "cup", "refcoco+-measured")
    )
    three = _texts(_scene("cup", "cup", "ball", "cup"), "cup", "refcoco+-measured")
    assert not any(word in text.split() for text in three for word in ("bigger", "taller", "smaller", "larger"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": {"many": 3}}, "lengths in words, got 'many'"),
        ({"lengths": {"3": -1, "4": 2}}, "'3' as a whole number"),
        ({"words": {"top": "often"}}, "'top' as a whole number"),
        ({"relation_types": ["side"]}, "cannot be read"),
        ({"misspelled_words": 2}, "a share from 0 to 1, got 2"),
    ],
)
def test_a_style_of_other_values_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    shipped = asdict(load_style("refcoco-measured"))
    (tmp_path / "style.json").write_text(json.dumps({**shipped, **change}))
    with pytest.raises(AugmentationError, match=message):
        load_style(str(tmp_path / "style.json"))


def test_the_style_without_places_never_says_left_or_right() -> None:
    texts = _texts(_scene("cup", "cup", "ball", "ball"), "cup", "refcoco+-measured")
    assert texts and not any({"left", "right", "top", "bottom"} & set(text.split()) for text in texts)


def test_a_position_with_a_relation_means_the_object_by_either() -> None:
    scene = _scene("ball", "cup", "cup")
    program = NextTo(base=Extreme(base=Category(name="cup"), side="left"), anchor=Category(name="ball"))
    assert "left cup next to ball" in _realizer("refcoco-measured").realize(program)
    interpreted = dict(_realizer("refcoco-measured").find_interpretations(program))
    assert "left cup next to ball" in interpreted
    assert {get_relation_type(to_json(program))} == {"near"}
    assert meaning(to_json(program), scene) <= {1}


def test_size_words_are_those_of_the_measure() -> None:
    texts = _realizer("refcoco-measured").realize(Superlative(base=Category(name="cup"), measure="smallest"))
    assert {"small cup", "smaller cup", "smallest cup"} <= set(texts)


def test_a_noun_is_left_out_only_if_all_objects_are_of_one_category() -> None:
    alone = _texts(_scene("cup", "cup", "cup"), "cup", seeds=40)
    assert {text: target for text, target in alone.items() if "cup" not in text and "one" not in text.split()}
    assert alone["second from left"] == 1
    among = _texts(_scene("cup", "cup", "cup", "ball"), "cup", seeds=40)
    assert all("cup" in text for text in among)


def test_a_phrase_without_its_noun_has_the_interpretations_of_all_phrases_that_it_may_come_from() -> None:
    realizer, cup = _realizer("refcoco-measured"), Category(name="cup")
    left = {other for text, other in realizer.find_interpretations(Extreme(base=cup, side="left")) if text == "left"}
    assert len(left) == 2  # that of "left cup", and any cup on the left, as in "cup left"
    second = Ordinal(base=cup, rank=2, side="left")
    assert {other for text, other in realizer.find_interpretations(second) if text == "second from left"} == {second}


def test_a_negation_means_the_object_without_what_others_have() -> None:
    scene = _scene("cup", "cup", "ball", colors=("red", "blue", "red"))
    texts = _texts(scene, "cup", "refcoco+-measured", seeds=400)
    negated = {text: target for text, target in texts.items() if {"not", "without", "no"} & set(text.split())}
    assert negated and set(negated.items()) <= {
        *((text, 0) for text in negated if "blue" in text or "strip" in text),
        *((text, 1) for text in negated if "red" in text),
    }
    assert any(text.startswith("cup without stripes") for text in negated)
    three = _scene("cup", "cup", "cup", colors=("red", "blue", "green"))
    assert not any(
        "not red" in text or text.startswith("not ") for text in _texts(three, "cup", "refcoco+-measured", seeds=100)
    )


def test_negations_are_as_frequent_as_in_the_style() -> None:
    style = load_style("refcoco+-measured")
    assert style.negated_share == pytest.approx(47 / 3419, abs=1e-3)
    red = WithAttribute(base=Category(name="cup"), attribute="color", value="red")
    without = Without(base=red, attribute="pattern", value="striped")
    assert "red cup without stripes" in _realizer("refcoco+-measured").realize(without)
    assert not any(text.startswith("not") for text in _realizer("refcoco+-measured").realize(without))


def test_queries_that_negate_or_leave_the_noun_out_are_measured() -> None:
    style = measure_style(
        [_query("second from left"), _query("bike not red"), _query("the red"), _query("left bike")], NOUNS
    )
    assert set(style.templates) == {"{nth} {noun} from {side}", "{noun} not {value}", "the {noun}", "{side} {noun}"}
    assert style.nouns == {"motorcycle": {"": 2, "bike": 2}}
    assert style.negated_share == 1 / 2
    assert style.placeholder_shares == {"one": 0, "": 1 / 2}


def test_a_style_s_share_of_articles_is_followed() -> None:
    scene, shares = _scene("cup", "cup", "ball"), {}
    for article in ("", "a"):
        style = replace(load_style("refcocog-measured"), articles={article: 1})
        realizer = PhraseRealizer(style=style, plurals=PLURALS)
        texts = [query.text for seed in range(30) for query in generate_queries(scene, "cup", realizer, 1, seed)]
        shares[article] = sum(text.startswith("a ") for text in texts) / len(texts)
    assert shares["a"] > shares[""] + 0.2


def test_misspelled_words_are_no_words_and_are_read_as_meant() -> None:
    assert "umbrela" in list_misspellings("umbrella")
    assert list_misspellings("cup") == []  # too short to be corrected
    words = ("from", "left", "right")
    assert not {"form", "lift", "rights"} & {one for word in words for one in list_misspellings(word)}
    assert misspell("second umbrella from left", 0, Random(0)) == "second umbrella from left"
    assert misspell("second umbrella from left", 1, Random(0)) == misspell("second umbrella from left", 1, Random(0))


def test_misspellings_are_off_by_default_and_as_many_as_in_the_style_if_on() -> None:
    scene = _scene("motorcycle", "motorcycle", "ball")
    clean, misspelled = (_texts(scene, "motorcycle", seeds=100, misspellings=flag) for flag in (False, True))
    known = {word for text in clean for word in text.split()}
    assert any(set(text.split()) - known for text in misspelled)
    with pytest.raises(ValueError, match=r"misspellings needs a measured style.*got refcoco;"):
        LabelConfig(misspellings=True)
