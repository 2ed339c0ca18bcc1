"""What a thing of a scene looks like, read off its crop by a CLIP: what a prompt asked for is no fact.

A crop is compared with captions of all combinations of attributes ("a striped red cup", "a red cup"). An attribute
becomes a fact where the captions that say it outweigh all others; where none does, it stays unknown, and no query of
the scene uses attributes of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from augmentation.composed import Picture
from augmentation.detect import Detected, Found
from augmentation.scene import NONE
from augmentation.vocabulary import VocabularyConfig
from generation.encode import EncoderConfig, ImageEncoder
from pipeline.stage import Rejected, Resources, Stage
from shards.schema import Box


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """When a CLIP is believed about attributes."""

    least_probability: float = 0.9
    """Of the captions that say an attribute, among all, by the CLIP's own temperature; below it nothing is known."""

    margin: float = 0.3
    """Width of the rim around a box that is cropped with it, as a share of the box's longer side."""

    optional_kinds: tuple[str, ...] = ("pattern",)
    """Kinds that a thing may have none of."""

    def __post_init__(self) -> None:
        if not 0.5 < self.least_probability <= 1:
            raise ValueError(f"least_probability must lie in (0.5, 1], got {self.least_probability}")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")


class VerifyStage(Stage[Detected, Detected]):
    """Fills in the attributes of every sure thing of the scene's category.

    Args:
        encoder: a CLIP with both towers.
        vocabulary: its attributes are the words to choose from, in the order in which they are said.
        num_gpus: of one worker.
    """

    def __init__(
        self,
        config: VerifyConfig,
        encoder: EncoderConfig,
        vocabulary: VocabularyConfig,
        *,
        batch_size: int = 16,
        num_gpus: float = 0.0,
    ) -> None:
        self._config, self._encoder_config = config, encoder
        self._words = {
            kind: (*words, *([NONE] if kind in config.optional_kinds else []))
            for kind, words in vocabulary.attributes.items()
        }
        self.batch_size = batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        self._encoder = ImageEncoder(self._encoder_config)
        self._captions: dict[str, npt.NDArray[np.float32]] = {}

    def process(self, items: list[Detected]) -> list[Detected | Rejected]:
        if not self._words:
            return list(items)
        places = [
            (i, j)
            for i, item in enumerate(items)
            for j, found in enumerate(item.found)
            if found.is_sure and found.category == item.spec.category
        ]
        crops = [cropped(items[i].picture, items[i].found[j].box_xyxy, self._config.margin) for i, j in places]
        found = [list(item.found) for item in items]
        for (i, j), embedded in zip(places, self._encoder.images(crops), strict=True):
            found[i][j] = self._verified(found[i][j], embedded)
        return [replace(item, found=tuple(things)) for item, things in zip(items, found, strict=True)]

    def _verified(self, found: Found, embedded: npt.NDArray[np.float32]) -> Found:
        cosines = self._caption_features(found.category) @ embedded  # (combinations,)
        logits = self._encoder.logit_scale * cosines
        return replace(found, attributes=believed(logits, self._words, self._config.least_probability))

    def _caption_features(self, category: str) -> npt.NDArray[np.float32]:
        if category not in self._captions:
            phrases = (" ".join([*filter(None, values), category]) for values in product(*self._words.values()))
            texts = [f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}" for phrase in phrases]
            self._captions[category] = self._encoder.texts(texts)
        return self._captions[category]


def believed(
    logits: npt.NDArray[np.float32], words: Mapping[str, Sequence[str]], least_probability: float
) -> dict[str, str]:
    """Kind to word, for the kinds of which one word outweighs the others.

    Args:
        logits: (product of the numbers of words,), in the order of ``itertools.product`` over the kinds.
    """
    joint = np.exp((logits - logits.max()).astype(np.float64)).reshape([len(choices) for choices in words.values()])
    joint /= joint.sum()
    facts = {}
    for axis, (kind, choices) in enumerate(words.items()):
        marginal = joint.sum(tuple(other for other in range(joint.ndim) if other != axis))
        if marginal.max() >= least_probability:
            facts[kind] = choices[int(marginal.argmax())]
    return facts


def cropped(picture: Picture, box_xyxy: Box, margin: float) -> Picture:
    """A square around the box with a rim, as far as the picture goes; beyond it the border's pixels go on."""
    x1, y1, x2, y2 = box_xyxy
    half = max(x2 - x1, y2 - y1) * (0.5 + margin)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    side = max(1, round(2 * half))
    columns = np.clip(np.arange(side) + round(middle_x - half), 0, picture.shape[1] - 1)
    rows = np.clip(np.arange(side) + round(middle_y - half), 0, picture.shape[0] - 1)
    return picture[rows[:, None], columns[None, :]]
