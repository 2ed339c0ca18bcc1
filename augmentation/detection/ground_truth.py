"""Detections without a detector: the composer knows the boxes of pasted objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augmentation.composers.composed import ComposedScene
from augmentation.detection.attribute_classifier import OPTIONAL_ATTRIBUTES
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import NO_ATTRIBUTE, SceneObject
from pipeline import MapStage, Rejected, Resources


class GroundTruthStage(MapStage[ComposedScene, DetectedScene]):
    """Stage that takes pasted objects as detections, for categories that no detector knows.

    Only the composer ``pasted`` knows the objects of its images, so scenes of other composers are rejected.

    Args:
        vocabulary: categories and attributes, as ``make_true_detections`` takes them.
        optional_attributes: attributes that may be absent.
    """

    resources = Resources(num_cpus=1)

    def __init__(
        self, vocabulary: VocabularyConfig, *, optional_attributes: Sequence[str] = OPTIONAL_ATTRIBUTES
    ) -> None:
        self._vocabulary, self._optional_attributes = vocabulary, tuple(optional_attributes)

    def process_item(self, item: ComposedScene) -> DetectedScene | Rejected:
        if item.composer != "pasted":
            detail = f"objects of a {item.composer} scene are unknown without a detector; only pasted ones are known"
            return Rejected(key=item.key, reason="needs_detector", detail=detail)
        detections = make_true_detections(item.requested, self._vocabulary, self._optional_attributes)
        return DetectedScene(composed=item, detections=detections)


def make_true_detections(
    requested: Sequence[SceneObject], vocabulary: VocabularyConfig, optional_attributes: Sequence[str]
) -> tuple[Detection, ...]:
    """Make the detections of a perfect detector from the pasted objects.

    Args:
        requested: pasted objects.
        vocabulary: an object's attributes become known if its category and their words are in the vocabulary.
        optional_attributes: attributes that may be absent. For these, a word outside the vocabulary ("plain") means
            absent; for all others it means unknown.
    """
    return tuple(
        Detection(
            box_xyxy=one.box_xyxy,
            category=one.category,
            score=1.0,
            attributes=_select_attributes(one, vocabulary, optional_attributes),
        )
        for one in requested
    )


def _select_attributes(
    requested: SceneObject, vocabulary: VocabularyConfig, optional_attributes: Sequence[str]
) -> dict[str, str]:
    """Return attribute to word in the vocabulary's order, as ``AttributeClassifierStage`` does."""
    if requested.category not in vocabulary.categories:
        return {}
    words: Mapping[str, Sequence[str]] = vocabulary.attributes
    known = {attribute: requested.attributes[attribute] for attribute in words if attribute in requested.attributes}
    return {
        attribute: word if word in words[attribute] else NO_ATTRIBUTE
        for attribute, word in known.items()
        if word in words[attribute] or attribute in optional_attributes
    }
