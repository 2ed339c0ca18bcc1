"""From what was found to a sample: the scene is checked, its queries are proved, the picture is stored losslessly."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image

from augmentation.acceptance import AcceptanceConfig, refusal
from augmentation.composed import Picture
from augmentation.detect import Detected
from augmentation.matching import matches
from augmentation.programs import to_json
from augmentation.queries import BOX_NOISE, ProvedQuery, proved_queries
from augmentation.scene import Scene, Thing
from pipeline.stage import Rejected, Resources, Stage
from shards.schema import Instance, Query, Sample


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Which scenes are used, and how much is said about each."""

    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    queries_per_thing: int = 2
    """At most; each proved by another program."""

    box_noise: float = BOX_NOISE
    """Share of its size by which each edge of a box may be off without making a query false."""

    split: str = "train"

    def __post_init__(self) -> None:
        if self.queries_per_thing < 1:
            raise ValueError(f"queries_per_thing must be at least 1, got {self.queries_per_thing}")
        if not 0 <= self.box_noise < 0.5:
            raise ValueError(f"box_noise must lie in [0, 0.5), got {self.box_noise}; half a box may not vanish")


class LabelStage(Stage[Detected, Sample]):
    """Turns scenes into samples; rejects those that are unclear or of which nothing can be proved."""

    resources = Resources(num_cpus=1)

    def __init__(self, config: LabelConfig | None = None) -> None:
        self._config = config or LabelConfig()

    def process(self, items: list[Detected]) -> list[Sample | Rejected]:
        return [label(item, self._config) for item in items]


def label(detected: Detected, config: LabelConfig) -> Sample | Rejected:
    """The scene as a sample, or why it is none."""
    if refused := refusal(detected, config.acceptance):
        return refused
    category = detected.spec.category
    proved = proved_queries(
        scene_of(detected), category, config.queries_per_thing, detected.seed, noise=config.box_noise
    )
    if not proved:
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
        queries=tuple(_query(detected, i, query, config.split) for i, query in enumerate(proved)),
    )


def scene_of(detected: Detected) -> Scene:
    """Everything that was found, in its order, as programs see it."""
    height, width = detected.picture.shape[:2]
    things = (Thing(box_xyxy=one.box_xyxy, category=one.category, attributes=one.attributes) for one in detected.found)
    return Scene(width=width, height=height, things=tuple(things))


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
