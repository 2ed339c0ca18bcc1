"""Detection of the objects of photographs that have no annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from augmentation.detection.config import DetectorConfig
from augmentation.detection.detected import encode_preview
from pipeline import Rejected, Resources, Stage
from shards.images import decode_rgb_image
from shards.schema import Instance, Sample


class DetectPhotographStage(Stage[Sample, Sample]):
    """Stage that gives photographs their detections as instances; an uncertain detection rejects a photograph.

    Args:
        config: checkpoint and thresholds.
        categories: categories of the vocabulary, which the detector must know.
        num_gpus: GPUs of one worker.
    """

    name = "detect"
    batch_size = 16

    def __init__(self, config: DetectorConfig, categories: Sequence[str], *, num_gpus: float = 0.0) -> None:
        self._config, self._categories = config, tuple(categories)
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        from augmentation.detection.detector import Detector

        self._detector = Detector(self._config, self._categories)

    def process(self, items: list[Sample]) -> list[Sample | Rejected]:
        images = [decode_rgb_image(item.image) for item in items]
        results = list[Sample | Rejected]()
        for item, image, detections in zip(
            items, images, self._detector.detect([np.asarray(image) for image in images]), strict=True
        ):
            if doubtful := [one for one in detections if not one.is_confident]:
                detail = ", ".join(f"{one.category} {one.score:.2f} at {one.box_xyxy}" for one in doubtful)
                preview = encode_preview(image, [one.box_xyxy for one in doubtful])
                results.append(Rejected(key=item.key, reason="uncertain_detection", detail=detail, attachment=preview))
                continue
            instances = tuple(
                Instance(box_xyxy=one.box_xyxy, category=one.category, score=one.score) for one in detections
            )
            results.append(replace(item, instances=instances))
        return results
