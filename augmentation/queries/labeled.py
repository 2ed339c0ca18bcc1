"""A labeled sample with the scene that its queries were verified on, and one with paraphrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from augmentation.relations.scene import Scene
from shards.schema import Sample


@dataclass(frozen=True, kw_only=True)
class LabeledScene:
    """Sample and its scene, for a stage that verifies other texts of the queries."""

    sample: Sample
    scene: Scene
    """Objects in the order of the sample's instances, with their attributes."""

    @property
    def key(self) -> str:
        """Return the sample's key."""
        return self.sample.key


@dataclass(frozen=True, kw_only=True)
class ParaphrasedSample(Sample):
    """Sample whose queries were paraphrased, with what became of the paraphrases."""

    paraphrases: Mapping[str, int] = field(default_factory=dict)
    """Number of ``queries``, of ``kept`` paraphrases, and of rejected ones by reason."""
