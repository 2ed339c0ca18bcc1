"""Verified queries of scenes, by hand and at random."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import get_args

import pytest
from brute_force import meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import jittered, random_scene

from augmentation.queries.generator import VerifiedQuery, enumerate_programs, generate_queries
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.templates import Style
from augmentation.relations.evaluator import evaluate_program
from augmentation.relations.programs import (
    Beside,
    Category,
    Extreme,
    Middle,
    NextTo,
    Ordinal,
    Program,
    WithAttribute,
    get_category,
    to_json,
)
from augmentation.relations.scene import Contact, Scene, SceneObject
from augmentation.relations.types import RELATION_TYPES, get_relation_type
from generation.parsing.attributes import AttributeParser
from generation.priors.prompt import build_prompt_text

STYLES: tuple[Style, ...] = get_args(Style)


PLURALS = {"cup": "cups", "ball": "balls"}


CUP = Category(name="cup")


def realize(program: Program, style: Style = "refcoco") -> tuple[str, ...]:
    return PhraseRealizer(style=style, plurals=PLURALS).realize(program)


def _row(*colors: str) -> Scene:
    """Cups of 10 px from left to right in an image of 100 x 100."""
    step = 100 / (len(colors) + 1)
    objects = tuple(
        SceneObject(
            box_xyxy=((i + 1) * step - 5, 45, (i + 1) * step + 5, 55), category="cup", attributes={"color": color}
        )
        for i, color in enumerate(colors)
    )
    return Scene(width=100, height=100, objects=objects)


def _programs() -> list[Program]:
    """All that can be said of red, blue and striped cups among two balls, one blue, in perspective and in contact."""
    objects = [
        SceneObject(
            box_xyxy=(10 * i, 10, 10 * i + 8, 20),
            category=category,
            attributes={"color": color, "pattern": "striped" if i == 1 else ""},
        )
        for i, (category, color) in enumerate(
            [
                *(("cup", color) for color in ("red", "red", "blue", "red", "red", "red")),
                ("ball", "red"),
                ("ball", "blue"),
            ]
        )
    ]
    on, inside = (Contact(kind=kind, object_index=0, anchor_index=6) for kind in ("on", "in"))
    scenes = (
        Scene(width=100, height=100, objects=tuple(objects), perspective=one, contacts=(on, inside))
        for one in (True, False)
    )
    return list(dict.fromkeys(program for scene in scenes for program in enumerate_programs(scene, "cup", PLURALS)))


def test_the_repertoire_holds_every_family() -> None:
    assert {get_relation_type(to_json(program)) for program in _programs()} == set(RELATION_TYPES)


def test_phrases_that_are_not_understood_are_not_said() -> None:
    scene = _row("red", "red", "red")
    every = _queries(scene, most=100)
    some = _queries(scene, most=100, accepts=lambda text, program: "middle" not in text)
    assert any("middle" in query.text for query in every)
    assert some and not any("middle" in query.text for query in some)


def _queries(
    scene: Scene,
    most: int = 1,
    seed: int = 0,
    style: Style = "refcoco",
    accepts: Callable[[str, Program], bool] = lambda text, program: True,
) -> list[VerifiedQuery]:
    realizer = PhraseRealizer(style=style, plurals=PLURALS)
    return generate_queries(scene, "cup", realizer, most, seed, accepts=accepts)


def test_a_prior_shows_what_is_said_of_the_thing_itself() -> None:
    parser = AttributeParser()
    positions = [
        p for p in _programs() if get_category(p) == "cup" and isinstance(p, Extreme | Ordinal | Beside | NextTo)
    ]
    bare = [text for program in positions if program.base == CUP for text in realize(program)]
    assert {build_prompt_text(read) for read in parser.parse(sorted(set(bare)))} == {"a cup"}


def test_each_of_three_in_a_row_gets_its_own_queries() -> None:
    queries = _queries(_row("red", "red", "red"))
    assert [(query.target, get_relation_type(to_json(query.program))) for query in queries] == [
        (0, "side"),
        (1, "middle"),
        (1, "ordinal"),
        (2, "side"),
    ]
    assert len({query.text for query in queries}) == 4


def test_an_attribute_is_enough_where_only_one_has_it() -> None:
    every = _queries(_row("red", "blue", "red"), most=100)
    assert {
        query.text for query in every if query.program == WithAttribute(base=CUP, attribute="color", value="blue")
    } <= {
        "blue cup",
        "the blue cup",
    }
    assert {query.target for query in every if query.text in ("blue cup", "the blue cup")} == {1}
    assert not [query for query in every if query.text in ("red cup", "the red cup")]


@pytest.mark.parametrize(
    ("style", "texts"),
    [
        ("refcoco", {"odd one out", "different cup", "cup unlike the others", "cup with a different color"}),
        ("refcoco+", {"the odd one out", "cup with different color"}),
        ("refcocog", {"the odd one out in the image", "the cup that has a different color from the others"}),
    ],
)
def test_the_odd_one_out_is_said_of_the_only_one_to_differ(style: Style, texts: set[str]) -> None:
    def find(*colors: str) -> dict[str, int]:
        return {one.text: one.target for seed in range(30) for one in _queries(_row(*colors), 100, seed, style)}

    found = find("red", "red", "blue", "red")
    assert {found[text] for text in texts} == {2}
    assert not any("odd" in text or "different" in text for text in find("red", "red", "blue", "blue"))


def test_the_odd_one_out_of_cups_is_not_that_of_all_things() -> None:
    cups = _row("red", "red", "blue", "red")
    ball = SceneObject(box_xyxy=(5, 5, 15, 15), category="ball", attributes={"color": "red"})
    scene = Scene(width=100, height=100, objects=(*cups.objects, ball))
    texts = {one.text for seed in range(30) for one in _queries(scene, 100, seed, "refcoco")}
    assert "odd cup out" in texts and "odd one out" not in texts


def test_the_different_one_is_not_said_where_another_is_the_biggest() -> None:
    cups = _row("red", "red", "blue", "red")
    large = SceneObject(box_xyxy=(2, 30, 24, 60), category="cup", attributes={"color": "red"})
    scene = Scene(width=100, height=100, objects=(large, *cups.objects[1:]))
    texts = {one.text for seed in range(30) for one in _queries(scene, 100, seed, "refcoco")}
    assert "cup with a different color" in texts
    assert not texts & {"odd one out", "different cup", "cup unlike the others"}


def test_a_word_that_could_mean_another_thing_is_not_said() -> None:
    """The middle one of the three stands left of the image's middle, where another one is."""
    centers = (10, 25, 50)
    objects = tuple(SceneObject(box_xyxy=(x - 4, 46, x + 4, 54), category="cup") for x in centers)
    queries = _queries(Scene(width=100, height=100, objects=objects), most=100)
    assert evaluate_program(Middle(base=CUP), Scene(width=100, height=100, objects=objects)) == {1}
    assert not [query for query in queries if query.text in ("middle cup", "cup in the middle", "center cup")]


