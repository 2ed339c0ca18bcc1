"""Composer that pastes cut-outs onto images; boxes are exact, around the visible pixels.

composer = PastedComposer(PastedConfig(cutouts=Path("cutouts"), backgrounds=Path("train2014")))
composer.setup()
composer.process(items)[0].requested[0].box_xyxy    # around the visible part
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from augmentation.composers.backgrounds import Backgrounds, crop_to_cover, is_gray
from augmentation.composers.blending import (
    BlendConfig,
    PlacedCutout,
    VisiblePart,
    blend_objects,
    find_top_span,
    find_visible_parts,
    fit_cutout,
    is_standing_on,
)
from augmentation.composers.composed import ComposedScene
from augmentation.composers.cutouts import Cutout, CutoutFolder, read_cutout
from augmentation.composers.held_out import HeldOut
from augmentation.composers.layouts import LayoutConfig, PlannedContact, sample_layout, sort_far_to_near
from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import SceneSpec
from augmentation.planning.vocabulary import VocabularyConfig
from augmentation.relations.scene import Contact, SceneObject
from pipeline import Item, LimitedConfig, MapStage, PositiveFloat, PositiveInt, PositiveShare, Rejected, Resources
from shards.images import ImageError

_MAX_SHARE_INSIDE = 0.95
"""Maximum visible share of an object that is in another one."""

_MAX_DEPTH_INSIDE = 0.05
"""Maximum depth of its visible part below the container's upper edge, as a share of the container's height."""

_GROUND = frozenset({"row", "depth"})
"""Arrangements whose objects stand on a ground and cast shadows."""


@dataclass(frozen=True, kw_only=True)
class PastedConfig(LimitedConfig):
    """Folders of cut-outs and backgrounds, and settings of pasting."""

    cutouts: Path
    """Folder of ``<category>/<name>.png``, as ``workflows.cut_out`` writes it."""

    backgrounds: Path
    """Folder of images."""

    instances: Path | None = None
    """COCO's instances file of the backgrounds; a background must be free of the scene's categories."""

    sizes_px: tuple[tuple[int, int], ...] = ((480, 360),)
    """Sizes (width, height) of the images; each scene samples one."""

    max_object_share: PositiveShare = 0.5
    """Maximum share of a background that one annotated object covers, in (0, 1]; 1 allows close-ups."""

    layout: LayoutConfig = field(default_factory=LayoutConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    max_enlargement: PositiveFloat = 1.5
    """Maximum enlargement of a cut-out, unless ``layout.min_size`` needs more; larger ones look blurred."""

    min_visible_share: PositiveShare = 0.7
    """Minimum visible share of each object, in (0, 1]."""

    max_tries: PositiveInt = 12
    """Maximum number of layouts and of backgrounds tried for a scene."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sizes_px or any(min(size) < 32 for size in self.sizes_px):
            raise ValueError(f"sizes_px must name sizes of at least 32 x 32, got {self.sizes_px}")


@dataclass(frozen=True, kw_only=True)
class PastedInputs:
    """Inputs of pasted scenes."""

    cutouts: Mapping[str, int]
    """Number of cut-outs by category."""

    backgrounds: int
    unannotated: tuple[str, ...]
    """Categories without any annotation in the backgrounds, or all without an instances file. Backgrounds may hold them
    under another name."""

    excluded: Mapping[str, int]
    """Number of excluded files by reason: ``held_out_name``, ``held_out_content``, ``held_out_cutout``, ..."""


def check_pasted(config: PastedConfig, vocabulary: VocabularyConfig, held_out: HeldOut) -> PastedInputs:
    """Check before a run that every category has cut-outs and free backgrounds.

    Held-out images are excluded and counted here; the composer excludes the same.

    Raises:
        AugmentationError: a category has no cut-outs, no background may be used, or none is free of a category.
    """
    cutouts = CutoutFolder(config.cutouts, held_out)
    cutouts.require(vocabulary.categories)
    backgrounds = _open_backgrounds(config, held_out)
    backgrounds.exclude_held_out()
    for category in sorted(vocabulary.categories):
        if not any(backgrounds.is_free(path, frozenset({category})) for path in backgrounds.paths):
            raise AugmentationError(
                f"every background in {config.backgrounds} holds a {category} according to {config.instances}; "
                "add backgrounds without, or leave the category out of the vocabulary"
            )
    held_out_cutouts = {"held_out_cutout": len(cutouts.held_out)} if cutouts.held_out else {}
    return PastedInputs(
        cutouts={category: len(cutouts.get_cutouts(category)) for category in sorted(vocabulary.categories)},
        backgrounds=len(backgrounds.paths),
        unannotated=tuple(sorted(set(vocabulary.categories) - backgrounds.annotated_categories)),
        excluded={**backgrounds.excluded, **held_out_cutouts},
    )


