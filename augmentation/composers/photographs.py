"""Photographs as scenes: existing images with annotated instances, or with detections, get verified queries.

photographs = find_photographs(PhotographsConfig(images=Path("train2014"), instances=Path("instances.json")), held_out)
describe_photograph(instances, (640, 480), PhotographsConfig())    # what queries may talk of, and why not of the rest

People talk of salient objects. Smaller ones are neither targets nor distractors to them: "left man" is the left one of
the men that one sees. So programs are evaluated on salient objects alone, and a scene's instances are these objects.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from augmentation.composers.held_out import HeldOut
from augmentation.errors import AugmentationError
from augmentation.relations.scene import Scene, SceneObject
from augmentation.relations.types import RelationType
from pipeline import Item, LimitedConfig, Location, MapStage, PlanRow, PositiveInt, Rejected, Resources, ShareBelowOne
from shards.boxes import compute_area_px, compute_overlap_share
from shards.images import IMAGE_SUFFIXES, ImageError, read_image, resolve_image_path
from shards.reader import SampleReader
from shards.schema import Instance, Sample
from shards.sources.coco import CocoInstances
from shards.sources.odvg import read_odvg
from shards.sources.sample import SourceSample, make_image_key
from shards.sources.validation import clip_box

COMPOSER = "photographs"
"""Name of the composer, and source of its queries."""


@dataclass(frozen=True, kw_only=True)
class PhotographsConfig(LimitedConfig):
    """Photographs, and limits of what their queries talk of. The limits follow people's queries (docs/transfer.md)."""

    images: Path | None = None
    """Folder of photographs. By default the training images of the dataset itself, which are not stored again."""

    instances: Path | None = None
    """Instances of the photographs: a file in COCO's layout, or ODVG's JSON lines of detection. Without one, a detector
    finds the objects of the images in the folder."""

    min_area: ShareBelowOne = 0.04
    """Minimum area of a salient object, as a share of the image's area, in [0, 1)."""

    max_objects: PositiveInt = 8
    """Maximum number of salient objects of a target's category."""

    max_overlap: ShareBelowOne = 0.9
    """Maximum share of the smaller of two salient boxes of a target's category that lies in the other, in [0, 1)."""

    perspective: bool = True
    """Flag that the objects of a category stand on one ground: queries say "front" and "behind", not "above"."""

    excluded_types: tuple[RelationType, ...] = ("attribute", "size")
    """Relation types that no query has. ``attribute`` is the name of a category that is alone, which teaches nothing
    about relations. People agree least with size words: they often overlook the smallest annotated object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.instances and not self.images:
            raise ValueError(
                f"instances {self.instances} need the folder of their images; add --photographs.images FOLDER"
            )

    @property
    def needs_detector(self) -> bool:
        """Whether a detector finds the objects, since there are no annotations."""
        return self.images is not None and self.instances is None


@dataclass(frozen=True, kw_only=True)
class PhotographDescription:
    """What the queries about a photograph may talk of."""

    scene: Scene
    """Salient objects."""

    instances: tuple[Instance, ...]
    """Salient instances, in the order of the scene's objects."""

    categories: tuple[str, ...]
    """Categories of possible targets, sorted."""

    unusable: Mapping[str, str]
    """Reason by category, for the others."""

    def find_main_reason(self) -> str:
        """Return the reason of the category with most salient objects, why no query is possible."""
        counts = Counter(one.category for one in self.instances)
        main = max(self.unusable, key=lambda name: (counts[name], name), default=None)
        return "no_instance" if main is None else self.unusable[main]


def describe_photograph(
    instances: Sequence[Instance],
    size: tuple[int, int],
    config: PhotographsConfig,
    known: Collection[str] | None = None,
) -> PhotographDescription:
    """Find the salient objects of a photograph, and the categories whose objects may be targets.

    Args:
        instances: all instances of the photograph.
        size: (width, height) in pixels.
        config: limits.
        known: categories of the vocabulary; None for all.
    """
    width, height = size
    salient = tuple(
        one
        for one in instances
        if one.category and not one.is_crowd and compute_area_px(one.box_xyxy) >= config.min_area * width * height
    )
    by_category = defaultdict[str, list[Instance]](list)
    for one in salient:
        by_category[one.category].append(one)
    crowds = {one.category for one in instances if one.is_crowd}
    reasons = {
        name: "unknown_category"
        if known is not None and name not in known
        else "crowd"
        if name in crowds
        else _find_reason(by_category[name], config)
        for name in sorted({one.category for one in instances})
    }
    return PhotographDescription(
        scene=Scene(
            width=width,
            height=height,
            objects=tuple(SceneObject(box_xyxy=one.box_xyxy, category=one.category) for one in salient),
            perspective=config.perspective,
        ),
        instances=salient,
        categories=tuple(name for name, reason in reasons.items() if not reason),
        unusable={name: reason for name, reason in reasons.items() if reason},
    )


def _find_reason(objects: Sequence[Instance], config: PhotographsConfig) -> str:
    """Return why the salient objects of a category cannot be targets; empty if they can."""
    if not objects:
        return "too_small"
    if len(objects) > config.max_objects:
        return "too_many_instances"
    overlaps = (compute_overlap_share(a.box_xyxy, b.box_xyxy) for a, b in combinations(objects, 2))
    return "overlapping_boxes" if max(overlaps, default=0.0) > config.max_overlap else ""


@dataclass(frozen=True, kw_only=True)
class PhotographPool:
    """Photographs that may become scenes."""

    rows: tuple[PlanRow, ...]
    """Plan row of each photograph, for ``LoadPhotographStage``, in the order of their names."""

    excluded: Mapping[str, int]
    """Number of excluded photographs by reason: ``held_out_name``, ``held_out_content``, ``missing_image``, ..."""


