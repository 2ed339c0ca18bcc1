"""Labeling of detected scenes: filter the scene, generate verified queries, store the image losslessly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from PIL import Image

from augmentation.detection.detected import DetectedScene
from augmentation.detection.matching import match_objects
from augmentation.detection.scene_filters import SceneFilterConfig, find_rejection
from augmentation.queries.generator import BOX_NOISE, VerifiedQuery, generate_queries
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer, get_style
from augmentation.relations.programs import to_json
from augmentation.relations.scene import Scene
from pipeline import LimitedConfig, MapStage, PositiveInt, Range, Rejected, Resources
from shards.images import encode_png
from shards.schema import Instance, Query, Sample


@dataclass(frozen=True, kw_only=True)
class LabelConfig(LimitedConfig):
    """Limits of usable scenes, and number and style of their queries."""

    scene_filter: SceneFilterConfig = field(default_factory=SceneFilterConfig)
    style: str = "refcoco"
    """Style of the queries. ``refcoco``, ``refcoco+`` (no location words) and ``refcocog``: written templates.
    ``refcoco-measured``, ``refcoco+-measured``, ``refcocog-measured``, or a file of ``inspect --write-style``: relation
    types, lengths, templates and words as frequent as in the measured queries."""

    queries_per_relation_type: PositiveInt = 1
    """Maximum number of candidate queries for each object and relation type; the selection chooses among them."""

    box_noise: Annotated[float, Range(0, 0.5, high_open=True)] = BOX_NOISE
    """Noise of box edges that queries must withstand, as a share of the box's size, in [0, 0.5)."""

    split: str = "train"
    """Split of the scenes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        get_style(self.style)

    def make_realizer(
        self, plurals: Mapping[str, str], nouns: Mapping[str, Sequence[str]] | None = None
    ) -> PhraseRealizer:
        """Make the realizer of the style."""
        return PhraseRealizer(style=get_style(self.style), plurals=plurals, nouns=nouns or {})


class LabelStage(MapStage[DetectedScene, Sample]):
    """Stage that turns scenes into samples; it rejects unclear scenes and those without a verified query.

    Args:
        config: limits and style; default limits if None.
        plurals: plural by category, for phrases that name two objects.
        nouns: further nouns by category, for measured styles.
    """

    resources = Resources(num_cpus=1)

    def __init__(
        self,
        config: LabelConfig | None = None,
        plurals: Mapping[str, str] | None = None,
        nouns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._config = config or LabelConfig()
        self._realizer = self._config.make_realizer(plurals or {}, nouns)

    def setup(self) -> None:
        self._round_trip_parser = RoundTripParser(nouns=self._realizer.nouns)

    def process_item(self, detected: DetectedScene) -> Sample | Rejected:
        if rejection := find_rejection(detected, self._config.scene_filter):
            return rejection
        verified = generate_queries(
            build_scene(detected, self._config.scene_filter.min_requested_iou),
            detected.category,
            self._realizer,
            self._config.queries_per_relation_type,
            detected.composed.seed,
            noise=self._config.box_noise,
            accepts=self._round_trip_parser.is_consistent,
        )
        if not verified:
            boxes = ", ".join(str(obj.box_xyxy) for obj in detected.detections if obj.category == detected.category)
            return detected.reject("no_verified_query", f"{detected.category} at {boxes}")
        return make_sample(detected, [self._make_query(detected, i, query) for i, query in enumerate(verified)])

    def _make_query(self, detected: DetectedScene, number: int, query: VerifiedQuery) -> Query:
        return Query(
            query_id=f"{detected.key}-{number:02d}",
            text=query.text,
            boxes_xyxy=(detected.detections[query.target].box_xyxy,),
            split=self._config.split,
            source=detected.composed.composer,
            instances=(query.target,),
            program=to_json(query.program),
        )


def build_scene(detected: DetectedScene, min_requested_iou: float) -> Scene:
    """Build the scene that programs are evaluated on: all detections, in order.

    The scene is in perspective if its arrangement is ``depth`` and every detection of the category matches a requested
    object with at least ``min_requested_iou``.
    """
    width, height = detected.size
    matches = match_objects(detected.composed.requested, detected.detections)
    in_place = {match.detection_index for match in matches if match.iou >= min_requested_iou}
    is_in_perspective = detected.composed.spec.arrangement == "depth" and all(
        i in in_place for i, obj in enumerate(detected.detections) if obj.category == detected.category
    )
    return Scene(width=width, height=height, objects=detected.detections, perspective=is_in_perspective)


def make_sample(detected: DetectedScene, queries: Sequence[Query]) -> Sample:
    """Make the sample of a scene; each instance is a detection with the box of its matched requested object."""
    requested = {
        match.detection_index: detected.composed.requested[match.requested_index].box_xyxy
        for match in match_objects(detected.composed.requested, detected.detections)
    }
    width, height = detected.size
    return Sample(
        key=detected.key,
        width=width,
        height=height,
        image_name=detected.key,
        # Lossless, so that training sees the pixels that the detector saw. JPEG would add artifacts, which real images
        # have once, to those of the text-to-image model's decoder.
        image=encode_png(Image.fromarray(detected.composed.image)),
        instances=tuple(
            Instance(box_xyxy=obj.box_xyxy, category=obj.category, score=obj.score, requested_box_xyxy=requested.get(i))
            for i, obj in enumerate(detected.detections)
        ),
        queries=tuple(queries),
    )
