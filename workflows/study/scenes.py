"""Control of the programs: the same scenes, detected by the same models, with Pseudo-Q's queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from augmentation.composers.composed import ComposedScene
from augmentation.detection.detected import DetectedScene
from augmentation.detection.scene_filters import SceneFilterConfig
from augmentation.planning.scene_spec import SceneSpec
from augmentation.queries.labeling import build_scene, make_sample
from pipeline import Item, Location, MapStage, Rejected, ShardItems, list_runs, open_plan, resolve_location
from shards.images import decode_rgb_image
from shards.reader import SampleReader
from shards.schema import Query, Sample
from workflows.study.pseudo_q import generate_pseudo_queries


def read_requests(rounds: Location) -> dict[str, Mapping[str, Any]]:
    """Return the request of each scene by key, over all rounds."""
    plans = [open_plan(run) for run in list_runs(rounds)]
    return {item.key: item.payload for plan in plans for shard in plan.shards for item in ShardItems(plan).read(shard)}


class ReadSceneStage(MapStage[Item, ComposedScene]):
    """Stage that reads the image of a finished scene as a composed one; payload: its number and its ``spec``."""

    def __init__(self, scenes: str) -> None:
        self._scenes = scenes

    def setup(self) -> None:
        self._reader = SampleReader(resolve_location(self._scenes))

    def process_item(self, item: Item) -> ComposedScene:
        image = np.asarray(decode_rgb_image(self._reader.read(item.payload["number"]).image))
        spec = SceneSpec.from_payload(item.key, item.payload["spec"])
        return ComposedScene(key=item.key, seed=item.seed, spec=spec, composer="pseudo-q", image=image)


class PseudoQStage(MapStage[DetectedScene, Sample]):
    """Stage that labels scenes by the rules of Pseudo-Q, ambiguous queries included."""

    name = "label"

    def process_item(self, item: DetectedScene) -> Sample | Rejected:
        scene = build_scene(item, SceneFilterConfig().min_requested_iou)
        generated = generate_pseudo_queries(scene, item.category)
        if not generated:
            return Rejected(key=item.key, reason="no_query")
        queries = [
            Query(
                query_id=f"{item.key}-{number:02d}",
                text=text,
                boxes_xyxy=(item.detections[target].box_xyxy,),
                split="train",
                source="pseudo-q",
                instances=(target,),
            )
            for number, (text, target) in enumerate(generated)
        ]
        return make_sample(item, queries)
