"""Scenes whose objects are known without a detector: what was pasted lies where it was put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augmentation.composers.composed import ComposedScene
from augmentation.detection.attribute_classifier import OPTIONAL_ATTRIBUTES
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import NO_ATTRIBUTE, SceneObject
from pipeline import Rejected, Resources, Stage


class GroundTruthStage(Stage[ComposedScene, DetectedScene]):
    """Stands in for the detector where none knows the categories: takes what was pasted as found.

    Only ``pasted`` knows its images. Of what a model drew only a detector can say what is there, so scenes of
    other composers are rejected.

    Args:
        vocabulary: attributes that the maker of a cut-out knows become facts as far as these are its words; without
            one nothing is said of what objects look like.
        optional_attributes: kinds that a object may have none of. Of these another word ("plain") means that it has
        none
            of the vocabulary's; of other kinds it leaves the attribute unknown.
    """

    resources = Resources(num_cpus=1)

    def __init__(
        self, vocabulary: VocabularyConfig | None = None, *, optional_attributes: Sequence[str] = OPTIONAL_ATTRIBUTES
    ) -> None:
        self._vocabulary, self._optional_attributes = vocabulary, tuple(optional_attributes)

    def process(self, items: list[ComposedScene]) -> list[DetectedScene | Rejected]:
        return [self._make_detected_scene(item) for item in items]

    def _make_detected_scene(self, item: ComposedScene) -> DetectedScene | Rejected:
        if item.composer != "pasted":
            detail = f"what a {item.composer} scene shows is not known; only objects that were pasted need no detector"
            return Rejected(key=item.key, reason="needs_detector", detail=detail)
        detections = (
            Detection(box_xyxy=obj.box_xyxy, category=obj.category, score=1.0, attributes=self._select_attributes(obj))
            for obj in item.requested
        )
        return DetectedScene(composed=item, detections=tuple(detections))

    def _select_attributes(self, requested: SceneObject) -> dict[str, str]:
        """Return attribute to word in the vocabulary's order, as ``AttributeClassifierStage`` does."""
        if self._vocabulary is None or requested.category not in self._vocabulary.categories:
            return {}
        words: Mapping[str, Sequence[str]] = self._vocabulary.attributes
        known = {attribute: requested.attributes[attribute] for attribute in words if attribute in requested.attributes}
        return {
            attribute: word if word in words[attribute] else NO_ATTRIBUTE
            for attribute, word in known.items()
            if word in words[attribute] or attribute in self._optional_attributes
        }
