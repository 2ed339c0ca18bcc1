"""Labeling of detected scenes: filter the scene, generate verified queries, store the image losslessly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from PIL import Image

from augmentation.detection.detected import DetectedScene
from augmentation.detection.matching import match_objects
from augmentation.detection.scene_filters import SceneFilterConfig, find_rejection
from augmentation.queries.absence import generate_absent_queries
from augmentation.queries.generator import BOX_NOISE, generate_queries
from augmentation.queries.labeled import LabeledScene
from augmentation.queries.measured_style import MeasuredStyle
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer, get_relation_types, get_style
from augmentation.queries.sets import VerifiedSet, generate_set_queries
from augmentation.relations.programs import Program, to_json
from augmentation.relations.scene import Contact, Scene
from augmentation.relations.types import TARGET_TYPES, RelationType, TargetType
from pipeline import LimitedConfig, MapStage, PositiveInt, Range, Rejected, Resources
from shards.images import encode_png
from shards.schema import Instance, Query, Sample

TargetCount = Literal["none", "one", "several"]
"""Number of targets of a query."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig(LimitedConfig):
    """Limits of usable scenes, and number and style of their queries."""

    scene_filter: SceneFilterConfig = field(default_factory=SceneFilterConfig)
    style: str = "refcoco"
    """Style of the queries. ``refcoco``, ``refcoco+`` (no location words) and ``refcocog``: written templates.
    ``refcoco-measured``, ``refcoco+-measured``, ``refcocog-measured``, or a file of ``inspect --write-style``: relation
    types, lengths, templates and words as frequent as in the measured queries."""

    misspellings: bool = False
    """Flag to misspell as many words as the measured queries do. The parser reads the word that was meant."""

    targets: tuple[TargetCount, ...] = ("one",)
    """Numbers of targets that the queries have. ``none``: nothing in the scene answers to the query, which is one word
    away from one with a target ("fourth cup from the left" of three). ``one``. ``several``: "both striped cups"."""

    queries_per_relation_type: PositiveInt = 1
    """Maximum number of candidate queries for each object and relation type; the selection chooses among them. Of
    queries with none or several targets, the maximum for each kind in a scene."""

    box_noise: Annotated[float, Range(0, 0.5, high_open=True)] = BOX_NOISE
    """Noise of box edges that queries must withstand, as a share of the box's size, in [0, 0.5)."""

    split: str = "train"
    """Split of the scenes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        style = get_style(self.style)
        if self.misspellings and not isinstance(style, MeasuredStyle):
            raise ValueError(
                f"misspellings needs a measured style, which has their share, got {self.style}; give style "
                f"{self.style}-measured, or leave misspellings out"
            )
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(
                f"targets must name at least one number, each once, got {' '.join(self.targets) or 'none'}"
            )

    @property
    def quota_types(self) -> tuple[RelationType | TargetType, ...]:
        """Types of the queries, for quotas."""
        types = {
            "none": TARGET_TYPES[:1],
            "one": get_relation_types(get_style(self.style)),
            "several": TARGET_TYPES[1:],
        }
        return tuple(type for name in self.targets for type in types[name])

    @property
    def type_weights(self) -> dict[RelationType | TargetType, float]:
        """Weights of the relation types, for quotas: their shares in a measured style, 1 on average; else none."""
        style = get_style(self.style)
        shares = style.type_shares if isinstance(style, MeasuredStyle) else {}
        return {name: share * len(shares) / sum(shares.values()) for name, share in shares.items()}

    def make_realizer(
        self, plurals: Mapping[str, str], nouns: Mapping[str, Sequence[str]] | None = None
    ) -> PhraseRealizer:
        """Make the realizer of the style."""
        return PhraseRealizer(
            style=get_style(self.style), plurals=plurals, nouns=nouns or {}, misspellings=self.misspellings
        )


class LabelStage(MapStage[DetectedScene, Sample | LabeledScene]):
    """Stage that turns scenes into samples; it rejects unclear scenes and those without a verified query.

    Args:
        config: limits and style; default limits if None.
        plurals: plural by category, for phrases that name two objects.
        nouns: further nouns by category, for measured styles.
        attributes: words by kind of attribute, for queries without a target.
        detectable: categories that a detector looked for in all scenes, for queries about one that is not there.
        keeps_scene: whether the sample comes with its scene, for ``ParaphraseStage``.
    """

    resources = Resources(num_cpus=1)

    def __init__(
        self,
        config: LabelConfig | None = None,
        plurals: Mapping[str, str] | None = None,
        nouns: Mapping[str, Sequence[str]] | None = None,
        attributes: Mapping[str, Sequence[str]] | None = None,
        detectable: Iterable[str] = (),
        *,
        keeps_scene: bool = False,
    ) -> None:
        self._config, self._attributes = config or LabelConfig(), attributes or {}
        self._detectable, self._keeps_scene = tuple(detectable), keeps_scene
        self._realizer = self._config.make_realizer(plurals or {}, nouns)

    def setup(self) -> None:
        self._round_trip_parser = RoundTripParser(nouns=self._realizer.nouns)

    def process_item(self, detected: DetectedScene) -> Sample | LabeledScene | Rejected:
        if rejection := find_rejection(detected, self._config.scene_filter):
            return rejection
        scene = build_scene(detected, self._config.scene_filter.min_requested_iou, tuple(self._attributes))
        verified = list(self._generate(scene, detected.category, detected.composed.seed))
        if not verified:
            boxes = ", ".join(str(obj.box_xyxy) for obj in detected.detections if obj.category == detected.category)
            return detected.reject("no_verified_query", f"{detected.category} at {boxes}")
        sample = make_sample(detected, [self._make_query(detected, i, query) for i, query in enumerate(verified)])
        return LabeledScene(sample=sample, scene=scene) if self._keeps_scene else sample

    def _generate(self, scene: Scene, category: str, seed: int) -> Iterator[VerifiedSet]:
        """Generate the queries of each number of targets."""
        config, realizer, parser = self._config, self._realizer, self._round_trip_parser
        count, noise = config.queries_per_relation_type, config.box_noise
        if "one" in config.targets:
            queries = generate_queries(
                scene, category, realizer, count, seed, noise=noise, accepts=parser.is_consistent
            )
            yield from (VerifiedSet(text=one.text, targets=(one.target,), program=one.program) for one in queries)
        if "several" in config.targets:

            def accepts(text: str, program: Program) -> bool:
                return parser.is_consistent(text, program) and parser.names_several(text, program)

            yield from generate_set_queries(scene, category, realizer, count, seed, noise=noise, accepts=accepts)
        if "none" in config.targets:
            yield from generate_absent_queries(
                scene,
                category,
                realizer,
                self._attributes,
                count,
                seed,
                detectable=self._detectable,
                noise=noise,
                accepts=parser.is_consistent,
            )

    def _make_query(self, detected: DetectedScene, number: int, query: VerifiedSet) -> Query:
        return Query(
            query_id=f"{detected.key}-{number:02d}",
            text=query.text,
            boxes_xyxy=tuple(detected.detections[i].box_xyxy for i in query.targets),
            split=self._config.split,
            source=detected.composed.composer,
            instances=query.targets,
            program=to_json(query.program),
        )


def build_scene(detected: DetectedScene, min_requested_iou: float, attributes: tuple[str, ...] = ()) -> Scene:
    """Build the scene that programs are evaluated on: all detections, in order, and the attributes they may have.

    The scene is in perspective if its arrangement is ``depth`` and every detection of the category matches a requested
    object with at least ``min_requested_iou``. Contacts are those that the composer knows.
    """
    width, height = detected.size
    matches = match_objects(detected.composed.requested, detected.detections)
    in_place = {match.detection_index for match in matches if match.iou >= min_requested_iou}
    index = {match.requested_index: match.detection_index for match in matches if match.detection_index in in_place}
    contacts = detected.composed.contacts
    is_in_perspective = detected.composed.spec.arrangement == "depth" and all(
        i in in_place for i, obj in enumerate(detected.detections) if obj.category == detected.category
    )
    return Scene(
        width=width,
        height=height,
        objects=detected.detections,
        perspective=is_in_perspective,
        attributes=attributes,
        contacts=tuple(
            Contact(kind=one.kind, object_index=index[one.object_index], anchor_index=index[one.anchor_index])
            for one in contacts or ()
            if {one.object_index, one.anchor_index} <= set(index)
        ),
        placed=frozenset() if contacts is None else frozenset(index.values()),
    )


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
