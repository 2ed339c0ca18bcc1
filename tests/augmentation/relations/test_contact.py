"""Objects on and in others: what a composer knows, and what nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from augmentation.queries.absence import generate_absent_queries
from augmentation.queries.generator import generate_queries
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.templates import Style
from augmentation.relations.evaluator import evaluate_program
from augmentation.relations.possibility import PossibilityEvaluator
from augmentation.relations.programs import Beside, Category, Direction, Superlative, WithAttribute, from_json, to_json
from augmentation.relations.scene import Contact, ContactKind, Scene, SceneObject
from augmentation.relations.types import get_relation_type
from shards.boxes import Box

BALL, BOX = Category(name="ball"), Category(name="box")
STYLES: tuple[Style, ...] = ("refcoco", "refcoco+", "refcocog")
PLURALS = {"ball": "balls", "box": "boxes", "cup": "cups"}
SECOND: Box = (150, 60, 170, 80)
"""A ball far from the box."""


def _scene(kind: ContactKind = "on", second: Box = SECOND, colors: tuple[str, str] = ("red", "blue")) -> Scene:
    """A ball on or in a red box, and another ball; all three were placed."""
    balls = ((20, 62, 40, 82), second)
    objects = [
        SceneObject(box_xyxy=box, category="ball", attributes={"color": color})
        for box, color in zip(balls, colors, strict=True)
    ]
    objects.append(SceneObject(box_xyxy=(10, 80, 50, 120), category="box", attributes={"color": "red"}))
    contact = Contact(kind=kind, object_index=0, anchor_index=2)
    return Scene(width=200, height=150, objects=tuple(objects), contacts=(contact,), placed=frozenset({0, 1, 2}))


def _is(direction: Direction) -> Beside:
    return Beside(base=BALL, direction=direction, anchor=BOX)


@pytest.mark.parametrize("kind", ["on", "in"])
def test_a_ball_is_on_or_in_the_box_where_the_composer_put_it(kind: ContactKind) -> None:
    assert evaluate_program(_is(kind), _scene(kind), noise=0.03) == {0}
    assert get_relation_type(to_json(_is(kind))) == "contact" and from_json(to_json(_is(kind))) == _is(kind)


def test_without_the_fact_it_is_neither_proved_nor_proved_absent() -> None:
    scene = _scene()
    nobody_knows = replace(scene, contacts=(), placed=frozenset())
    detected_beside = replace(scene, placed=frozenset({0, 2}))  # the second ball is one of the background
    for one in (nobody_knows, detected_beside):
        assert evaluate_program(_is("on"), one) == set()
        assert 1 in PossibilityEvaluator(one).evaluate(_is("on"))


def test_a_ball_that_touches_the_box_may_be_on_it() -> None:
    for x, selected in ((55, {0}), (54, set()), (45, set())):  # a quarter of the ball's 20 px
        assert evaluate_program(_is("on"), _scene(second=(x, 90, x + 20, 110))) == selected


def test_a_ball_in_the_box_is_not_proved_absent_on_it() -> None:
    scene = _scene("in")
    assert evaluate_program(_is("on"), scene) == set()
    assert PossibilityEvaluator(scene).evaluate(_is("on")) == {0}
    blue = replace(_is("in"), base=WithAttribute(base=BALL, attribute="color", value="blue"))
    assert PossibilityEvaluator(scene).evaluate(blue) == set()


def test_the_size_of_what_is_hidden_is_unknown() -> None:
    large: Box = (150, 60, 190, 100)
    tallest = Superlative(base=BALL, measure="tallest")
    assert evaluate_program(tallest, _scene("on", large)) == {1}
    assert evaluate_program(tallest, _scene("in", large)) == set()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["on", "in"])
def test_it_tells_two_equal_balls_apart(kind: ContactKind, style: Style) -> None:
    scene, parser = _scene(kind, colors=("red", "red")), RoundTripParser()
    realizer = PhraseRealizer(style=style, plurals=PLURALS)
    queries = [
        one
        for seed in range(20)
        for one in generate_queries(scene, "ball", realizer, 100, seed, accepts=parser.is_consistent)
        if get_relation_type(to_json(one.program)) == "contact"
    ]
    texts = {one.text for one in queries}
    assert {one.target for one in queries} == {0}
    assert (f"the ball {kind} the box" if style == "refcocog" else f"ball {kind} box") in texts
    assert any("top of" in text or "inside" in text for text in texts) == (style != "refcoco+")


def test_the_other_ball_on_the_box_is_absent() -> None:
    words, realizer = {"color": ("red", "blue", "green")}, PhraseRealizer(plurals=PLURALS)

    def find(scene: Scene) -> set[str]:
        queries = (
            one for seed in range(40) for one in generate_absent_queries(scene, "ball", realizer, words, 100, seed)
        )
        return {one.text for one in queries if " on " in one.text and "side" not in one.text}

    texts = find(_scene())
    assert {"blue ball on box", "green ball on top of the box"} <= texts
    assert not texts & {"ball on box", "red ball on box", "ball on red box"}
    assert "blue ball on box" not in find(replace(_scene(), placed=frozenset({0, 2})))
