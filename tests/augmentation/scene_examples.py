"""Scenes of cups in an image of 100 x 80, and their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augmentation.composers.composed import ComposedScene
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.scene_spec import SceneSpec
from augmentation.queries.labeling import LabelConfig, LabelStage
from augmentation.relations.scene import SceneObject
from pipeline import Rejected
from shards.boxes import Box
from shards.schema import Sample

SPEC = SceneSpec(key="scene-1", category="cup", count=3, attributes={}, prompt="three cups")


def make_detections(
    *boxes: Box, category: str = "cup", score: float = 0.9, sure: bool = True, color: str = ""
) -> tuple[Detection, ...]:
    facts = {"color": color} if color else {}
    return tuple(
        Detection(box_xyxy=box, category=category, score=score, is_confident=sure, attributes=facts) for box in boxes
    )


def label_detections(
    detections: Sequence[Detection],
    config: LabelConfig | None = None,
    composer: str = "prompted",
    requested: Sequence[SceneObject] = (),
) -> Sample | Rejected:
    """The result for an image of 100 x 80."""
    image = np.full((80, 100, 3), 200, np.uint8)
    image[:, ::2] = 17
    composed = ComposedScene(
        key="scene-1", seed=5, spec=SPEC, composer=composer, image=image, requested=tuple(requested)
    )
    return label_scene(DetectedScene(composed=composed, detections=tuple(detections)), config)


def label_scene(detected: DetectedScene, config: LabelConfig | None = None) -> Sample | Rejected:
    stage = LabelStage(config, {"cup": "cups", "ball": "balls"}, attributes={"color": ("red", "blue", "green")})
    stage.setup()
    return stage.process([detected])[0]


THREE: tuple[Box, ...] = ((10, 30, 25, 50), (40, 30, 55, 50), (75, 30, 90, 50))


def request_boxes(*boxes: Box, category: str = "cup") -> tuple[SceneObject, ...]:
    return tuple(SceneObject(box_xyxy=box, category=category) for box in boxes)
