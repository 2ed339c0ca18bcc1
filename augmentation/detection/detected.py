"""A composed scene with its detections."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from augmentation.composers.composed import ComposedScene
from augmentation.relations.scene import SceneObject
from pipeline import Rejected
from shards.boxes import Box

_PREVIEW_QUALITY = 90
_MAX_PREVIEW_BOXES = 500
"""Boxes that a preview keeps, best first: a JPEG comment holds 64 kB."""


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

    def reject(self, reason: str, detail: str) -> Rejected:
        """Return a rejection of the scene, with a preview (``decode_preview``) of its image and detections."""
        preview = encode_preview(Image.fromarray(self.composed.image), [obj.box_xyxy for obj in self.detections])
        return Rejected(key=self.key, reason=reason, detail=detail, attachment=preview)


def encode_preview(image: Image.Image, boxes: Sequence[Box]) -> bytes:
    """Encode the image of a rejected scene as JPEG, with the boxes of its objects as JSON in its comment."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_PREVIEW_QUALITY, comment=json.dumps(boxes[:_MAX_PREVIEW_BOXES]))
    return buffer.getvalue()


def decode_preview(content: bytes) -> tuple[Image.Image, list[Box]]:
    """Decode the attachment of a rejected scene to its image and the boxes of its detections, best first."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB"), [(x1, y1, x2, y2) for x1, y1, x2, y2 in json.loads(image.info["comment"])]
