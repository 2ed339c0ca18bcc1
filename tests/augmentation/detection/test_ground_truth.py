"""Pasted objects as detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scene_examples import SPEC, THREE, request_boxes

from augmentation.composers.composed import ComposedScene
from augmentation.detection.detected import DetectedScene
from augmentation.detection.ground_truth import GroundTruthStage
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import SceneObject
from pipeline import Rejected


def test_pasted_things_are_known_without_a_detector_and_drawn_ones_are_not() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    requested = (*request_boxes(*THREE), *request_boxes((20.001, 5, 30, 15), category="hat"))
    pasted, drawn = (
        ComposedScene(key=composer, seed=1, spec=SPEC, composer=composer, image=image, requested=requested)
        for composer in ("pasted", "layout")
    )
    detected, rejected = GroundTruthStage(VocabularyConfig(categories={"cup": "cups"})).process([pasted, drawn])
    assert isinstance(detected, DetectedScene) and detected.composed == pasted
    assert [(one.box_xyxy, one.category) for one in detected.detections] == [
        *((box, "cup") for box in THREE),
        ((20, 5, 30, 15), "hat"),
    ]
    assert all(one.is_confident and one.score == 1 and not one.attributes for one in detected.detections)
    assert isinstance(rejected, Rejected)
    assert (rejected.key, rejected.reason) == ("layout", "needs_detector")


def test_what_the_maker_of_a_cut_out_knows_is_a_fact_in_the_words_of_the_vocabulary() -> None:
    vocabulary = VocabularyConfig(
        categories={"cup": "cups", "ball": "balls"},
        attributes={"pattern": ("striped", "dotted"), "color": ("red", "blue")},
    )
    known: Sequence[tuple[str, dict[str, str], dict[str, str]]] = (
        ("cup", {"color": "red", "pattern": "striped"}, {"pattern": "striped", "color": "red"}),
        ("cup", {"color": "teal", "pattern": "plain", "brand": "acme"}, {"pattern": ""}),  # teal is no word of it
        ("ball", {"color": "blue"}, {"color": "blue"}),  # whether it has a pattern is not known
        ("hat", {"color": "red"}, {}),
    )
    requested = tuple(
        SceneObject(box_xyxy=(10.0 * i, 5, 10.0 * i + 8, 15), category=category, attributes=attributes)
        for i, (category, attributes, _) in enumerate(known)
    )
    image = np.zeros((80, 100, 3), np.uint8)
    composed = ComposedScene(key="k", seed=1, spec=SPEC, composer="pasted", image=image, requested=requested)
    detected = GroundTruthStage(vocabulary).process([composed])[0]
    assert isinstance(detected, DetectedScene)
    assert [dict(one.attributes) for one in detected.detections] == [facts for _, _, facts in known]
    strict = GroundTruthStage(vocabulary, optional_attributes=()).process([composed])[0]
    assert isinstance(strict, DetectedScene) and not strict.detections[1].attributes
    silent = GroundTruthStage(VocabularyConfig(categories={"cup": "cups"})).process([composed])[0]
    assert isinstance(silent, DetectedScene) and not any(one.attributes for one in silent.detections)
