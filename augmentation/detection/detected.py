"""A composed scene with its detections."""

from __future__ import annotations

from dataclasses import dataclass

from augmentation.composers.composed import ComposedScene
from augmentation.relations.scene import SceneObject


@dataclass(frozen=True, kw_only=True)
class Detection(SceneObject):
    """An object that a detector reported; its attributes are those that were classified on its crop."""

    score: float
    """Detector's confidence, in [0, 1]."""

    is_confident: bool = True
    """False if the score or the size is doubtful: it is unknown whether there is such an object."""


@dataclass(frozen=True, kw_only=True)
class DetectedScene:
    """A composed scene with its detections, best first."""

    composed: ComposedScene
    detections: tuple[Detection, ...]

    @property
    def key(self) -> str:
        """Return the key of the scene."""
        return self.composed.key

    @property
    def category(self) -> str:
        """Return the category that the scene's queries are about."""
        return self.composed.spec.category

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) of the image in pixels."""
        height, width = self.composed.image.shape[:2]
        return width, height
