"""Scenes whose things are known without a detector: what was pasted lies where it was put."""

from __future__ import annotations

from augmentation.composed import Asked, Composed
from augmentation.detect import Detected, Found
from augmentation.scene import snapped
from pipeline.stage import Rejected, Resources, Stage


class ExactStage(Stage[Composed, Detected]):
    """Stands in for the detector where none knows the categories: takes what was pasted as found.

    Only ``pasted`` knows its pictures. Of what a model drew only a detector can say what is there, so scenes of
    other composers are rejected.
    """

    resources = Resources(num_cpus=1)

    def process(self, items: list[Composed]) -> list[Detected | Rejected]:
        return [_as_put(item) for item in items]


def _as_put(item: Composed) -> Detected | Rejected:
    if item.composer != "pasted":
        return Rejected(
            key=item.key,
            reason="needs_detector",
            detail=f"what a {item.composer} scene shows is not known; only things that were pasted need no detector",
        )
    return Detected(
        key=item.key,
        seed=item.seed,
        spec=item.spec,
        composer=item.composer,
        picture=item.picture,
        found=tuple(map(_found, item.asked)),
        asked=item.asked,
    )


def _found(asked: Asked) -> Found:
    return Found(box_xyxy=snapped(asked.box_xyxy), category=asked.category, score=1.0)