def find_photographs(config: PhotographsConfig, samples: Location, held_out: HeldOut) -> PhotographPool:
    """Find the photographs that may become scenes.

    Args:
        config: folder and instances file.
        samples: run of the dataset's own samples, used without a folder.
        held_out: images that may not be used.

    Raises:
        AugmentationError: there is no photograph to use, or an image has two entries.
        SourceError: the instances file is missing or damaged.
    """
    excluded, rows = Counter[str](), list[PlanRow]()
    candidates = _list_samples(samples) if config.images is None else _list_files(config, held_out)
    for row, reason in candidates:
        if reason:
            excluded[reason] += 1
        else:
            rows.append(row)
    if not rows:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(excluded.items())) or "no image at all"
        raise AugmentationError(
            f"{config.images or samples} holds no photograph that may be used ({why}); give images of no validation or "
            "test split, and their instances file if any"
        )
    return PhotographPool(rows=tuple(sorted(rows, key=lambda row: row.key)), excluded=excluded)


def _list_samples(samples: Location) -> Iterator[tuple[PlanRow, str]]:
    """Yield a row for each sample of the dataset, with the reason why it may not be used."""
    reader = SampleReader(samples)
    for number, entry in enumerate(reader.index):
        has_all = entry.split == "train" and reader.record(number)["has_all_instances"]
        reason = "" if has_all else "held_out_split" if entry.split != "train" else "incomplete_instances"
        yield PlanRow(key=entry.key, payload={"number": number}), reason


def _list_files(config: PhotographsConfig, held_out: HeldOut) -> Iterator[tuple[PlanRow, str]]:
    """Yield a row for each annotated image of the folder, with the reason why it may not be used."""
    assert config.images is not None
    if not config.images.is_dir():
        raise AugmentationError(f"{config.images} is no folder; give the folder of the photographs")
    seen = set[str]()
    for source in _read_sources(config.images, config.instances):
        if source.key in seen:
            raise AugmentationError(
                f"{config.instances or config.images}: {source.image_name} has the same name as an image before it; "
                "give each image one entry and a name of its own, also where two datasets share a folder"
            )
        seen.add(source.key)
        yield PlanRow(key=source.key, payload=source.to_payload()), _find_file_reason(config.images, source, held_out)


def _find_file_reason(images: Path, source: SourceSample, held_out: HeldOut) -> str:
    if reason := held_out.reason(source.image_name):
        return reason
    try:
        path = resolve_image_path(images, source.image_name)
        return held_out.find_file_reason(Path(str(path))) or ("" if source.has_all_instances else "bad_instance")
    except ImageError as error:
        return error.rule


def _read_sources(images: Path, instances: Path | None) -> Iterator[SourceSample]:
    """Yield the photographs, without queries; without a file, all images of the folder, without instances."""
    if instances is None:
        for path in sorted(images.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield _make_source(path.relative_to(images).as_posix(), (), None)
    elif instances.suffix == ".jsonl" or instances.is_dir():
        for sample in read_odvg(instances, COMPOSER, "train"):
            yield _make_source(sample.image_name, sample.instances, sample.size)
    else:
        for image in CocoInstances(instances):
            yield _make_source(image.name, image.instances, image.size, has_all_instances=not image.faults)


def _make_source(
    name: str, instances: tuple[Instance, ...], size: tuple[int, int] | None, *, has_all_instances: bool = True
) -> SourceSample:
    return SourceSample(
        key=make_image_key(COMPOSER, name, "train"),
        split="train",
        image_name=name,
        instances=instances,
        queries=(),
        has_all_instances=has_all_instances,
        size=size,
    )


class LoadPhotographStage(MapStage[Item, Sample]):
    """Stage that loads a planned photograph as a sample without queries.

    Args:
        images: folder of the photographs; None to read them from ``samples``.
        samples: run of the dataset's own samples.
        held_out: images that may not be used, checked again by the bytes that are read.
    """

    name = "compose"

    resources = Resources(num_cpus=1)

    def __init__(self, images: Path | None, samples: Location, held_out: HeldOut) -> None:
        self._images, self._samples, self._held_out = images, samples, held_out

    def setup(self) -> None:
        self._reader = SampleReader(self._samples) if self._images is None else None

    def process_item(self, item: Item) -> Sample | Rejected:
        if self._reader is not None:
            sample = self._reader.read(item.payload["number"])
            if reason := self._held_out.reason(sample.image_name, sample.image):
                detail = f"{sample.image_name} is also an image of a validation or test split"
                return Rejected(key=item.key, reason=reason, detail=detail)
            return replace(sample, queries=())
        return self._load_file(item)

    def _load_file(self, item: Item) -> Sample | Rejected:
        assert self._images is not None
        source = SourceSample.from_payload(item.payload)
        try:
            content, size = read_image(resolve_image_path(self._images, source.image_name))
            if source.size not in (None, size):
                raise ImageError("other_size", f"annotated {source.size}, the file is {size}")
            if reason := self._held_out.reason(source.image_name, content):
                raise ImageError(reason, f"{source.image_name} is an image of a validation or test split")
            instances = tuple(replace(one, box_xyxy=_clip_box(one, size)) for one in source.instances)
        except ImageError as error:
            return Rejected(key=item.key, reason=error.rule, detail=str(error))
        return Sample(
            key=item.key,
            width=size[0],
            height=size[1],
            image_name=source.image_name,
            image=content,
            instances=instances,
            queries=(),
        )


def _clip_box(instance: Instance, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of an instance inside the image; an instance at an unknown place could be a distractor."""
    box = clip_box(instance.box_xyxy, size)
    if isinstance(box, str):
        raise ImageError("bad_instance", f"{instance.category}: {box}")
    return box
