"""Object detection with any checkpoint, and a stage that detects objects in composed scenes.

A checkpoint with fixed classes (RT-DETR, DETR, ...) must know the categories. A zero-shot checkpoint (OWL-ViT, OWLv2,
Grounding DINO) is prompted with them. The checkpoint's configuration decides which of both it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import (
    MODEL_FOR_OBJECT_DETECTION_MAPPING,
    MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
)

from augmentation.composers.composed import ComposedScene, RgbImage
from augmentation.detection.attribute_classifier import OPTIONAL_ATTRIBUTES
from augmentation.detection.config import DetectorConfig
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.detection.ground_truth import make_true_detections
from augmentation.detection.pasted import confirm_pasted
from augmentation.detection.zero_shot import RawDetection, ZeroShotModel
from augmentation.errors import AugmentationError
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import snap_to_grid
from generation.models.checkpoints import resolve_device, suggest_download
from generation.parsing.coco_categories import COCO_CATEGORIES
from pipeline import Rejected, Resources, Stage
from shards.boxes import Box, compute_area_px, iou

_COCO_NAMES = {words.label: name for name, words in COCO_CATEGORIES.items() if words.label}
"""COCO's names by the labels of Pascal VOC, YOLO and RT-DETR that differ from them."""


class Detector:
    """A loaded detector.

    Args:
        config: checkpoint and thresholds.
        categories: categories that the detector must know, by our names; a zero-shot one is prompted with them.

    Raises:
        AugmentationError: the checkpoint cannot be loaded or does not know a category; or a zero-shot one gets no
            category, or one that does not fit its prompts.
    """

    def __init__(self, config: DetectorConfig, categories: Sequence[str] = ()) -> None:
        self._config = config
        try:
            self._model = _load_model(config, categories)
        except (OSError, ValueError, KeyError) as error:
            raise AugmentationError(
                f"{config.checkpoint} cannot be loaded as a detector with its processor ({error}); give the folder or "
                "hub id of an AutoModelForObjectDetection or AutoModelForZeroShotObjectDetection checkpoint"
                f"{suggest_download(config.checkpoint)}"
            ) from error

    @property
    def categories(self) -> list[str]:
        """Return the categories that the detector can detect, by our names."""
        return sorted(set(self._model.names))

    @torch.inference_mode()
    def detect(self, images: Sequence[RgbImage]) -> list[tuple[Detection, ...]]:
        """Detect the objects in each image, best first, doubtful ones included."""
        if not images:
            return []
        raw_detections = self._model.detect(images, self._config.min_score)
        return [self._filter_detections(one, image.shape) for one, image in zip(raw_detections, images, strict=True)]

    def _filter_detections(
        self, raw_detections: Sequence[RawDetection], size: tuple[int, ...]
    ) -> tuple[Detection, ...]:
        checked = (_make_detection(box, category, score, size, self._config) for box, category, score in raw_detections)
        detections = [one for one in checked if one is not None]
        detections.sort(key=lambda one: (-one.score, one.box_xyxy, one.category))
        return remove_duplicates(detections, self._config.nms_iou)


def _load_model(config: DetectorConfig, categories: Sequence[str]) -> ZeroShotModel | _ModelWithClasses:
    model_config = AutoConfig.from_pretrained(config.checkpoint, revision=config.revision)
    device = resolve_device(config.device)
    if type(model_config) in MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING:
        labels = _map_labels(config, categories)
        return ZeroShotModel(config.checkpoint, config.revision, model_config, labels, config.prompt, device)
    if type(model_config) in MODEL_FOR_OBJECT_DETECTION_MAPPING:
        return _ModelWithClasses(config, categories, device)
    raise AugmentationError(
        f"{config.checkpoint} has model type {model_config.model_type}, which is no detector; give the folder or "
        "hub id of an AutoModelForObjectDetection or AutoModelForZeroShotObjectDetection checkpoint"
    )


def _map_labels(config: DetectorConfig, categories: Sequence[str]) -> dict[str, str]:
    """Map labels to categories for a zero-shot detector: those of ``class_names``, else the category itself."""
    requested = dict.fromkeys(categories)
    if stray := sorted(set(config.class_names.values()) - set(requested)):
        raise AugmentationError(
            f"class_names maps a label to {stray[0]!r}, which is not among the categories ("
            f"{', '.join(requested) or 'none'}); add it there, or map to one of them"
        )
    own = (category for category in requested if category not in config.class_names.values())
    return {**config.class_names, **{category: category for category in own}}


