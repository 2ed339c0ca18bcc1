"""Rejections of detected scenes and their previews."""

from __future__ import annotations

import numpy as np

from augmentation.composers.composed import ComposedScene
from augmentation.detection.detected import DetectedScene, Detection, decode_preview
from augmentation.planning.scene_spec import SceneSpec


def test_a_rejected_scene_carries_its_image_and_its_boxes() -> None:
    spec = SceneSpec(key="s", category="cup", count=2, attributes={}, prompt="two cups")
    image = np.full((48, 80, 3), (200, 100, 50), np.uint8)
    boxes = [(1.0, 2.0, 30.5, 40.0), (40.0, 2.0, 79.0, 47.25)]
    detected = DetectedScene(
        composed=ComposedScene(key="s", seed=0, spec=spec, composer="prompted", image=image),
        detections=tuple(Detection(box_xyxy=box, category="cup", score=0.9) for box in boxes),
    )
    rejected = detected.reject("near_border", "cup 0.90")
    assert (rejected.key, rejected.reason, rejected.detail) == ("s", "near_border", "cup 0.90")
    preview, preview_boxes = decode_preview(rejected.attachment)
    assert preview.size == detected.size == (80, 48) and preview_boxes == boxes
    np.testing.assert_allclose(np.asarray(preview), image, atol=4)
