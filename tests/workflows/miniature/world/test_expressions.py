from __future__ import annotations

from random import Random

from workflows.miniature.world.drawing import WorldObject, WorldScene
from workflows.miniature.world.expressions import generate_expressions


def _scene(*objects: tuple[str, str, str, int, int]) -> WorldScene:
    made = tuple(
        WorldObject(category=category, color=color, pattern=pattern, extent_px=16, x=x, y=y)
        for category, color, pattern, x, y in objects
    )
    return WorldScene(width=96, height=96, background_kind=0, horizon=0.5, objects=made)


def test_three_equal_balls_in_a_row_are_told_apart_by_place_only() -> None:
    row = _scene(*[("ball", "red", "plain", x, 40) for x in (4, 40, 76)])
    assert generate_expressions(row, 1, ("attribute",), Random(0)) == []
    middle = generate_expressions(row, 1, ("position",), Random(0))
    assert {"middle ball", "second ball from the left", "2nd ball from right"} <= set(middle)
    assert not any("far" in text or "most" in text for text in middle)
    assert "ball on the far left" in generate_expressions(row, 0, ("position",), Random(0))


def test_an_attribute_is_said_only_where_it_sets_the_target_apart() -> None:
    scene = _scene(("cup", "red", "striped", 4, 4), ("cup", "blue", "striped", 40, 4), ("ball", "red", "plain", 4, 60))
    texts = set(generate_expressions(scene, 0, ("attribute",), Random(0)))
    assert {"red cup", "the striped red one"} <= texts
    assert not texts & {"striped cup", "cup", "the red one"}


def test_a_border_line_position_is_not_said() -> None:
    close = _scene(("ball", "red", "plain", 40, 4), ("ball", "red", "plain", 44, 60))
    assert not any("left" in text for text in generate_expressions(close, 0, ("position",), Random(0)))
