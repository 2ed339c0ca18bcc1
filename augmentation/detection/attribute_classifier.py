"""Classification of the attributes of detected objects by a CLIP, on their crops.

CLIP compares a crop with captions of all categories and all combinations of attributes ("a striped red cup", "a red
cup", "a red hat"). Among the captions of the detected category, an attribute is known if the captions with it outweigh
all others. A color must also outweigh the others in each half of the box: of a cup that is half red and half blue,
people say no color. Otherwise the attribute is unknown, and no query uses it. If the captions of the detected category
together have almost no weight, detector and CLIP disagree, and the stage rejects the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated

import numpy as np
import numpy.typing as npt

from augmentation.composers.composed import RgbImage
from augmentation.detection.crops import crop_halves, crop_square
from augmentation.detection.detected import DetectedScene, Detection
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import NO_ATTRIBUTE
from generation.models.config import EncoderConfig
from generation.parsing.english import add_article
from pipeline import LimitedConfig, Range, Rejected, Resources, ShareBelowOne, Stage
from shards.boxes import Box

OPTIONAL_ATTRIBUTES = ("pattern",)
"""Attributes that an object may lack."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AttributeClassifierConfig(LimitedConfig):
    """Thresholds for CLIP's categories and attributes."""

    min_probability: Annotated[float, Range(0.5, 1, low_open=True)] = 0.9
    """Minimum probability of the captions with an attribute among those of the category, in (0.5, 1], at CLIP's own
    temperature; below it the attribute is unknown."""

    min_category_probability: ShareBelowOne = 0.05
    """Minimum probability of the captions of the detected category among all captions, in [0, 1); below it the scene is
    rejected. 0 disables the check. The default is low, since similar categories share the probability."""

    margins: tuple[float, ...] = (0.1, 0.2, 0.3)
    """Widths of the margins around a box, as shares of its longer side; each gives one crop.

    The cosines of the crops are averaged, so neighbors and cut edges in one crop weigh less.
    """

    optional_attributes: tuple[str, ...] = OPTIONAL_ATTRIBUTES
    """Attributes that an object may lack."""

    uniform_attributes: tuple[str, ...] = ("color",)
    """Attributes that must hold in the left, right, upper and lower half of the box; otherwise they are unknown."""

    min_half_probability: ShareBelowOne = 0.5
    """Minimum probability of a uniform attribute in each half, in [0, 1). The default is calibrated on drawn objects of
    one color and of two (``make benchmark NAME=detections``); 0 disables the check."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.margins or min(self.margins) < 0:
            raise ValueError(f"margins must be one or more numbers of at least 0, got {self.margins}")


class AttributeClassifierStage(Stage[DetectedScene, DetectedScene]):
    """Stage that adds attributes to confident detections, and rejects scenes on whose categories CLIP disagrees.

    Detections with known attributes, as pasted objects may have them, and those of categories outside the vocabulary
    stay as they are. With one category and no attributes, all do.

    Args:
        config: thresholds.
        encoder: a CLIP with both towers.
        vocabulary: categories and attributes to choose from, attributes in the order of a phrase.
        batch_size: maximum number of scenes of one call.
        num_gpus: GPUs of one worker.
    """

    def __init__(
        self,
        config: AttributeClassifierConfig,
        encoder: EncoderConfig,
        vocabulary: VocabularyConfig,
        *,
        batch_size: int = 16,
        num_gpus: float = 0.0,
    ) -> None:
        self._config, self._encoder_config = config, encoder
        self._categories = tuple(vocabulary.categories)
        self._words = {
            attribute: (*words, *([NO_ATTRIBUTE] if attribute in config.optional_attributes else []))
            for attribute, words in vocabulary.attributes.items()
        }
        self.batch_size = batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        from generation.models.image_encoder import ImageEncoder

        self._encoder = ImageEncoder(self._encoder_config)
        combinations = list(product(*self._words.values()))
        captions = (
            [add_article(" ".join([*filter(None, words), category])) for words in combinations]
            for category in self._categories
        )
        self._captions = np.stack([self._encoder.encode_texts(texts) for texts in captions])

    def process(self, items: list[DetectedScene]) -> list[DetectedScene | Rejected]:
        if not self._words and len(self._categories) == 1:
            return list(items)
        indices = [
            (i, j)
            for i, item in enumerate(items)
            for j, detection in enumerate(item.detections)
            if detection.is_confident and not detection.attributes and detection.category in self._categories
        ]
        objects = [(items[i].composed.image, items[i].detections[j].box_xyxy) for i, j in indices]
        logits, half_logits = self._compute_logits(objects), self._compute_half_logits(objects)
        by_index = dict(zip(indices, zip(logits, half_logits, strict=True), strict=True))
        return [
            self._apply_attributes(item, {j: object_logits for (one, j), object_logits in by_index.items() if one == i})
            for i, item in enumerate(items)
        ]

    def _compute_logits(self, objects: Sequence[tuple[RgbImage, Box]]) -> Floats:
        """Compute logits, (objects, categories, combinations), averaged over the crops of each object."""
        margins = self._config.margins
        crops = [crop_square(image, box, margin) for image, box in objects for margin in margins]
        embedded = self._encoder.encode_images(crops).reshape(len(objects), len(margins), self._encoder.dim).mean(1)
        return self._compare_with_captions(embedded)

    def _compute_half_logits(self, objects: Sequence[tuple[RgbImage, Box]]) -> Floats:
        """Compute logits of the halves of each box, (objects, 4, categories, combinations); of none without need."""
        needed = self._config.min_half_probability and not self._words.keys().isdisjoint(
            self._config.uniform_attributes
        )
        crops = [half for image, box in objects for half in crop_halves(image, box)] if needed else []
        logits = self._compare_with_captions(self._encoder.encode_images(crops))
        return logits.reshape(len(objects), 4 if needed else 0, *self._captions.shape[:2])

    def _compare_with_captions(self, embedded: Floats) -> Floats:
        logits: Floats = self._encoder.logit_scale * np.einsum("td,cad->tca", embedded, self._captions)
        return logits

    def _apply_attributes(
        self, item: DetectedScene, logits: Mapping[int, tuple[Floats, Floats]]
    ) -> DetectedScene | Rejected:
        """Add the attributes that the logits of the objects and of their halves give, by the index of the detection."""
        detections = list(item.detections)
        for j, (object_logits, half_logits) in logits.items():
            if detail := self._find_disagreement(detections[j], object_logits):
                return item.reject("clip_disagrees", detail)
            own = self._categories.index(detections[j].category)
            attributes = predict_attributes(object_logits[own], self._words, self._config.min_probability)
            detections[j] = replace(detections[j], attributes=self._remove_mixed(attributes, half_logits[:, own]))
        return replace(item, detections=tuple(detections))

    def _remove_mixed(self, attributes: Mapping[str, str], half_logits: Floats) -> dict[str, str]:
        """Remove the uniform attributes that do not hold in each half."""
        halves = [compute_marginals(logits, self._words) for logits in half_logits]
        return {
            attribute: word
            for attribute, word in attributes.items()
            if attribute not in self._config.uniform_attributes
            or all(
                half[attribute][self._words[attribute].index(word)] >= self._config.min_half_probability
                for half in halves
            )
        }

    def _find_disagreement(self, detection: Detection, logits: Floats) -> str:
        """Explain why CLIP disagrees with the category; return "" if the category is first or likely enough."""
        weights = compute_category_probabilities(logits)
        own, best = self._categories.index(detection.category), int(weights.argmax())
        if own == best or weights[own] >= self._config.min_category_probability:
            return ""
        return (
            f"{detection.category} {detection.score:.2f} at "
            f"{tuple(round(edge, 1) for edge in detection.box_xyxy)} is for CLIP "
            f"{add_article(self._categories[best])} ({weights[best]:.3f}) rather than "
            f"{add_article(detection.category)} ({weights[own]:.3f})"
        )


def compute_category_probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Compute the probability of each category's captions together, (categories,), from (categories, combinations)."""
    weights: npt.NDArray[np.float64] = np.exp((logits - logits.max()).astype(np.float64)).sum(1)
    weights /= weights.sum()
    return weights


def predict_attributes(logits: Floats, words: Mapping[str, Sequence[str]], min_probability: float) -> dict[str, str]:
    """Predict the attributes of which one word outweighs the others.

    Args:
        logits: (product of the numbers of words,), in the order of ``itertools.product`` over the attributes.
        words: words by attribute.
        min_probability: minimum marginal probability of a word.

    Returns:
        Word by attribute, for the attributes that are known.
    """
    return {
        attribute: words[attribute][int(marginal.argmax())]
        for attribute, marginal in compute_marginals(logits, words).items()
        if marginal.max() >= min_probability
    }


def compute_marginals(logits: Floats, words: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[np.float64]]:
    """Compute the probability of each word by attribute, from logits as ``predict_attributes`` takes them."""
    joint = np.exp((logits - logits.max()).astype(np.float64)).reshape([len(choices) for choices in words.values()])
    joint /= joint.sum()
    return {
        attribute: joint.sum(tuple(other for other in range(joint.ndim) if other != axis))
        for axis, attribute in enumerate(words)
    }
