"""Scenes whose things are known without a detector: what was pasted lies where it was put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augmentation.composers.composed import Asked, Composed
from augmentation.detection.attribute_classifier import OPTIONAL_KINDS
from augmentation.detection.detector import Detected, Found
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import NONE, snapped
from pipeline.stage import Rejected, Resources, Stage


class ExactStage(Stage[Composed, Detected]):
    """Stands in for the detector where none knows the categories: takes what was pasted as found.

    Only ``pasted`` knows its pictures. Of what a model drew only a detector can say what is there, so scenes of
    other composers are rejected.

    Args:
        vocabulary: attributes that the maker of a cut-out knows become facts as far as these are its words; without
            one nothing is said of what things look like.
        optional_kinds: kinds that a thing may have none of. Of these another word ("plain") means that it has none
            of the vocabulary's; of other kinds it leaves the attribute unknown.
    """

    resources = Resources(num_cpus=1)

    def __init__(
        self, vocabulary: VocabularyConfig | None = None, *, optional_kinds: Sequence[str] = OPTIONAL_KINDS
    ) -> None:
        self._vocabulary, self._optional_kinds = vocabulary, tuple(optional_kinds)

    def process(self, items: list[Composed]) -> list[Detected | Rejected]:
        return [self._as_put(item) for item in items]

    def _as_put(self, item: Composed) -> Detected | Rejected:
        if item.composer != "pasted":
            detail = f"what a {item.composer} scene shows is not known; only things that were pasted need no detector"
            return Rejected(key=item.key, reason="needs_detector", detail=detail)
        return Detected(
            key=item.key,
            seed=item.seed,
            spec=item.spec,
            composer=item.composer,
            picture=item.picture,
            found=tuple(map(self._found, item.asked)),
            asked=item.asked,
        )

    def _found(self, asked: Asked) -> Found:
        box = snapped(asked.box_xyxy)
        return Found(box_xyxy=box, category=asked.category, score=1.0, attributes=self._facts(asked))

    def _facts(self, asked: Asked) -> dict[str, str]:
        """Kind to word in the vocabulary's order, as a CLIP would read them."""
        if self._vocabulary is None or asked.category not in self._vocabulary.categories:
            return {}
        words: Mapping[str, Sequence[str]] = self._vocabulary.attributes
        known = {kind: asked.attributes[kind] for kind in words if kind in asked.attributes}
        return {
            kind: word if word in words[kind] else NONE
            for kind, word in known.items()
            if word in words[kind] or kind in self._optional_kinds
        }
