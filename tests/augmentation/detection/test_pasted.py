"""Pasted scenes: what the detector must see, and what it may doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scene_examples import SPEC, THREE, make_detections, request_boxes

from augmentation.composers.composed import ComposedScene, RgbImage
from augmentation.detection.crops import find_square
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.detection.detector import DetectStage
from augmentation.detection.pasted import confirm_pasted
from augmentation.relations.scene import Contact, SceneObject
from pipeline import Rejected
from workflows.miniature.world.drawing import WorldObject, WorldScene
from workflows.presets import miniature


def _confirm(
    detections: Sequence[Detection],
    requested: Sequence[SceneObject] = request_boxes(*THREE),
    in_crops: Sequence[tuple[Detection, ...]] = (),
    contacts: tuple[Contact, ...] = (),
) -> tuple[DetectedScene | Rejected, list[RgbImage]]:
    """Confirm a scene of 100 x 80; also return the crops that the detector got, for which it gives ``in_crops``."""
    image = np.arange(80 * 100 * 3, dtype=np.uint32).reshape(80, 100, 3).astype(np.uint8)
    composed = ComposedScene(
        key="scene-1",
        seed=5,
        spec=SPEC,
        composer="pasted",
        image=image,
        requested=tuple(requested),
        contacts=contacts,
    )
    truth = tuple(Detection(box_xyxy=one.box_xyxy, category=one.category, score=1.0) for one in requested)
    crops: list[RgbImage] = []

    def detect(images: Sequence[RgbImage]) -> Sequence[tuple[Detection, ...]]:
        crops.extend(images)
        return in_crops

    scene = DetectedScene(composed=composed, detections=tuple(detections))
    return confirm_pasted([scene], [truth], detect, 0.75)[0], crops


def _get_boxes(scene: DetectedScene | Rejected) -> list[tuple[str, tuple[float, ...]]]:
    assert isinstance(scene, DetectedScene), scene
    return [(one.category, one.box_xyxy) for one in scene.detections]


def test_objects_that_are_seen_have_the_boxes_in_which_they_were_pasted() -> None:
    near = make_detections((10, 30, 25, 49), (40, 31, 55, 50), (76, 30, 90, 50))
    scene, crops = _confirm(near)
    assert _get_boxes(scene) == [("cup", box) for box in THREE] and not crops


def test_an_object_that_is_missed_in_the_image_must_be_detected_in_a_crop_around_it() -> None:
    left, top, side = find_square(THREE[2], 0.7)
    x1, y1, x2, y2 = THREE[2]
    inside = (x1 - left, y1 - top, x2 - left, y2 - top)
    doubtful = make_detections((75, 30, 90, 50), score=0.4, sure=False)
    for seen in ((), doubtful, make_detections((75, 30, 90, 42))):  # none, a doubtful one, IoU of 0.6
        found = (*make_detections(*THREE[:2]), *seen)
        scene, crops = _confirm(found, in_crops=[make_detections(inside)])
        assert _get_boxes(scene)[:3] == [("cup", box) for box in THREE] and [one.shape for one in crops] == [
            (side, side, 3)
        ]
        for wrong in (
            (),
            make_detections(inside, sure=False),
            make_detections(inside, category="hat"),
            make_detections((inside[0] + 9, *inside[1:])),
        ):
            rejected, _ = _confirm(found, in_crops=[wrong])
            assert isinstance(rejected, Rejected) and rejected.reason == "missed_instance"
            assert "cup at (75, 30, 90, 50): pasted, but not detected" in rejected.detail.replace(".0", "")


def test_objects_in_contact_need_no_detection() -> None:
    contact = Contact(kind="on", object_index=2, anchor_index=0)
    scene, crops = _confirm(make_detections(THREE[1]), contacts=(contact,))
    assert _get_boxes(scene) == [("cup", box) for box in THREE] and not crops
    rejected, _ = _confirm(make_detections(THREE[0]), contacts=(contact,), in_crops=[()])
    assert isinstance(rejected, Rejected) and rejected.reason == "missed_instance"


@pytest.mark.parametrize("category", ["cup", "hat"])
def test_doubts_about_pasted_objects_are_dropped(category: str) -> None:
    doubts = (
        *make_detections((11, 31, 24, 49), category=category, score=0.3, sure=False),
        *make_detections((40, 30, 55, 45), category="ball", score=0.9),  # a wrong name of a pasted object
    )
    scene, _ = _confirm((*make_detections(*THREE), *doubts))
    assert _get_boxes(scene) == [("cup", box) for box in THREE]


def test_detections_of_the_background_stay_but_for_those_of_a_pasted_category() -> None:
    hat = make_detections((2, 60, 14, 74), category="hat")
    doubtful = make_detections((2, 60, 14, 74), score=0.3, sure=False)
    for beside in (hat, doubtful):
        scene, _ = _confirm((*make_detections(*THREE), *beside))
        assert isinstance(scene, DetectedScene) and scene.detections[3:] == beside
    rejected, _ = _confirm((*make_detections(*THREE), *make_detections((2, 60, 14, 74))))
    assert isinstance(rejected, Rejected) and rejected.reason == "unexpected_instance"
    assert "cup at (2, 60, 14, 74): detected, but not pasted" in rejected.detail.replace(".0", "")
    around_two = make_detections((10, 30, 55, 50), score=0.3, sure=False)  # a third of it is a gap
    scene, _ = _confirm((*make_detections(*THREE), *around_two))
    assert _get_boxes(scene)[3:] == []


def test_the_miniature_detector_sees_pasted_cups_and_misses_what_is_not_there() -> None:
    vocabulary = miniature.vocabulary()
    stage = DetectStage(miniature.detector_config(), vocabulary)
    stage.setup()
    cups = [
        WorldObject(category="cup", color=color, pattern="plain", extent_px=24, x=x, y=40)
        for color, x in (("red", 12), ("blue", 58))
    ]
    image = WorldScene(width=96, height=96, background_kind=0, horizon=0.5, objects=tuple(cups)).draw().convert("RGB")
    requested = [
        SceneObject(box_xyxy=one.box_xyxy, category="cup", attributes={"color": one.color, "pattern": one.pattern})
        for one in cups
    ]
    scene = ComposedScene(
        key="s", seed=1, spec=SPEC, composer="pasted", image=np.asarray(image), requested=tuple(requested)
    )
    (detected,) = stage.process([scene])
    assert isinstance(detected, DetectedScene)
    assert [(one.box_xyxy, dict(one.attributes)) for one in detected.detections] == [
        (one.box_xyxy, {"pattern": "", "color": one.attributes["color"]}) for one in requested
    ]
    nothing = SceneObject(box_xyxy=(40, 4, 56, 20), category="cup")
    (rejected,) = stage.process([replace(scene, requested=(*scene.requested, nothing))])
    assert isinstance(rejected, Rejected) and rejected.reason == "missed_instance"