def _open_backgrounds(config: PastedConfig, held_out: HeldOut) -> Backgrounds:
    return Backgrounds(config.backgrounds, config.instances, held_out, config.max_object_share)


def compute_pasted_fingerprint(config: PastedConfig, held_out: HeldOut) -> dict[str, Any]:
    """Compute the fingerprint of what decides the images: settings, and names and sizes of the files."""
    settings = asdict(config)
    for name in ("cutouts", "backgrounds", "instances"):
        path = settings.pop(name)
        settings[name] = None if path is None else _hash_listing(path)
    return {**settings, "held_out": held_out.fingerprint}


def _hash_listing(path: Path) -> str:
    if not path.exists():
        raise AugmentationError(f"{path} does not exist; give the folder or file that scenes are made of")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n".encode())
    return digest.hexdigest()


class PastedComposer(MapStage[Item, ComposedScene]):
    """Stage that pastes the cut-outs of each scene onto a background; all randomness is the item's seed.

    Args:
        config: folders and settings.
        held_out: images that may be neither backgrounds nor sources of cut-outs.
    """

    name = "compose"

    resources = Resources(num_cpus=1)

    def __init__(self, config: PastedConfig, held_out: HeldOut | None = None) -> None:
        self._config = config
        self._held_out = held_out or HeldOut()

    def setup(self) -> None:
        self._cutouts = CutoutFolder(self._config.cutouts, self._held_out)
        self._backgrounds = _open_backgrounds(self._config, self._held_out)

    def process_item(self, item: Item) -> ComposedScene | Rejected:
        spec, random = SceneSpec.from_payload(item.key, item.payload), Random(item.seed)
        size = random.choice(self._config.sizes_px)
        cutouts = choose_cutouts(self._cutouts, spec, random)
        try:
            by_path = {path: read_cutout(path) for path in dict.fromkeys(cutout.path for cutout in cutouts)}
        except ImageError as problem:
            return Rejected(key=item.key, reason="unreadable_cutout", detail=str(problem))
        images = [by_path[cutout.path] for cutout in cutouts]
        background = self._sample_background(item.key, {spec.category, *spec.clutter}, size, random)
        if isinstance(background, Rejected):
            return background
        arranged = self._arrange_objects(spec, images, size, random)
        if arranged is None:
            detail = f"{spec.count} {spec.category} and {len(spec.clutter)} more as {spec.arrangement} on {size}"
            return Rejected(key=item.key, reason="does_not_fit", detail=detail)
        order, objects, visible, contacts = arranged
        image = blend_objects(background, objects, on_ground=spec.arrangement in _GROUND, config=self._config.blend)
        requested = tuple(
            SceneObject(box_xyxy=part.box_xyxy, category=cutouts[i].category, attributes=dict(cutouts[i].attributes))
            for i, part in zip(order, visible, strict=True)
            if part.box_xyxy is not None  # always so: its visible share is above the minimum
        )
        return ComposedScene(
            key=item.key,
            seed=item.seed,
            spec=spec,
            composer="pasted",
            image=image,
            requested=requested,
            contacts=contacts,
        )

    def _sample_background(
        self, key: str, categories: Iterable[str], size: tuple[int, int], random: Random
    ) -> Image.Image | Rejected:
        """Sample a usable background; gray ones, and held-out ones under other names, are skipped."""
        unwanted = sorted(categories)
        for _ in range(self._config.max_tries):
            path = self._backgrounds.sample(unwanted, random)
            if path is None:
                return Rejected(key=key, reason="no_background", detail=f"all hold one of {', '.join(unwanted)}")
            try:
                background = crop_to_cover(self._held_out.read_image(path), size, random)
            except ImageError as problem:
                if problem.rule != "held_out_content":
                    return Rejected(key=key, reason="unreadable_background", detail=str(problem))
                continue
            if not is_gray(background):
                return background
        detail = f"{self._config.max_tries} were gray or held out, the last was {path}"
        return Rejected(key=key, reason="no_background", detail=detail)

    def _arrange_objects(
        self, spec: SceneSpec, images: Sequence[Image.Image], size: tuple[int, int], random: Random
    ) -> tuple[list[int], list[PlacedCutout], list[VisiblePart], tuple[Contact, ...]] | None:
        """Arrange the objects; return the pasting order, and in it the cut-outs, visible parts and contacts."""
        ratios = [image.width / image.height for image in images]
        layout, contacts = _limit_layout(self._config, spec, images, size), _list_contacts(spec)
        planned = [PlannedContact(kind=one.kind, top_span=find_top_span(images[one.anchor_index])) for one in contacts]
        for _ in range(self._config.max_tries):
            boxes = sample_layout(spec.arrangement, ratios, spec.count, *size, random, layout, planned)
            if boxes is None:
                continue
            order = sort_far_to_near(boxes, contacts)
            objects = [fit_cutout(images[i], boxes[i], size, self._config.blend) for i in order]
            visible = find_visible_parts(objects, size)
            renumbered = _renumber(contacts, order)
            is_visible = all(part.share >= self._config.min_visible_share for part in visible)
            if is_visible and all(_is_in_place(one, objects, visible) for one in renumbered):
                return order, objects, visible, renumbered
        return None


