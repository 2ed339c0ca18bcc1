"""Boxes fitted to outlines on a plain background, on images of 60 x 60."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augmentation.composers.composed import ComposedScene, RgbImage
from augmentation.detection.box_fitting import FitBoxesStage, compute_background_distance, fit_to_components
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.scene_spec import Composer, SceneSpec
from augmentation.relations.scene import SceneObject
from pipeline import Rejected
from shards.boxes import Box

SPEC = SceneSpec(key="s", category="mushroom", count=2, attributes={}, prompt="two mushrooms")
MUSHROOM: Box = (10, 10, 30, 34)


def _draw() -> RgbImage:
    """Draw a mushroom with a pale stem, of which the last 4 px are its foot, on a wall and a floor."""
    image = np.full((60, 60, 3), 200, np.uint8)
    image[30:] = (180, 190, 160)
    image[10:26, 10:30] = (200, 30, 30)
    image[26:34, 17:23] = (240, 228, 205)
    return image


def _detect(*boxes: Box, composer: Composer = "prompted", requested: tuple[SceneObject, ...] = ()) -> DetectedScene:
    composed = ComposedScene(key="s", seed=0, spec=SPEC, composer=composer, image=_draw(), requested=requested)
    detections = tuple(Detection(box_xyxy=box, category="mushroom", score=0.9) for box in boxes)
    return DetectedScene(composed=composed, detections=detections)


def _fit(detected: DetectedScene, *, plain_background: bool = True) -> list[Box] | Rejected:
    fitted = FitBoxesStage(plain_background=plain_background).process([detected])[0]
    return fitted if isinstance(fitted, Rejected) else [one.box_xyxy for one in fitted.detections]


def test_a_box_that_cuts_off_the_stem_is_extended_to_it() -> None:
    assert _fit(_detect((10, 10, 30, 29.5))) == [MUSHROOM]


def test_a_box_that_is_too_large_is_reduced() -> None:
    assert _fit(_detect((8, 9, 31, 36))) == [MUSHROOM]


def test_an_edge_within_a_blurred_outline_stays() -> None:
    image = _draw()
    image[10:26, 9] = (200, 150, 150)  # 100 of the cap's difference of 340: more than 0.1 and less than 0.7
    assert fit_to_components(image, [(9.4, 10, 30, 34)]) == [(9.4, 10, 30, 34)]
    assert fit_to_components(image, [(8.4, 10, 30, 34)]) == [(9, 10, 30, 34)]
    assert fit_to_components(image, [(10.4, 10, 30, 34)]) == [(10, 10, 30, 34)]


@pytest.mark.parametrize(
    ("boxes", "detail"),
    [
        ((), "368 px"),
        (((10, 10, 30, 20),), "does not hold the whole object"),
        (((10, 10, 30, 34), (10, 10, 20, 34)), "no outline of its own"),
        (((10, 10, 30, 34), (40, 40, 50, 50)), "no outline of its own"),
    ],
    ids=["nothing is detected there", "a half", "two in one", "nothing is there"],
)
def test_what_does_not_fit_the_outlines_spoils_the_scene(boxes: tuple[Box, ...], detail: str) -> None:
    fitted = _fit(_detect(*boxes))
    assert isinstance(fitted, Rejected) and fitted.reason == "unclear_outline"
    assert detail in fitted.detail


def test_mixtures_of_wall_and_floor_are_background() -> None:
    image = np.full((60, 60, 3), 200, np.uint8)
    image[30:] = (100, 150, 200)
    image[29] = (150, 175, 200)
    assert compute_background_distance(image).max() == 0


def test_doubtful_detections_and_other_backgrounds_are_left_alone() -> None:
    detected = _detect((10, 10, 30, 29.5))
    assert _fit(detected, plain_background=False) == [(10, 10, 30, 29.5)]
    (one,) = detected.detections
    assert _fit(replace(detected, detections=(replace(one, is_confident=False),))) == [(10, 10, 30, 29.5)]


def test_boxes_of_pasted_objects_are_left_alone() -> None:
    requested = (SceneObject(box_xyxy=MUSHROOM, category="mushroom"),)
    for plain_background in (True, False):
        near = _detect((10, 10, 30, 31), composer="pasted", requested=requested)
        assert _fit(near, plain_background=plain_background) == [(10, 10, 30, 31)]
