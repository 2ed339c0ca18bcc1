"""From what was found to a sample: the scene is checked, its queries are proved, the image is stored losslessly."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from augmentation.composers.composed import RgbImage
from augmentation.detection.detector import DetectedScene
from augmentation.detection.matching import match_objects
from augmentation.detection.scene_filters import SceneFilterConfig, find_rejection
from augmentation.queries.generator import BOX_NOISE, VerifiedQuery, generate_queries
from augmentation.queries.parse_check import RoundTripParser
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.templates import Style
from augmentation.relations.programs import to_json
from augmentation.relations.scene import Scene, SceneObject
from pipeline.stage import Rejected, Resources, Stage
from shards.schema import Instance, Query, Sample


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Which scenes are used, and how much is said about each."""

    acceptance: SceneFilterConfig = field(default_factory=SceneFilterConfig)
    style: Style = "refcoco"
    """Of the data set that the phrases are to be like; ``refcoco+`` has no words of location."""

    queries_per_relation_type: int = 1
    """Candidates for each object and family of programs, at most; the selection takes of them what its quotas ask."""

    box_noise: float = BOX_NOISE
    """Share of its size by which each edge of a box may be off without making a query false."""

    split: str = "train"

    def __post_init__(self) -> None:
        if self.queries_per_relation_type < 1:
            raise ValueError(f"queries_per_relation_type must be at least 1, got {self.queries_per_relation_type}")
        if not 0 <= self.box_noise < 0.5:
            raise ValueError(f"box_noise must lie in [0, 0.5), got {self.box_noise}; half a box may not vanish")


class LabelStage(Stage[DetectedScene, Sample]):
    """Turns scenes into samples; rejects those that are unclear or of which nothing can be proved.

    Args:
        plurals: category to its plural, for phrases that name two objects.
    """

    resources = Resources(num_cpus=1)

    def __init__(self, config: LabelConfig | None = None, plurals: Mapping[str, str] | None = None) -> None:
        self._config = config or LabelConfig()
        self._realizer = PhraseRealizer(style=self._config.style, plurals=plurals or {})

    def setup(self) -> None:
        self._round_trip_parser = RoundTripParser()

    def process(self, items: list[DetectedScene]) -> list[Sample | Rejected]:
        return [self._label(item) for item in items]

    def _label(self, detected: DetectedScene) -> Sample | Rejected:
        """The scene as a sample, or why it is none."""
        if rejection := find_rejection(detected, self._config.acceptance):
            return rejection
        verified = self._generate_queries(detected)
        if not verified:
            category = detected.spec.category
            boxes = ", ".join(str(one.box_xyxy) for one in detected.detections if one.category == category)
            return Rejected(key=detected.key, reason="no_provable_query", detail=f"{category} at {boxes}")
        height, width = detected.image.shape[:2]
        return Sample(
            key=detected.key,
            width=width,
            height=height,
            image_name=detected.key,
            image=encode_png(detected.image),
            instances=_make_instances(detected),
            queries=tuple(_make_query(detected, i, query, self._config.split) for i, query in enumerate(verified)),
        )

    def _generate_queries(self, detected: DetectedScene) -> list[VerifiedQuery]:
        return generate_queries(
            build_scene(detected, self._config.acceptance.min_requested_iou),
            detected.spec.category,
            self._realizer,
            self._config.queries_per_relation_type,
            detected.seed,
            noise=self._config.box_noise,
            accepts=self._round_trip_parser.is_consistent,
        )


def build_scene(detected: DetectedScene, min_requested_iou: float) -> Scene:
    """Everything that was found, in its order, as programs see it.

    It is known to be in perspective where that was asked for and every object of the category lies where it was put.
    """
    height, width = detected.image.shape[:2]
    perspective = _is_in_perspective(detected, min_requested_iou)
    objects = (
        SceneObject(box_xyxy=one.box_xyxy, category=one.category, attributes=one.attributes)
        for one in detected.detections
    )
    return Scene(width=width, height=height, objects=tuple(objects), perspective=perspective)


def _is_in_perspective(detected: DetectedScene, min_iou: float) -> bool:
    if detected.spec.arrangement != "depth":
        return False
    in_place = {
        pair.detection_index for pair in match_objects(detected.requested, detected.detections) if pair.iou >= min_iou
    }
    return all(i in in_place for i, one in enumerate(detected.detections) if one.category == detected.spec.category)


def encode_png(image: RgbImage) -> bytes:
    """PNG: lossless, so training sees the very pixels that the detector judged, and JPEG's own blocks, which real
    images have once, are not added to what the text-to-image model's decoder already leaves."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _make_instances(detected: DetectedScene) -> tuple[Instance, ...]:
    """What was found, each with the box that was asked for it, if one was."""
    requested = {
        pair.detection_index: detected.requested[pair.requested_index]
        for pair in match_objects(detected.requested, detected.detections)
    }
    return tuple(
        Instance(
            box_xyxy=one.box_xyxy,
            category=one.category,
            score=one.score,
            requested_box_xyxy=requested[i].box_xyxy if i in requested else None,
        )
        for i, one in enumerate(detected.detections)
    )


def _make_query(detected: DetectedScene, number: int, query: VerifiedQuery, split: str) -> Query:
    return Query(
        query_id=f"{detected.key}-{number:02d}",
        text=query.text,
        box_xyxy=detected.detections[query.target].box_xyxy,
        split=split,
        source=detected.composer,
        instance=query.target,
        program=to_json(query.program),
    )
