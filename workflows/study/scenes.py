"""The control of the programs: the same scenes as ours, looked at by the same detector, with Pseudo-Q's queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from augmentation.composers.composed import Composed
from augmentation.detection.detector import Detected
from augmentation.detection.scene_filters import AcceptanceConfig
from augmentation.planning.vocabulary import SceneSpec
from augmentation.queries.labeling import encoded, scene_of
from pipeline.plan import ShardItems, open_plan
from pipeline.receipts import runs_below
from pipeline.stage import Item, Rejected, Stage
from pipeline.storage import Location, located
from shards.reader import SampleReader
from shards.schema import Instance, Query, Sample
from workflows.study.pseudo_q import pseudo_queries
from workflows.visualization.tiles import decoded


def asked_of_rounds(rounds: Location) -> dict[str, Mapping[str, Any]]:
    """Key of each scene to what was asked for, of all rounds."""
    plans = [open_plan(run) for run in runs_below(rounds)]
    return {item.key: item.payload for plan in plans for shard in plan.shards for item in ShardItems(plan).read(shard)}


class ReadSceneStage(Stage[Item, Composed]):
    """Reads the picture of a finished scene, as if it had just been composed; payload: its number and its ``spec``."""

    def __init__(self, scenes: str) -> None:
        self._scenes = scenes

    def setup(self) -> None:
        self._reader = SampleReader(located(self._scenes))

    def process(self, items: list[Item]) -> list[Composed | Rejected]:
        return [self._composed(item) for item in items]

    def _composed(self, item: Item) -> Composed:
        picture = np.asarray(decoded(self._reader.read(item.payload["number"]).image))
        spec = SceneSpec.from_payload(item.key, item.payload["spec"])
        return Composed(key=item.key, seed=item.seed, spec=spec, composer="pseudo-q", picture=picture)


class PseudoQStage(Stage[Detected, Sample]):
    """What Pseudo-Q's rules say of the scene's category, ambiguous or not."""

    @property
    def name(self) -> str:
        return "label"

    def process(self, items: list[Detected]) -> list[Sample | Rejected]:
        return [self._sample(item) for item in items]

    def _sample(self, detected: Detected) -> Sample | Rejected:
        said = pseudo_queries(scene_of(detected, AcceptanceConfig().least_asked_iou), detected.spec.category)
        if not said:
            return Rejected(key=detected.key, reason="nothing_to_say")
        height, width = detected.picture.shape[:2]
        instances = [Instance(box_xyxy=one.box_xyxy, category=one.category, score=one.score) for one in detected.found]
        queries = [
            Query(
                query_id=f"{detected.key}-{number:02d}",
                text=text,
                box_xyxy=detected.found[target].box_xyxy,
                split="train",
                source="pseudo-q",
                instance=target,
            )
            for number, (text, target) in enumerate(said)
        ]
        return Sample(
            key=detected.key,
            width=width,
            height=height,
            image_name=detected.key,
            image=encoded(detected.picture),
            instances=tuple(instances),
            queries=tuple(queries),
        )
