"""Other queries about the same scenes: those of Pseudo-Q, and a balanced choice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import chain, zip_longest
from random import Random
from typing import Literal

import numpy as np

from augmentation.composers.composed import ComposedScene
from augmentation.composers.pasted import PastedComposer
from augmentation.detection.detected import DetectedScene
from augmentation.detection.scene_filters import SceneFilterConfig
from augmentation.planning.scene_spec import SceneSpec
from augmentation.queries.labeled import LabeledScene
from augmentation.queries.labeling import build_scene, make_sample
from augmentation.queries.realizer import get_noun_program
from augmentation.relations.programs import Program, WithAttribute, from_json
from augmentation.relations.scene import Scene
from pipeline import Item, Location, MapStage, Rejected, ShardItems, list_runs, open_plan, resolve_location
from shards.images import decode_rgb_image
from shards.reader import SampleReader
from shards.schema import Query, Sample
from workflows.study.pseudo_q import generate_pseudo_queries
from workflows.study.sample_stages import select_queries


def read_requests(rounds: Location) -> dict[str, Item]:
    """Return the request of each scene by key, over all rounds."""
    plans = [open_plan(run) for run in list_runs(rounds)]
    return {item.key: item for plan in plans for shard in plan.shards for item in ShardItems(plan).read(shard)}


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


class ComposeAgainStage(MapStage[Item, ComposedScene]):
    """Stage that composes the image of a finished scene again, by its ``spec`` and ``seed`` in the payload.

    So it has the objects as the composer placed them, which the finished scene does not keep.
    """

    def __init__(self, composer: PastedComposer) -> None:
        self._composer = composer

    def setup(self) -> None:
        self._composer.setup()

    def process_item(self, item: Item) -> ComposedScene | Rejected:
        return self._composer.process_item(replace(item, seed=item.payload["seed"], payload=item.payload["spec"]))


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


class AddAttributesStage(MapStage[LabeledScene, Sample]):
    """Stage that keeps some queries of each scene, and names the attributes of targets that a place alone decides.

    So all queries name attributes, as those of Pseudo-Q do.

    Args:
        query_ids: ids of the kept queries.
        attributes: kinds of attributes, in the order of a phrase.
    """

    def __init__(self, query_ids: Collection[str], attributes: Iterable[str]) -> None:
        self._query_ids, self._attributes = set(query_ids), tuple(attributes)

    def process_item(self, item: LabeledScene) -> Sample:
        sample = item.sample
        kept = select_queries(sample, [i for i, one in enumerate(sample.queries) if one.query_id in self._query_ids])
        return replace(kept, queries=tuple(self._name_attributes(query, item.scene) for query in kept.queries))

    def _name_attributes(self, query: Query, scene: Scene) -> Query:
        assert query.program is not None and query.instance is not None  # labeling sets both
        target = scene.objects[query.instance]
        words = " ".join(filter(None, (target.attributes.get(name) for name in self._attributes)))
        if not words or find_decision_type(from_json(query.program)) != "place":
            return query
        text = re.sub(rf"\b{target.category}\b", f"{words} {target.category}", query.text, count=1)
        return replace(query, text=text)


def find_decision_type(program: Program) -> Literal["appearance", "place", "both"]:
    """Return what decides a query: appearance alone, a place (a position, size or relation) alone, or both."""
    noun = get_noun_program(program)
    if program == noun:
        return "appearance"
    return "both" if isinstance(noun, WithAttribute) else "place"


class BalanceStage(MapStage[Sample, Sample]):
    """Stage that keeps a number of each sample's queries, as evenly by what decides them as there are any.

    The decision types take turns in an order drawn by the sample's key, and so do the queries of each type.
    """

    def __init__(self, max_queries: Mapping[str, int]) -> None:
        self._max_queries = dict(max_queries)

    def process_item(self, item: Sample) -> Sample:
        random, by_type = Random(f"balanced/{item.key}"), defaultdict[str, list[int]](list)
        for i in random.sample(range(len(item.queries)), len(item.queries)):
            program = item.queries[i].program
            assert program is not None  # labeling sets it
            by_type[find_decision_type(from_json(program))].append(i)
        types = random.sample(sorted(by_type), len(by_type))
        turns = chain.from_iterable(zip_longest(*(by_type[name] for name in types)))
        chosen = [i for i in turns if i is not None][: self._max_queries[item.key]]
        return select_queries(item, sorted(chosen))
