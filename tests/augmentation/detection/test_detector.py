"""Detection with a tiny model of the real class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_examples import SPEC, THREE, make_detections, request_boxes

from augmentation.composers.composed import ComposedScene
from augmentation.detection.config import DetectorConfig
from augmentation.detection.detected import DetectedScene
from augmentation.detection.detector import Detector, DetectStage, remove_duplicates
from augmentation.errors import AugmentationError
from augmentation.planning.vocabulary import VocabularyConfig


def _images(count: int, height: int = 48, width: int = 80) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def _everything(checkpoint: Path) -> DetectorConfig:
    return DetectorConfig(
        checkpoint=str(checkpoint), confident_score=1e-6, min_score=1e-6, min_area_share=0, max_area_share=1, nms_iou=1
    )


def test_a_detector_finds_boxes_inside_each_picture_best_first(checkpoint: Path) -> None:
    detections = Detector(_everything(checkpoint)).detect(_images(3))
    assert len(detections) == 3
    for objects in detections:
        assert objects and [one.score for one in objects] == sorted((one.score for one in objects), reverse=True)
        for one in objects:
            x1, y1, x2, y2 = one.box_xyxy
            assert 0 <= x1 < x2 <= 80 and 0 <= y1 < y2 <= 48
            assert one.category in ("cup", "ball") and one.is_confident


def test_pictures_of_different_sizes_share_a_batch(checkpoint: Path) -> None:
    images = [*_images(1, 48, 80), *_images(1, 96, 64)]
    detector = Detector(_everything(checkpoint))
    together, alone = detector.detect(images), [detector.detect([image])[0] for image in images]
    boxes = [np.array([one.box_xyxy for one in objects]) for objects in together]
    assert [np.allclose(a, [one.box_xyxy for one in b], atol=0.1) for a, b in zip(boxes, alone, strict=True)] == [
        True,
        True,
    ]


def test_where_no_score_is_good_nothing_is_found(checkpoint: Path) -> None:
    config = DetectorConfig(checkpoint=str(checkpoint), confident_score=1.0, min_score=0.999)
    assert Detector(config).detect(_images(2)) == [(), ()]
    assert Detector(config).detect([]) == []


def test_scores_or_sizes_in_doubt_are_marked_and_large_ones_with_both_left_out(checkpoint: Path) -> None:
    sure: dict[str, Any] = {"min_score": 1e-6, "nms_iou": 1, "min_area_share": 0.0, "max_area_share": 1.0}
    good_size = DetectorConfig(checkpoint=str(checkpoint), confident_score=1.0, **sure)
    detections = Detector(good_size).detect(_images(1))[0]
    assert detections and not any(one.is_confident for one in detections)
    bad_size: dict[str, Any] = {**sure, "min_area_share": 0.9999}
    score_only = Detector(DetectorConfig(checkpoint=str(checkpoint), confident_score=1e-6, **bad_size))
    assert not any(one.is_confident for one in score_only.detect(_images(1))[0])
    small = Detector(DetectorConfig(checkpoint=str(checkpoint), confident_score=1.0, **bad_size))
    assert len(small.detect(_images(1))[0]) == len(detections) and not any(one.is_confident for one in detections)
    too_large: dict[str, Any] = {**sure, "max_area_share": 1e-6}
    large = Detector(DetectorConfig(checkpoint=str(checkpoint), confident_score=1.0, **too_large))
    assert large.detect(_images(1)) == [()]


def test_labels_are_mapped_to_our_categories(checkpoint: Path) -> None:
    config = DetectorConfig(checkpoint=str(checkpoint), class_names={"cup": "mug"})
    assert Detector(config, ["mug", "ball"]).categories == ["ball", "mug"]


def test_a_sofa_is_a_couch_unless_sofas_are_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "sofa", "1": "diningtable"}, {"sofa": 0, "diningtable": 1}
    (folder / "config.json").write_text(json.dumps(config))
    detector = DetectorConfig(checkpoint=str(folder))
    assert Detector(detector, ["couch", "dining table"]).categories == ["couch", "dining table"]
    assert Detector(detector, ["sofa"]).categories == ["diningtable", "sofa"]
    with pytest.raises(AugmentationError, match="does not know 'couch'"):
        Detector(detector, ["couch", "sofa"])


def test_a_category_that_the_detector_does_not_know_stops_the_setup(checkpoint: Path) -> None:
    stage = DetectStage(
        DetectorConfig(checkpoint=str(checkpoint)), VocabularyConfig(categories={"cup": "cups", "kite": "kites"})
    )
    with pytest.raises(
        AugmentationError, match=r"does not know 'kite'; it knows ball, cup\. Leave the category out of the"
    ):
        stage.setup()


def test_a_mapped_label_that_does_not_exist_is_refused(checkpoint: Path) -> None:
    config = DetectorConfig(checkpoint=str(checkpoint), class_names={"bowl": "cup"})
    with pytest.raises(AugmentationError, match=r"'bowl', which is no label of .*; its labels are Ball, cup"):
        Detector(config)


def test_a_folder_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match="cannot be loaded as a detector"):
        Detector(DetectorConfig(checkpoint=str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_score": 0.7, "confident_score": 0.6}, "got 0.7 and 0.6"),
        ({"min_area_share": 0.8}, "got 0.8 and 0.7"),
        ({"nms_iou": 0.0}, "nms_iou must lie in"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorConfig(checkpoint="x", **changes)


def test_the_detect_stage_keeps_keys_specs_and_pictures(checkpoint: Path) -> None:
    stage = DetectStage(_everything(checkpoint), VocabularyConfig(categories={"cup": "cups"}))
    stage.setup()
    images = _images(2)
    composed = [
        ComposedScene(
            key=f"scene-{i}", seed=i, spec=SPEC, composer="layout", image=image, requested=request_boxes(THREE[i])
        )
        for i, image in enumerate(images)
    ]
    detected = stage.process(composed)
    assert [one.key for one in detected] == ["scene-0", "scene-1"]
    assert all(isinstance(one, DetectedScene) and one.detections for one in detected)
    assert [one.composed for one in detected if isinstance(one, DetectedScene)] == composed


def test_of_duplicates_the_better_stays_and_a_doubtful_one_goes_whatever_its_category() -> None:
    best = make_detections((10, 10, 30, 30))
    same = make_detections((11, 10, 31, 30), score=0.8)
    doubtful = make_detections((10, 11, 30, 31), category="ball", score=0.4, sure=False)
    other = make_detections((10, 10, 30, 31), category="ball", score=0.7)
    apart = make_detections((60, 10, 80, 30), score=0.7)
    assert remove_duplicates([*best, *same, *doubtful, *apart], 0.6) == (*best, *apart)
    assert remove_duplicates([*best, *other], 0.6) == (*best, *other)