class _ModelWithClasses:
    """A detector with a fixed list of classes."""

    def __init__(self, config: DetectorConfig, categories: Sequence[str], device: torch.device) -> None:
        self._device = device
        self._processor: Any = AutoImageProcessor.from_pretrained(config.checkpoint, revision=config.revision)
        model: Any = AutoModelForObjectDetection.from_pretrained(
            config.checkpoint, revision=config.revision, dtype=torch.float32
        )
        self._model = model.to(device).eval()
        labels: Mapping[int, str] = model.config.id2label
        coco_names = {name: own for name, own in _COCO_NAMES.items() if own in categories and name not in categories}
        ours = {name: coco_names.get(name.lower(), name.lower()) for name in labels.values()}
        self._names = {i: config.class_names.get(name, ours[name]) for i, name in labels.items()}
        _check_known(config, sorted(set(labels.values())), sorted(set(self._names.values())), categories)

    @property
    def names(self) -> list[str]:
        return list(self._names.values())

    def detect(self, images: Sequence[RgbImage], min_score: float) -> list[list[RawDetection]]:
        inputs = self._processor(images=list(images), return_tensors="pt").to(self._device)
        sizes = [image.shape[:2] for image in images]
        results = self._processor.post_process_object_detection(
            self._model(**inputs), threshold=min_score, target_sizes=sizes
        )
        return [self._name_detections(result) for result in results]

    def _name_detections(self, result: Mapping[str, torch.Tensor]) -> list[RawDetection]:
        boxes, labels, scores = (result[name].tolist() for name in ("boxes", "labels", "scores"))
        return [
            ((box[0], box[1], box[2], box[3]), self._names[label], score)
            for box, label, score in zip(boxes, labels, scores, strict=True)
        ]


def remove_duplicates(detections: Sequence[Detection], nms_iou: float) -> tuple[Detection, ...]:
    """Remove duplicates by greedy non-maximum suppression; detections are sorted best first.

    A detection is removed if a kept one overlaps it by more than ``nms_iou``, and either has its category or the
    removed one is doubtful. Two confident ones of different categories both stay.
    """
    kept: list[Detection] = []
    for one in detections:
        overlapping = [other for other in kept if iou(one.box_xyxy, other.box_xyxy) > nms_iou]
        if not any(other.category == one.category or not one.is_confident for other in overlapping):
            kept.append(one)
    return tuple(kept)


def _make_detection(
    box: Box, category: str, score: float, size: tuple[int, ...], config: DetectorConfig
) -> Detection | None:
    """Clip a detection to the image; return None if it is outside, or large with a doubtful score."""
    height, width = size[:2]
    clipped = snap_to_grid((max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return None
    share = compute_area_px(clipped) / (width * height)
    good_score = score >= config.confident_score
    good_size = config.min_area_share <= share <= config.max_area_share
    if not good_score and share > config.max_area_share:
        return None
    return Detection(box_xyxy=clipped, category=category, score=round(score, 4), is_confident=good_score and good_size)


def _check_known(config: DetectorConfig, labels: list[str], names: list[str], categories: Sequence[str]) -> None:
    if stray := sorted(set(config.class_names) - set(labels)):
        raise AugmentationError(
            f"class_names maps {stray[0]!r}, which is no label of {config.checkpoint}; "
            f"its labels are {', '.join(labels)}"
        )
    if unknown := sorted(set(categories) - set(names)):
        raise AugmentationError(
            f"the detector {config.checkpoint} does not know {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(names)}. Leave the category out of the vocabulary, "
            "or map one of the detector's labels to it with class_names"
        )


class DetectStage(Stage[ComposedScene, DetectedScene]):
    """Stage that detects the objects of composed scenes.

    Of pasted scenes it only checks that the detector sees each object, and takes the objects as they were pasted
    (``confirm_pasted``). Of others it rejects none; later stages filter them.

    Args:
        config: checkpoint and thresholds.
        vocabulary: categories of the scenes, checked against the detector when a worker starts, and the attributes that
            pasted objects may have.
        optional_attributes: attributes that may be absent (``make_true_detections``).
        min_requested_iou: minimum IoU of a detection with a pasted object to be of it.
        batch_size: maximum number of scenes of one call.
        num_gpus: GPUs of one worker.
    """

    def __init__(
        self,
        config: DetectorConfig,
        vocabulary: VocabularyConfig,
        *,
        optional_attributes: Sequence[str] = OPTIONAL_ATTRIBUTES,
        min_requested_iou: float = 0.75,
        batch_size: int = 16,
        num_gpus: float = 0.0,
    ) -> None:
        self._config, self._vocabulary = config, vocabulary
        self._optional_attributes = tuple(optional_attributes)
        self._min_requested_iou = min_requested_iou
        self.batch_size = batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        self._detector = Detector(self._config, sorted(self._vocabulary.categories))

    def process(self, items: list[ComposedScene]) -> list[DetectedScene | Rejected]:
        detections = self._detector.detect([item.image for item in items])
        scenes = [
            DetectedScene(composed=item, detections=scene_detections)
            for item, scene_detections in zip(items, detections, strict=True)
        ]
        pasted = [scene for scene in scenes if scene.composed.composer == "pasted"]
        truths = [
            make_true_detections(scene.composed.requested, self._vocabulary, self._optional_attributes)
            for scene in pasted
        ]
        confirmed = iter(confirm_pasted(pasted, truths, self._detector.detect, self._min_requested_iou))
        return [next(confirmed) if scene.composed.composer == "pasted" else scene for scene in scenes]