def _texts(scene: Scene, style: Style = "refcoco") -> dict[str, int]:
    """What is said, one way or another, with what it is said of."""
    every = (query for seed in range(60) for query in _queries(scene, 1000, seed, style))
    return {query.text: query.target for query in every}


def _cups(
    *centers: tuple[float, float], colors: str = "", others: dict[str, tuple[float, float]] | None = None
) -> Scene:
    """Cups of 40 px at these centers, red (r) or blue (b), and single objects of other categories."""
    facts = {"r": {"color": "red"}, "b": {"color": "blue"}}
    places = [("cup", center, facts[colors[i]] if colors else {}) for i, center in enumerate(centers)]
    places += [(category, center, {}) for category, center in (others or {}).items()]
    objects = (
        SceneObject(box_xyxy=(x - 20, y - 20, x + 20, y + 20), category=category, attributes=known)
        for category, (x, y), known in places
    )
    return Scene(width=480, height=360, objects=tuple(objects))


def test_the_top_row_is_that_of_all_things_not_of_the_red_ones() -> None:
    rows = [(x, y) for y in (60, 180, 300) for x in (60, 180, 300)]
    texts = _texts(_cups(*rows[:8], colors="bbbrrrrr"))
    assert {texts[text] for text in texts if "left" in text and "top row" in text and "from" not in text} == {0}
    assert not any("red" in text and "row" in text for text in texts)


def test_the_second_red_one_is_not_said_where_the_second_of_all_is_red_too() -> None:
    texts = _texts(_cups(*((60 + 110 * i, 180) for i in range(4)), colors="brrr"))
    assert not any(text in texts for text in ("red cup second from the left", "2nd red cup from left"))
    assert texts["cup second from the left"] == 1
    texts = _texts(_cups(*((50 + 90 * i, 180) for i in range(5)), colors="bbrrr"))
    assert not any("red" in text and "middle" in text for text in texts)


