"""Attributes read off crops: the arithmetic by hand, and the miniature CLIP on drawn scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from augmentation.composers.composed import ComposedScene
from augmentation.detection.attribute_classifier import (
    AttributeClassifierConfig,
    AttributeClassifierStage,
    compute_category_probabilities,
    predict_attributes,
)
from augmentation.detection.crops import crop_halves, crop_square
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.scene_spec import SceneSpec
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.queries.generator import generate_queries
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations.scene import Scene, SceneObject
from pipeline import Rejected
from workflows.miniature.world.dataset import Combination, compose, list_combinations
from workflows.miniature.world.drawing import COLORS
from workflows.presets import miniature

WORDS = {"pattern": ("striped", ""), "color": ("red", "blue")}


def test_a_word_is_believed_where_the_captions_that_say_it_outweigh_the_rest() -> None:
    # Probabilities of striped red, striped blue, red, blue: 0.5, 0.42, 0.05, 0.03.
    logits = np.log(np.array([0.5, 0.42, 0.05, 0.03], np.float32))
    assert predict_attributes(logits, WORDS, 0.9) == {"pattern": "striped"}
    assert predict_attributes(logits, WORDS, 0.54) == {"pattern": "striped", "color": "red"}
    assert predict_attributes(logits, WORDS, 0.95) == {}


def test_the_absence_of_a_pattern_is_a_fact_that_is_known() -> None:
    assert predict_attributes(np.log(np.array([0.01, 0.01, 0.97, 0.01], np.float32)), WORDS, 0.9) == {
        "pattern": "",
        "color": "red",
    }


def test_a_crop_is_a_square_around_the_box_that_goes_on_beyond_the_border() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    crop = crop_square(image, (0.0, 1.0, 2.0, 5.0), 0.0)  # 4 px high, so columns -1 .. 2
    np.testing.assert_array_equal(crop[:, 1:], image[1:5, 0:3])
    np.testing.assert_array_equal(crop[:, 0], image[1:5, 0])
    assert crop_square(image, (0.0, 1.0, 2.0, 5.0), 0.25).shape == (6, 6, 3)


def test_the_halves_of_a_box_are_stretched_to_squares() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    image[1:5, 2:4] = 80
    left, right, upper, lower = crop_halves(image, (2.0, 1.0, 6.0, 5.0))
    assert {half.shape for half in (left, right, upper, lower)} == {(4, 4, 3)}
    assert (left == 80).all() and (right == 0).all()
    np.testing.assert_array_equal(upper, lower)
    assert [half.shape for half in crop_halves(image, (7.4, 5.4, 7.6, 5.6))] == [(2, 2, 3)] * 4


def test_a_categorys_captions_weigh_together_among_all_captions() -> None:
    # A red cup 0.3, a blue cup 0.2, a red ball 0.4, a blue ball 0.1.
    logits = np.log(np.array([[0.3, 0.2], [0.4, 0.1]], np.float32))
    assert compute_category_probabilities(logits) == pytest.approx([0.5, 0.5])
    assert compute_category_probabilities(logits + 100) == pytest.approx([0.5, 0.5])


def _stage(vocabulary: VocabularyConfig | None = None, **changes: Any) -> AttributeClassifierStage:
    stage = AttributeClassifierStage(
        AttributeClassifierConfig(**changes), miniature.prior_config().encoder, vocabulary or miniature.vocabulary()
    )
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def reader() -> AttributeClassifierStage:
    """Of the whole miniature vocabulary, with the default limits."""
    return _stage()


def _drawn(key: str, objects: Sequence[Combination], random: Random) -> DetectedScene:
    """A drawn scene of which everything was found as what it is."""
    scene = compose(list(objects), (19, 24), (72, 72), random, gap_px=5)
    detections = tuple(Detection(box_xyxy=one.box_xyxy, category=one.category, score=0.9) for one in scene.objects)
    spec = SceneSpec(key=key, category=objects[0][0], count=2, attributes={"color": "red"}, prompt="two red objects")
    composed = ComposedScene(key=key, seed=0, spec=spec, composer="prompted", image=np.asarray(scene.draw()))
    return DetectedScene(composed=composed, detections=detections)


def _taken_for(detected: DetectedScene, category: str) -> DetectedScene:
    """The same scene, its first object found as something else."""
    first = replace(detected.detections[0], category=category)
    return replace(detected, detections=(first, *detected.detections[1:]))


def test_the_miniature_clip_reads_things_of_every_category_and_says_where_it_does_not_know(
    reader: AttributeClassifierStage,
) -> None:
    random = Random(5)
    truths = [random.sample(list_combinations(), 3) for _ in range(30)]
    scenes = [_drawn(f"s{i}", objects, random) for i, objects in enumerate(truths)]
    read = reader.process(scenes)
    pairs = [
        (word, {"color": color, "pattern": pattern if pattern != "plain" else ""}[kind])
        for item, objects in zip(read, truths, strict=True)
        if isinstance(item, DetectedScene)
        for detections, (_, color, pattern) in zip(item.detections, objects, strict=True)
        for kind, word in detections.attributes.items()
    ]
    assert len(pairs) >= 0.6 * 2 * 3 * len(scenes)
    assert sum(word == truth for word, truth in pairs) >= 0.95 * len(pairs)
    assert sum(isinstance(item, Rejected) for item in read) <= 2


def test_a_thing_that_the_clip_takes_for_another_spoils_its_scene(reader: AttributeClassifierStage) -> None:
    random, categories = Random(6), list(miniature.vocabulary().categories)
    scenes = [_drawn(f"s{i}", random.sample(list_combinations(), 2), random) for i in range(30)]
    wrong = [
        _taken_for(item, random.choice([c for c in categories if c != item.detections[0].category])) for item in scenes
    ]
    rejected = [item for item in reader.process(wrong) if isinstance(item, Rejected)]
    assert len(rejected) >= 0.8 * len(scenes)
    assert {item.reason for item in rejected} == {"clip_disagrees"}
    first = wrong[int(rejected[0].key.removeprefix("s"))].detections[0]
    box = ", ".join(f"{edge:.1f}" for edge in first.box_xyxy)
    assert rejected[0].detail.startswith(f"{first.category} 0.90 at ({box}) is for CLIP a")
    plain = VocabularyConfig(categories=miniature.vocabulary().categories)
    kept = _stage(plain, min_category_probability=0.0).process(wrong)
    assert not any(isinstance(item, Rejected) for item in kept)


def test_what_is_doubtful_or_beyond_the_vocabulary_is_neither_described_nor_compared(
    reader: AttributeClassifierStage,
) -> None:
    scene = _drawn("s", [("cup", "red", "plain"), ("ball", "blue", "plain")], Random(7))
    cup, ball = scene.detections
    odd = replace(
        scene, detections=(cup, replace(ball, category="lamp"), replace(ball, category="cup", is_confident=False))
    )
    read = reader.process([odd])[0]
    assert isinstance(read, DetectedScene)
    assert read.detections[0].attributes["color"] == "red"
    assert read.detections[1:] == odd.detections[1:]


def test_no_color_is_said_of_a_cup_that_is_half_green_and_half_purple(reader: AttributeClassifierStage) -> None:
    scene = _drawn("s", [("cup", "red", "plain"), ("cup", "purple", "plain")], Random(7))
    image = scene.composed.image.copy()
    x1, y1, x2, y2 = map(int, scene.detections[1].box_xyxy)
    upper = image[y1 : (y1 + y2) // 2, x1:x2]
    upper[(upper == COLORS["purple"]).all(-1)] = COLORS["green"]
    mixed = replace(scene, composed=replace(scene.composed, image=image))
    careless = _stage(min_half_probability=0.0)
    for stage, item, colors in (
        (reader, scene, ["red", "purple"]),
        (careless, mixed, ["red", "purple"]),
        (reader, mixed, ["red", None]),
    ):
        read = stage.process([item])[0]
        assert isinstance(read, DetectedScene)
        assert [one.attributes.get("color") for one in read.detections] == colors


def test_with_one_category_there_is_nothing_to_compare() -> None:
    whole = miniature.vocabulary()
    only_hats = VocabularyConfig(categories={"hat": "hats"}, attributes=whole.attributes)
    scene = _drawn("s", [("cup", "red", "plain"), ("cup", "blue", "striped")], Random(8))
    taken = replace(scene, detections=tuple(replace(one, category="hat") for one in scene.detections))
    read = _stage(only_hats).process([taken])[0]
    assert isinstance(read, DetectedScene) and len(read.detections) == 2
    plain = VocabularyConfig(categories={"hat": "hats"})
    assert _stage(plain).process([taken]) == [taken]


def test_without_attributes_only_categories_are_compared() -> None:
    plain = VocabularyConfig(categories=miniature.vocabulary().categories)
    right = _drawn("right", [("kite", "red", "plain"), ("car", "blue", "plain")], Random(9))
    stage = _stage(plain)
    wrong = _taken_for(replace(right, composed=replace(right.composed, key="wrong")), "house")
    read = stage.process([right, wrong])
    assert read[0] == right
    assert isinstance(read[1], Rejected) and read[1].key == "wrong"
    assert stage.process([]) == []


def test_queries_say_verified_attributes_and_never_that_there_is_none() -> None:
    facts = [
        {"pattern": "striped", "color": "red"},
        {"pattern": "", "color": "red"},
        {"pattern": "", "color": "blue"},
    ]
    boxes = [(5.0, 5.0, 20.0, 20.0), (40.0, 30.0, 55.0, 45.0), (70.0, 60.0, 85.0, 75.0)]
    objects = tuple(SceneObject(box_xyxy=b, category="cup", attributes=f) for b, f in zip(boxes, facts, strict=True))
    scene = Scene(width=100, height=100, objects=objects)
    queries = generate_queries(scene, "cup", PhraseRealizer(), per_relation_type=50, seed=0)
    means = {query.text.removeprefix("the "): query.target for query in queries}
    assert means["striped cup"] == 0
    assert means["blue cup"] == 2
    assert "red cup" not in means  # two are red
    assert not any("  " in query.text or query.text.startswith(" ") for query in queries)


@pytest.mark.parametrize(
    "fault",
    [
        {"min_probability": 0.5},
        {"min_probability": 1.5},
        {"min_category_probability": 1.0},
        {"min_half_probability": 1.0},
        {"min_category_probability": -0.1},
        {"margins": ()},
        {"margins": (0.2, -0.1)},
    ],
)
def test_limits_that_make_no_sense_are_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fault))):
        AttributeClassifierConfig(**fault)
