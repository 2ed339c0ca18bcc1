"""Attributes read off crops: the arithmetic by hand, and the miniature CLIP on drawn scenes whose truth is known."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from augmentation.detect import Detected, Found
from augmentation.queries import proved_queries
from augmentation.scene import Scene, Thing
from augmentation.verify import VerifyConfig, VerifyStage, believed, cropped
from augmentation.vocabulary import SceneSpec
from workflows.miniature.world import all_combinations, compose
from workflows.presets import miniature

WORDS = {"pattern": ("striped", ""), "colour": ("red", "blue")}


def test_a_word_is_believed_where_the_captions_that_say_it_outweigh_the_rest() -> None:
    # Probabilities of striped red, striped blue, red, blue: 0.5, 0.42, 0.05, 0.03.
    logits = np.log(np.array([0.5, 0.42, 0.05, 0.03], np.float32))
    assert believed(logits, WORDS, 0.9) == {"pattern": "striped"}
    assert believed(logits, WORDS, 0.54) == {"pattern": "striped", "colour": "red"}
    assert believed(logits, WORDS, 0.95) == {}


def test_the_absence_of_a_pattern_is_a_fact_that_is_known() -> None:
    assert believed(np.log(np.array([0.01, 0.01, 0.97, 0.01], np.float32)), WORDS, 0.9) == {
        "pattern": "",
        "colour": "red",
    }


def test_a_crop_is_a_square_around_the_box_that_goes_on_beyond_the_border() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    crop = cropped(picture, (0.0, 1.0, 2.0, 5.0), 0.0)  # 4 px high, so columns -1 .. 2
    np.testing.assert_array_equal(crop[:, 1:], picture[1:5, 0:3])
    np.testing.assert_array_equal(crop[:, 0], picture[1:5, 0])
    assert cropped(picture, (0.0, 1.0, 2.0, 5.0), 0.25).shape == (6, 6, 3)


def test_the_miniature_clip_reads_the_worlds_objects_and_says_where_it_does_not_know() -> None:
    stage = VerifyStage(VerifyConfig(), miniature.prior_config().encoder, miniature.vocabulary())
    stage.setup()
    random, scenes, truths = Random(5), [], []
    for i in range(40):
        things = [random.choice([c for c in all_combinations() if c[0] == "cup"]) for _ in range(3)]
        scene = compose(things, (17, 22), (64, 64), random, gap_px=5)
        found = tuple(Found(box_xyxy=thing.box_xyxy, category="cup", score=0.9) for thing in scene.things)
        other = Found(box_xyxy=(0.0, 0.0, 9.0, 9.0), category="ball", score=0.9)
        spec = SceneSpec(key=f"s{i}", category="cup", count=3, attributes={"colour": "red"}, prompt="three red cups")
        picture = np.asarray(scene.draw())
        scenes.append(
            Detected(key=spec.key, seed=0, spec=spec, composer="test", picture=picture, found=(*found, other))
        )
        truths.append(
            [{"colour": t.colour, "pattern": "" if t.pattern == "plain" else t.pattern} for t in scene.things]
        )
    read = [item for item in stage.process(scenes) if isinstance(item, Detected)]
    assert len(read) == len(scenes)
    assert all(not item.found[-1].attributes for item in read)  # another category than the scene is about
    pairs = [
        (kind, word, truth[kind])
        for item, truth_of_things in zip(read, truths, strict=True)
        for thing, truth in zip(item.found[:-1], truth_of_things, strict=True)
        for kind, word in thing.attributes.items()
    ]
    assert len(pairs) >= 0.6 * 2 * 3 * len(scenes)
    assert sum(word == truth for _, word, truth in pairs) >= 0.95 * len(pairs)


def test_queries_say_verified_attributes_and_never_that_there_is_none() -> None:
    facts = [
        {"pattern": "striped", "colour": "red"},
        {"pattern": "", "colour": "red"},
        {"pattern": "", "colour": "blue"},
    ]
    boxes = [(5.0, 5.0, 20.0, 20.0), (40.0, 30.0, 55.0, 45.0), (70.0, 60.0, 85.0, 75.0)]
    things = tuple(Thing(box_xyxy=b, category="cup", attributes=f) for b, f in zip(boxes, facts, strict=True))
    queries = proved_queries(Scene(width=100, height=100, things=things), "cup", per_thing=50, seed=0)
    means = {query.text.removeprefix("the "): query.target for query in queries}
    assert means["striped cup"] == 0
    assert means["blue cup"] == 2
    assert "red cup" not in means  # two are red
    assert not any("  " in query.text or query.text.startswith(" ") for query in queries)


@pytest.mark.parametrize("fault", [{"least_probability": 0.5}, {"least_probability": 1.5}, {"margin": -0.1}])
def test_limits_that_make_no_sense_are_refused(fault: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(fault))):
        VerifyConfig(**fault)