def test_the_middle_is_not_said_where_another_one_is_nearly_in_the_middle_of_the_picture() -> None:
    texts = _texts(_cups((34, 180), (144, 180), (304, 180)))
    assert not any(word in text for text in texts for word in ("middle", "center"))


@pytest.mark.parametrize("others", [1, 3])
def test_an_even_number_has_no_middle_one(others: int) -> None:
    corners = ((60, 60), (340, 300), (60, 300))
    texts = _texts(_cups((200, 180), *corners[:others]))
    assert texts and not any(word in text for text in texts for word in ("middle", "center"))


def test_beside_is_not_above_or_below() -> None:
    texts = _texts(_cups((120, 170), (210, 120), others={"ball": (120, 120)}))
    assert not any("beside" in text or "next to" in text for text in texts)
    texts = _texts(_cups((170, 120), (120, 320), others={"ball": (120, 120)}))
    assert {texts[text] for text in texts if "beside" in text or "next to" in text} == {0}


@pytest.mark.parametrize("style", ["refcoco", "refcocog"])
def test_on_the_left_is_not_said_where_two_are_there(style: Style) -> None:
    texts = _texts(_cups((40, 180), (110, 180), (420, 180)), style)
    assert not any(text.endswith(("cup on the left", "cup left", "cup which is on the left")) for text in texts)
    assert texts[{"refcoco": "leftmost cup", "refcocog": "the leftmost cup"}[style]] == 0
    assert {texts[text] for text in texts if text.endswith("cup on the right")} == {2}


def test_nothing_is_said_of_bears_where_a_teddy_bear_is() -> None:
    bears = _cups((150, 180), (350, 180)).objects
    objects = tuple(SceneObject(box_xyxy=obj.box_xyxy, category="bear") for obj in bears)
    teddy = SceneObject(box_xyxy=(20, 160, 60, 200), category="teddy bear")
    realizer = PhraseRealizer(plurals={"bear": "bears", "teddy bear": "teddy bears"})
    alone, with_teddy = (Scene(width=480, height=360, objects=some) for some in (objects, (*objects, teddy)))
    assert generate_queries(alone, "bear", realizer, 1, 0)
    assert generate_queries(with_teddy, "bear", realizer, 1, 0) == []


def test_nobody_counts_across_rows() -> None:
    bricks = [*((60 + 120 * i, 100) for i in range(3)), *((120 + 120 * i, 250) for i in range(3))]
    assert not any("second" in text or "2nd" in text for text in _texts(_cups(*bricks)) if "row" not in text)


def test_three_are_counted_on_a_slant_too_and_four_only_in_a_row() -> None:
    slanted, four = [(60, 60), (200, 130), (340, 200)], [(60, 60), (180, 120), (300, 180), (420, 240)]
    assert {"first", "second"} <= {word for text in _texts(_cups(*slanted)) for word in text.split()}
    assert not any("from" in text for text in _texts(_cups(*four)))


def test_the_leftmost_of_a_steep_triangle_is_not_called_first() -> None:
    texts = _texts(_cups((60, 290), (200, 60), (340, 300)))
    assert "left cup" in texts and not any("first" in text or "1st" in text for text in texts)


def test_things_of_unknown_categories_are_not_spoken_of() -> None:
    scene = _cups((170, 120), (400, 320), others={"ghost": (120, 120)})
    assert not any("ghost" in text for text in _texts(scene))


def test_nothing_is_proved_of_things_in_one_place() -> None:
    objects = tuple(SceneObject(box_xyxy=(40 + i, 40, 60 + i, 60), category="cup") for i in range(3))
    assert _queries(Scene(width=100, height=100, objects=objects), most=2) == []


def test_queries_follow_from_the_seed() -> None:
    scene = random_scene(3)
    assert _queries(scene, seed=1) == _queries(scene, seed=1)
    assert len({tuple(q.text for q in _queries(scene, seed=seed)) for seed in range(10)}) > 1


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.integers(0, 2**63))
def test_the_program_of_a_query_means_its_target_even_if_the_boxes_are_off(seed: int) -> None:
    scene = random_scene(seed)
    style = STYLES[seed % 3]
    queries = _queries(scene, 2, seed, style)
    assert len({query.text for query in queries}) == len(queries)
    scenes = [scene, *(jittered(scene, 0.03, Random(seed + i)) for i in range(3))]
    for query in queries:
        assert scene.objects[query.target].category == "cup"
        assert query.text.replace("odd one out", "odd cup out") in realize(query.program, style)
        assert all(meaning(to_json(query.program), one) == {query.target} for one in scenes)
