"""Which object looks different, and which two look alike."""

from __future__ import annotations

from random import Random

import pytest
from brute_force import meaning, possibilities
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentation.relations.evaluator import ProgramEvaluator, evaluate_program
from augmentation.relations.possibility import PossibilityEvaluator
from augmentation.relations.programs import Alike, Category, Odd, WithAttribute, from_json, to_json
from augmentation.relations.scene import Scene, SceneObject

CUP = Category(name="cup")
COLORS = {"r": "red", "b": "blue", "g": "green"}
PATTERNS = {"s": "striped", "d": "dotted", "p": ""}


def _scene(looks: str, attributes: tuple[str, ...] = ()) -> Scene:
    """Cups by their letters, "rs" for red and striped; "?" is unknown."""
    objects = []
    for i, word in enumerate(looks.split()):
        known = {"color": COLORS.get(word[0], "?")} | ({"pattern": PATTERNS.get(word[1], "?")} if word[1:] else {})
        facts = {name: value for name, value in known.items() if value != "?"}
        objects.append(SceneObject(box_xyxy=(10.0 * i, 10, 10.0 * i + 8, 20), category="cup", attributes=facts))
    return Scene(width=100, height=100, objects=tuple(objects), attributes=attributes)


@pytest.mark.parametrize(
    ("looks", "attribute", "selected"),
    [
        ("r r b r", "color", {2}),
        ("r r b r", None, {2}),
        ("r b", "color", set()),  # of two, neither is odd
        ("r r b b", "color", set()),
        ("r r b g", "color", set()),  # two differ
        ("r ? b r", "color", set()),
        ("rp rs rp rp", None, {1}),
        ("rp bs rp rp", None, {1}),  # different in both
        ("rp rs bp rp", None, set()),  # one in each: two odd ones
        ("rp rs bp rp", "color", {2}),
        ("rp rs rp rp", "pattern", set()),  # plain is no pattern
        ("rd rs rd rd", "pattern", {1}),
        ("rp rs rp r?", None, set()),
        ("rp rs bd bs", None, set()),
    ],
)
def test_the_odd_one_is_the_only_one_to_differ(looks: str, attribute: str | None, selected: set[int]) -> None:
    assert evaluate_program(Odd(base=CUP, attribute=attribute), _scene(looks)) == selected


@pytest.mark.parametrize(
    ("looks", "attribute", "selected"),
    [
        ("r b r g", "color", {0, 2}),
        ("r b r r", "color", set()),  # three share it
        ("r b r b", "color", set()),  # so do two others
        ("r r", "color", set()),
        ("r b r ?", "color", set()),
        ("rp bs rp gp", None, {0, 2}),
        ("rp bs rs gp", None, set()),
        ("rp bs rs gd", "pattern", {1, 2}),
        ("rp bs rp gd", "pattern", set()),  # plain is no pattern
    ],
)
def test_two_are_alike_if_no_other_two_are(looks: str, attribute: str | None, selected: set[int]) -> None:
    assert evaluate_program(Alike(base=CUP, attribute=attribute), _scene(looks)) == selected


def test_an_attribute_that_nobody_knows_may_tell_them_apart() -> None:
    scene = _scene("r r b", attributes=("pattern",))
    assert evaluate_program(Odd(base=CUP, attribute=None), scene) == set()
    assert evaluate_program(Odd(base=CUP, attribute="color"), scene) == {2}
    assert evaluate_program(Alike(base=CUP, attribute=None), scene) == set()


def test_the_lenient_evaluator_keeps_whatever_may_be_odd() -> None:
    def select(looks: str) -> frozenset[int]:
        return ProgramEvaluator(_scene(looks), include_borderline=True).evaluate(Odd(base=CUP, attribute=None))

    assert select("rp rs bp rp") == {1, 2}
    assert select("r ? b r") == {0, 1, 2, 3}


def test_nothing_is_odd_among_equals_and_nothing_alike_among_others() -> None:
    def find(program: Odd | Alike, looks: str) -> frozenset[int]:
        return PossibilityEvaluator(_scene(looks)).evaluate(program)

    color, same_color = Odd(base=CUP, attribute="color"), Alike(base=CUP, attribute="color")
    assert find(color, "r r r") == find(same_color, "r b g") == set()
    assert find(color, "r r ?") == find(same_color, "r b ?") == {0, 1, 2}
    assert find(Odd(base=CUP, attribute=None), "r r r") == {0, 1, 2}  # they may differ in what is no attribute
    assert find(Alike(base=CUP, attribute=None), "rp rs gs gd") == set()


def test_records_keep_the_attribute_or_none() -> None:
    for program in (Odd(base=CUP, attribute=None), Alike(base=CUP, attribute="color")):
        assert from_json(to_json(program)) == program


LOOKS = st.lists(st.sampled_from([a + b for a in "rrrb?" for b in "pppsd?"]), min_size=1, max_size=7)


@settings(max_examples=10_000, derandomize=True, deadline=None)
@given(LOOKS, st.integers(0, 2**63))
def test_both_readings_agree(looks: list[str], seed: int) -> None:
    random = Random(seed)
    scene = _scene(" ".join(looks), attributes=random.choice([(), (), ("material",)]))
    base = random.choice([CUP, CUP, WithAttribute(base=CUP, attribute="pattern", value="")])
    evaluator, possible = ProgramEvaluator(scene, 0.03), PossibilityEvaluator(scene, 0.03)
    for operator in (Odd, Alike):
        for attribute in (None, "color", "pattern"):
            program = operator(base=base, attribute=attribute)
            selected = evaluator.evaluate(program)
            assert selected == meaning(to_json(program), scene), program
            assert possible.evaluate(program) == possibilities(to_json(program), scene), program
            assert selected <= possible.evaluate(program), program