def _list_contacts(spec: SceneSpec) -> list[Contact]:
    """List the contacts of the spec's objects, the category's before the clutter."""
    return [Contact(kind=kind, object_index=i, anchor_index=spec.count + i) for i, kind in enumerate(spec.contacts)]


def _renumber(contacts: Iterable[Contact], order: Sequence[int]) -> tuple[Contact, ...]:
    """Return the contacts with the positions of their objects in the pasting order."""
    return tuple(
        Contact(kind=one.kind, object_index=order.index(one.object_index), anchor_index=order.index(one.anchor_index))
        for one in contacts
    )


def _is_in_place(contact: Contact, objects: Sequence[PlacedCutout], visible: Sequence[VisiblePart]) -> bool:
    """Return whether an object stands on the pixels of its support, or its container hides the lower part of it."""
    anchor, part = objects[contact.anchor_index], visible[contact.object_index]
    if contact.kind == "on":
        return is_standing_on(objects[contact.object_index], anchor)
    lowest = anchor.top + max(1, _MAX_DEPTH_INSIDE * len(anchor.alpha))
    return part.share <= _MAX_SHARE_INSIDE and part.box_xyxy is not None and part.box_xyxy[3] <= lowest


def choose_cutouts(folder: CutoutFolder, spec: SceneSpec, random: Random) -> list[Cutout]:
    """Choose a cut-out for each object, the category's first.

    An identical scene takes one cut-out for all objects of the category; others take different ones if possible.
    """
    pool = folder.get_cutouts(spec.category)
    if spec.identical:
        chosen = [random.choice(pool)] * spec.count
    else:
        rounds = math.ceil(spec.count / len(pool))
        chosen = [cutout for _ in range(rounds) for cutout in random.sample(pool, len(pool))][: spec.count]
    return [*chosen, *(random.choice(folder.get_cutouts(category)) for category in spec.clutter)]


def _limit_layout(
    config: PastedConfig, spec: SceneSpec, images: Sequence[Image.Image], size: tuple[int, int]
) -> LayoutConfig:
    """Limit the sizes of this scene by the maximum enlargement; identical objects have one size."""
    smallest = min(math.sqrt(image.width * image.height) for image in images)
    max_share = config.max_enlargement * smallest / math.sqrt(size[0] * size[1])
    layout = replace(config.layout, max_size=min(config.layout.max_size, max(max_share, config.layout.min_size)))
    return replace(layout, size_spread=0.0, size_jitter=0.0) if spec.identical else layout
