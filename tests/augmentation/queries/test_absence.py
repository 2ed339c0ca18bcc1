"""Queries that nothing in a scene answers to."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from brute_force import meaning, possibilities
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.queries.absence import generate_absent_queries
from augmentation.queries.generator import enumerate_programs
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.sets import VerifiedSet
from augmentation.queries.templates import Style
from augmentation.relations.possibility import PossibilityEvaluator
from augmentation.relations.programs import Program, to_json
from augmentation.relations.scene import Scene, SceneObject

PLURALS = {"cup": "cups", "ball": "balls"}
CENTERS = ((60.0, 180.0), (200.0, 180.0), (340.0, 180.0))
COLORS = {"color": ("red", "blue", "green")}


def _generate(scene: Scene, style: Style = "refcoco", seed: int = 0, per_kind: int = 1000) -> list[VerifiedSet]:
    return generate_absent_queries(scene, "cup", PhraseRealizer(style=style, plurals=PLURALS), COLORS, per_kind, seed)


def _texts(scene: Scene) -> set[str]:
    return {query.text for seed in range(60) for query in _generate(scene, seed=seed)}


def _cups(*centers: tuple[float, float], colors: str, ball: tuple[float, float] | None = None) -> Scene:
    """Cups of 40 px, red (r), blue (b) or of unknown color (?), in an image of 480 x 360."""
    facts = {"r": {"color": "red"}, "b": {"color": "blue"}, "?": {}}
    objects = [
        SceneObject(box_xyxy=(x - 20, y - 20, x + 20, y + 20), category="cup", attributes=facts[color])
        for (x, y), color in zip(centers, colors, strict=True)
    ]
    for x, y in [ball] if ball else []:
        objects.append(SceneObject(box_xyxy=(x - 20, y - 20, x + 20, y + 20), category="ball"))
    return Scene(width=480, height=360, objects=tuple(objects))


def test_three_have_no_fourth_and_nothing_is_green() -> None:
    texts = _texts(_cups((60, 180), (200, 180), (340, 180), colors="rbr"))
    assert {"4th cup from left", "cup fourth from the left", "green cup"} <= texts
    assert not any("3rd" in text or "third" in text for text in texts)
    assert not any(text in texts for text in ("red cup", "blue cup", "left cup", "cup on the left"))


def test_the_fourth_red_one_is_not_absent_where_the_fourth_of_all_may_be_red() -> None:
    texts = _texts(_cups(*((50 + 90 * i, 180) for i in range(5)), colors="rrrbb"))
    assert not any("red" in text and ("4th" in text or "fourth" in text) for text in texts)


def test_what_is_unknown_may_be_green() -> None:
    assert not any("green" in text for text in _texts(_cups((60, 180), (200, 180), (340, 180), colors="rb?")))


def test_a_part_of_the_image_is_empty_only_if_all_lie_clearly_in_the_opposite_one() -> None:
    assert "blue cup on the right side of the image" in _texts(_cups((100, 180), (380, 60), (450, 300), colors="brr"))
    texts = _texts(_cups((100, 180), (380, 60), (270, 300), colors="brb"))
    assert not any("blue" in text and "side of the image" in text for text in texts)


def test_the_left_one_of_several_is_never_absent() -> None:
    texts = _texts(_cups((330, 60), (450, 300), (100, 180), colors="rrb"))
    assert not any("side" in text and "image" not in text and "green" not in text for text in texts)


def test_a_side_of_the_anchor_is_empty_only_if_all_lie_clearly_on_the_other() -> None:
    for second, is_empty in (((60, 130), True), ((245, 60), False)):
        texts = _texts(_cups((60, 180), second, colors="rr", ball=(240, 180)))
        assert ("cup right of ball" in texts) == ("red cup right of ball" in texts) == is_empty
        assert not texts & {"cup left of ball", "red cup left of ball"}


def test_no_other_pattern_is_there_if_all_are_known_to_have_the_same() -> None:
    def find(*patterns: str | None) -> set[str]:
        objects = tuple(
            replace(cup, attributes={**cup.attributes, **({} if pattern is None else {"pattern": pattern})})
            for cup, pattern in zip(_cups(*CENTERS, colors="rrb").objects, patterns, strict=True)
        )
        scene, realizer = Scene(width=480, height=360, objects=objects), PhraseRealizer(plurals=PLURALS)
        words = {**COLORS, "pattern": ("striped", "dotted")}
        queries = (
            query for seed in range(30) for query in generate_absent_queries(scene, "cup", realizer, words, 9, seed)
        )
        return {query.text for query in queries if "different" in query.text}

    assert "cup with a different pattern" in find("", "", "") & find("dotted", "dotted", "dotted")
    assert find("", "", "striped") == find("", "", None) == set()


def test_nothing_is_absent_where_another_category_has_the_same_noun() -> None:
    cups = _cups((60, 180), (200, 180), (340, 180), colors="rbr")
    glass = SceneObject(box_xyxy=(400, 10, 440, 50), category="paper cup")
    assert _generate(Scene(width=480, height=360, objects=(*cups.objects, glass))) == []


def test_absent_queries_follow_from_the_seed_and_are_limited_by_kind() -> None:
    scene = _cups((60, 180), (200, 180), (340, 180), colors="rbr")
    assert _generate(scene, seed=1, per_kind=1) == _generate(scene, seed=1, per_kind=1)
    assert len(_generate(scene, per_kind=1)) == 3  # appearance, anchor, ordinal


def test_a_category_is_absent_if_it_was_looked_for_and_no_object_may_be_called_so() -> None:
    scene = _cups((60, 180), (200, 180), (340, 180), colors="rbr", ball=(240, 60))
    plurals = {**PLURALS, "hat": "hats", "mug": "mugs", "tennis ball": "tennis balls", "kite": "kites"}
    realizer = PhraseRealizer(style="refcoco", plurals=plurals, nouns={"cup": ("mug",)})

    def list_texts(*detectable: str) -> set[str]:
        return {
            query.text
            for seed in range(40)
            for query in generate_absent_queries(scene, "cup", realizer, COLORS, 1000, seed, detectable=detectable)
        }

    texts = list_texts("cup", "ball", "hat", "mug", "tennis ball")
    assert {"left hat", "blue hat", "middle hat", "blue cup below hat"} <= texts
    assert not any("mug" in text or "tennis" in text or "kite" in text for text in texts)
    assert not any("ball" in text.split()[:2] for text in texts)
    assert not any("hat" in text for text in list_texts())


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_an_independent_reader_finds_nothing_even_if_the_boxes_are_off(seed: int) -> None:
    scene = random_scene(seed)
    styles: tuple[Style, ...] = ("refcoco", "refcoco+", "refcocog")
    scenes = [scene, *(jittered(scene, 0.03, Random(seed + i)) for i in range(3))]
    for query in _generate(scene, styles[seed % 3], seed, per_kind=2):
        assert query.targets == ()
        for one in scenes:
            assert possibilities(to_json(query.program), one) == meaning(to_json(query.program), one) == set()


@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_both_readers_agree_on_what_could_be_meant(seed: int) -> None:
    scene = random_scene(seed)
    programs = list(enumerate_programs(scene, "cup", ("ball",)))
    possible = PossibilityEvaluator(scene)
    one_of_each: dict[type[Program], Program] = {
        type(program): program for program in Random(seed).sample(programs, len(programs))
    }
    for program in one_of_each.values():
        assert possible.evaluate(program) == possibilities(to_json(program), scene), program
