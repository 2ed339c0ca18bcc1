"""From what was found to a sample: the scene is checked, its queries are proved, the picture is stored losslessly."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from augmentation.composers.composed import Picture
from augmentation.detection.detector import Detected
from augmentation.detection.matching import matches
from augmentation.detection.scene_filters import AcceptanceConfig, refusal
from augmentation.queries.generator import BOX_NOISE, ProvedQuery, proved_queries
from augmentation.queries.parse_check import Readback
from augmentation.queries.realizer import Wording
from augmentation.queries.templates import Style
from augmentation.relations.programs import to_json
from augmentation.relations.scene import Scene, Thing
from pipeline.stage import Rejected, Resources, Stage
from shards.schema import Instance, Query, Sample


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Which scenes are used, and how much is said about each."""

    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    style: Style = "refcoco"
    """Of the data set that the phrases are to be like; ``refcoco+`` has no words of location."""

    queries_per_family: int = 1
    """Candidates for each thing and family of programs, at most; the selection takes of them what its quotas ask."""

    box_noise: float = BOX_NOISE
    """Share of its size by which each edge of a box may be off without making a query false."""

    split: str = "train"

    def __post_init__(self) -> None:
        if self.queries_per_family < 1:
            raise ValueError(f"queries_per_family must be at least 1, got {self.queries_per_family}")
        if not 0 <= self.box_noise < 0.5:
            raise ValueError(f"box_noise must lie in [0, 0.5), got {self.box_noise}; half a box may not vanish")


class LabelStage(Stage[Detected, Sample]):
    """Turns scenes into samples; rejects those that are unclear or of which nothing can be proved.

    Args:
        plurals: category to its plural, for phrases that name two things.
    """

    resources = Resources(num_cpus=1)

    def __init__(self, config: LabelConfig | None = None, plurals: Mapping[str, str] | None = None) -> None:
        self._config = config or LabelConfig()
        self._wording = Wording(style=self._config.style, plurals=plurals or {})

    def setup(self) -> None:
        self._readback = Readback()

    def process(self, items: list[Detected]) -> list[Sample | Rejected]:
        return [self._label(item) for item in items]

    def _label(self, detected: Detected) -> Sample | Rejected:
        """The scene as a sample, or why it is none."""
        if refused := refusal(detected, self._config.acceptance):
            return refused
        proved = self._proved(detected)
        if not proved:
            category = detected.spec.category
            boxes = ", ".join(str(one.box_xyxy) for one in detected.found if one.category == category)
            return Rejected(key=detected.key, reason="no_provable_query", detail=f"{category} at {boxes}")
        height, width = detected.picture.shape[:2]
        return Sample(
            key=detected.key,
            width=width,
            height=height,
            image_name=detected.key,
            image=encoded(detected.picture),
            instances=_instances(detected),
            queries=tuple(_query(detected, i, query, self._config.split) for i, query in enumerate(proved)),
        )

    def _proved(self, detected: Detected) -> list[ProvedQuery]:
        return proved_queries(
            scene_of(detected, self._config.acceptance.least_asked_iou),
            detected.spec.category,
            self._wording,
            self._config.queries_per_family,
            detected.seed,
            noise=self._config.box_noise,
            is_understood=self._readback.understands,
        )


def scene_of(detected: Detected, least_asked_iou: float) -> Scene:
    """Everything that was found, in its order, as programs see it.

    It is known to be in perspective where that was asked for and every thing of the category lies where it was put.
    """
    height, width = detected.picture.shape[:2]
    perspective = _is_in_perspective(detected, least_asked_iou)
    things = (Thing(box_xyxy=one.box_xyxy, category=one.category, attributes=one.attributes) for one in detected.found)
    return Scene(width=width, height=height, things=tuple(things), perspective=perspective)


def _is_in_perspective(detected: Detected, least_iou: float) -> bool:
    if detected.spec.arrangement != "depth":
        return False
    as_put = {pair.found for pair in matches(detected.asked, detected.found) if pair.iou >= least_iou}
    return all(i in as_put for i, one in enumerate(detected.found) if one.category == detected.spec.category)


def encoded(picture: Picture) -> bytes:
    """PNG: lossless, so training sees the very pixels that the detector judged, and JPEG's own blocks, which real
    photographs have once, are not added to what the text-to-image model's decoder already leaves."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _instances(detected: Detected) -> tuple[Instance, ...]:
    """What was found, each with the box that was asked for it, if one was."""
    asked = {pair.found: detected.asked[pair.asked] for pair in matches(detected.asked, detected.found)}
    return tuple(
        Instance(
            box_xyxy=one.box_xyxy,
            category=one.category,
            score=one.score,
            asked_box_xyxy=asked[i].box_xyxy if i in asked else None,
        )
        for i, one in enumerate(detected.found)
    )


def _query(detected: Detected, number: int, query: ProvedQuery, split: str) -> Query:
    return Query(
        query_id=f"{detected.key}-{number:02d}",
        text=query.text,
        box_xyxy=detected.found[query.target].box_xyxy,
        split=split,
        source=detected.composer,
        instance=query.target,
        program=to_json(query.program),
    )
