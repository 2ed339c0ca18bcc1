"""What a thing of a scene is and looks like, read off its crop by a CLIP: what a prompt asked for is no fact.

A crop is compared with captions of all categories and all combinations of attributes ("a striped red cup", "a red
cup", "a red hat"). Of the captions of the category that was detected, an attribute becomes a fact where those that say
it outweigh all others; where none does, it stays unknown, and no query uses attributes of that kind. Where all captions
of the detected category together have next to no weight, detector and CLIP see two different things, and a query about
either may be false: the scene is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from augmentation.composers.composed import Picture
from augmentation.detection.detector import Detected, Found
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import NONE
from generation.models.image_encoder import EncoderConfig, ImageEncoder
from pipeline.stage import Rejected, Resources, Stage
from shards.schema import Box

OPTIONAL_KINDS = ("pattern",)
"""Kinds of attributes that a thing may have none of."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """When a CLIP is believed about categories and attributes."""

    least_probability: float = 0.9
    """Of the captions that say an attribute, among all of the category, by the CLIP's own temperature; below it
    nothing is known."""

    least_category_probability: float = 0.05
    """Of the captions of the detected category, among all of the vocabulary, by the same temperature; below it the
    scene is rejected. 0 never rejects one. Little is asked for, since categories that look alike share it."""

    margins: tuple[float, ...] = (0.1, 0.2, 0.3)
    """Widths of the rims around a box, as shares of the box's longer side; each gives a crop of its own.

    The cosines of the crops are averaged: what neighbours and cut edges do to a single crop weighs less.
    """

    optional_kinds: tuple[str, ...] = OPTIONAL_KINDS
    """Kinds that a thing may have none of."""

    def __post_init__(self) -> None:
        if not 0.5 < self.least_probability <= 1:
            raise ValueError(f"least_probability must lie in (0.5, 1], got {self.least_probability}")
        if not 0 <= self.least_category_probability < 1:
            raise ValueError(
                f"least_category_probability must lie in [0, 1), got {self.least_category_probability}; 0 asks nothing"
            )
        if not self.margins or min(self.margins) < 0:
            raise ValueError(f"margins must hold at least one number, none of them negative, got {self.margins}")


class VerifyStage(Stage[Detected, Detected]):
    """Fills in the attributes of every sure thing of a category of the vocabulary; rejects scenes with a thing that
    the CLIP takes for something else.

    Things of other categories are neither compared nor described. With a single category there is nothing to compare.

    Args:
        encoder: a CLIP with both towers.
        vocabulary: its categories and attributes are the words to choose from; these in the order in which they are
            said.
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
        self._categories = tuple(vocabulary.categories)
        self._words = {
            kind: (*words, *([NONE] if kind in config.optional_kinds else []))
            for kind, words in vocabulary.attributes.items()
        }
        self.batch_size = batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        self._encoder = ImageEncoder(self._encoder_config)
        self._captions = np.stack([self._encoder.texts(self._texts(category)) for category in self._categories])

    def _texts(self, category: str) -> list[str]:
        """A caption for each combination of attributes."""
        phrases = (" ".join([*filter(None, values), category]) for values in product(*self._words.values()))
        return [f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}" for phrase in phrases]

    def process(self, items: list[Detected]) -> list[Detected | Rejected]:
        if not self._words and len(self._categories) == 1:
            return list(items)
        places = [
            (i, j)
            for i, item in enumerate(items)
            for j, found in enumerate(item.found)
            if found.is_sure and found.category in self._categories
        ]
        logits = self._logits([(items[i].picture, items[i].found[j].box_xyxy) for i, j in places])
        read = dict(zip(places, logits, strict=True))
        return [
            self._verified(item, {j: of_thing for (one, j), of_thing in read.items() if one == i})
            for i, item in enumerate(items)
        ]

    def _logits(self, things: Sequence[tuple[Picture, Box]]) -> Floats:
        """(things, categories, combinations), averaged over the crops of each thing."""
        margins = self._config.margins
        crops = [cropped(picture, box, margin) for picture, box in things for margin in margins]
        embedded = self._encoder.images(crops).reshape(len(things), len(margins), self._encoder.dim).mean(1)
        logits: Floats = self._encoder.logit_scale * np.einsum("td,cad->tca", embedded, self._captions)
        return logits

    def _verified(self, item: Detected, logits: Mapping[int, Floats]) -> Detected | Rejected:
        """With what was read off the things, by their index."""
        found = list(item.found)
        for j, of_thing in logits.items():
            if detail := self._disagreement(found[j], of_thing):
                return Rejected(key=item.key, reason="clip_disagrees", detail=detail)
            own = of_thing[self._categories.index(found[j].category)]
            found[j] = replace(found[j], attributes=believed(own, self._words, self._config.least_probability))
        return replace(item, found=tuple(found))

    def _disagreement(self, found: Found, logits: Floats) -> str:
        """What the CLIP says against the category; empty where that is its own first choice, or likely enough."""
        weights = category_probabilities(logits)
        own, best = self._categories.index(found.category), int(weights.argmax())
        if own == best or weights[own] >= self._config.least_category_probability:
            return ""
        return (
            f"{found.category} {found.score:.2f} at {tuple(round(edge, 1) for edge in found.box_xyxy)} is by the CLIP "
            f"a {self._categories[best]} ({weights[best]:.3f}) rather than a {found.category} ({weights[own]:.3f})"
        )


def category_probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """(categories,) from (categories, combinations): a category's captions together, among all of them."""
    weights: npt.NDArray[np.float64] = np.exp((logits - logits.max()).astype(np.float64)).sum(1)
    weights /= weights.sum()
    return weights


def believed(logits: Floats, words: Mapping[str, Sequence[str]], least_probability: float) -> dict[str, str]:
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
