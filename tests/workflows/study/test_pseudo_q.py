from __future__ import annotations

from augmentation.relations.scene import Scene, SceneObject
from workflows.study.pseudo_q import find_ambiguous, generate_pseudo_queries


def _scene(*centers_and_sizes: tuple[float, float, float]) -> Scene:
    objects = (
        SceneObject(box_xyxy=(x - size / 2, y - size / 2, x + size / 2, y + size / 2), category="cup")
        for x, y, size in centers_and_sizes
    )
    return Scene(width=640, height=480, objects=tuple(objects))


def test_the_third_of_three_is_the_middle() -> None:
    said = generate_pseudo_queries(_scene((100, 200, 80), (500, 210, 80), (300, 220, 80)), "cup")
    assert said == [("cup", 0), ("cup", 1), ("cup", 2), ("left cup", 0), ("right cup", 1), ("middle cup", 2)]
    assert find_ambiguous(said) == {"cup"}


def test_of_four_two_can_have_the_same_tag() -> None:
    said = generate_pseudo_queries(_scene((50, 200, 80), (120, 200, 80), (300, 200, 80), (600, 200, 80)), "cup")
    assert [i for text, i in said if text == "left cup"] == [0, 1]
    assert find_ambiguous(said) == {"cup", "left cup"}


def test_areas_say_front_and_behind_and_small_shifts_say_nothing() -> None:
    said = generate_pseudo_queries(_scene((100, 200, 40), (140, 210, 100)), "cup")
    assert said == [("cup", 0), ("cup", 1), ("behind cup", 0), ("front cup", 1)]
