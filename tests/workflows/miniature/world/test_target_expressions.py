"""Expressions for no object or several: a scene by hand, and a reader of the phrases that shares nothing with them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from random import Random

import pytest

from shards.sources.refer import read_refer
from workflows.miniature.world.dataset import GREFS_FILE, WorldConfig, sample_scene, write_dataset
from workflows.miniature.world.drawing import COLORS, PATTERNS, PLURALS, WorldObject, WorldScene
from workflows.miniature.world.target_expressions import generate_absent_expressions, generate_set_expressions


def _place(category: str, color: str, pattern: str, x: int, y: int) -> WorldObject:
    return WorldObject(category=category, color=color, pattern=pattern, extent_px=12, x=x, y=y)


SCENE = WorldScene(
    width=100,
    height=100,
    background_kind=0,
    horizon=0.5,
    objects=(
        _place("box", "red", "striped", 5, 10),
        _place("box", "red", "plain", 25, 10),
        _place("box", "blue", "plain", 80, 10),
        _place("ball", "green", "plain", 50, 70),
    ),
)
"""Two red boxes on the left, a blue one on the right, all above a green ball."""


def test_absent_expressions_are_one_word_from_true_ones() -> None:
    absent = generate_absent_expressions(SCENE, Random(0))
    assert "green box" in absent["appearance"] and "striped blue box" in absent["appearance"]
    assert not {"red box", "striped red box", "the striped box"} & set(absent["appearance"])
    assert set(absent["ordinal"]) == {
        f"{word} {tail}"
        for word, tail in (
            ("fourth", "box from the left"),
            ("4th", "box from the left"),
            ("fourth", "box from the right"),
            ("4th", "box from the right"),
        )
    } | {f"box {word} from {side}" for word in ("fourth", "4th") for side in ("left", "right")}
    assert set(absent["side"]) == {"box at the bottom of the image", "ball at the top of the image"}
    assert set(absent["relation"]) == {"box below the ball"}
    assert "the hat" in absent["category"] and "green hat" in absent["category"]


def test_set_expressions_name_exactly_their_objects() -> None:
    sets = {text: targets for targets, text in generate_set_expressions(SCENE, Random(0))}
    assert sets == {
        "all boxes": (0, 1, 2),
        "the three boxes": (0, 1, 2),
        "both red boxes": (0, 1),
        "the two red boxes": (0, 1),
        "the boxes on the left of the image": (0, 1),
        "every box but the blue one": (0, 1),
        "the blue box and the ball": (2, 3),
    }


def _select(scene: WorldScene, words: list[str]) -> set[int]:
    """Select the objects with all of these attributes and categories, by what was drawn."""
    singular = {plural: name for name, plural in PLURALS.items()}
    wanted = {singular.get(word, word) for word in words} & {*COLORS, *PATTERNS, *PLURALS}
    return {i for i, obj in enumerate(scene.objects) if wanted <= set(obj.combination)}


@pytest.mark.parametrize("split", ["val", "testA", "testB"])
def test_expressions_of_appearance_agree_with_a_reader_of_words(split: str) -> None:
    for seed in range(150):
        scene = sample_scene(split, Random(seed))
        absent = generate_absent_expressions(scene, Random(seed))
        for text in (*absent.get("appearance", ()), *absent.get("category", ())):
            assert not _select(scene, text.split()), text
        for text in absent.get("ordinal", ()):
            assert text.split()[0] not in ("first", "1st"), text
        for targets, text in generate_set_expressions(scene, Random(seed)):
            assert len(targets) > 1 and list(targets) == sorted(targets), text
            if text.startswith(("both", "all", "the t", "the f")) and " and " not in text and " of " not in text:
                assert _select(scene, text.split()) == set(targets), text


def test_the_world_writes_them_as_grefcoco_does(tmp_path: Path) -> None:
    sizes = {"num_train": 6, "num_val": 5, "num_test": 8}
    write_dataset(WorldConfig(output=tmp_path / "plain", **sizes))
    write_dataset(WorldConfig(output=tmp_path / "all", several_targets=True, **sizes))
    plain = pickle.loads((tmp_path / "plain" / "miniature" / "refs(miniature).p").read_bytes())
    refs = json.loads((tmp_path / "all" / "miniature" / GREFS_FILE).read_text())
    sentences = [[s["sent"] for s in ref["sentences"]] for ref in refs if ref["kind"] == "one"]
    assert sentences == [[s["sent"] for s in ref["sentences"]] for ref in plain]  # the same as without the others
    assert {ref["kind"] for ref in refs if ref["split"] == "train"} == {"one"}
    queries = [q for sample in read_refer(tmp_path / "all" / "miniature", "miniature", "m") for q in sample.queries]
    counts = {min(len(query.boxes_xyxy), 2) for query in queries if query.split != "train"}
    assert counts == {0, 1, 2} and len({query.query_id for query in queries}) == len(queries)
