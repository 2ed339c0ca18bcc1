"""The composer that pastes cut-outs onto photographs: every box is exact, that of the pixels that were put there.

composer = PastedComposer(PastedConfig(cutouts=Path("cutouts"), backgrounds=Path("train2014")))
composer.setup()
composer.process(items)[0].asked[0].box_xyxy        # of the visible part
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

from augmentation.composers.backgrounds import Backgrounds, covering, is_grey
from augmentation.composers.blending import BlendConfig, Placed, Visible, blended, placed, visible_parts
from augmentation.composers.composed import Asked, Composed
from augmentation.composers.cutouts import Cutout, CutoutFolder, read_cutout
from augmentation.composers.held_out import HeldOut
from augmentation.composers.layouts import LayoutConfig, drawing_order, sample_layout
from augmentation.errors import AugmentationError
from augmentation.planning.vocabulary import SceneSpec, VocabularyConfig
from pipeline.stage import Item, Rejected, Resources, Stage
from shards.images import ImageError

_GROUND = frozenset({"row", "depth"})
"""Arrangements in which things stand on something; in the others they may as well hang on a wall."""


@dataclass(frozen=True, kw_only=True)
class PastedConfig:
    """Where cut-outs and backgrounds are, and how they are put together."""

    cutouts: Path
    """Folder of ``<category>/<name>.png``, as ``workflows.cut_out`` writes it."""

    backgrounds: Path
    """Folder of photographs."""

    instances: Path | None = None
    """COCO's instances file of the backgrounds: a scene goes only where none of its categories is already."""

    sizes_px: tuple[tuple[int, int], ...] = ((480, 360),)
    """(width, height) of the pictures; each scene draws one."""

    most_thing_share: float = 0.5
    """With ``instances``: close-ups, of which the box of one thing covers more, are no backgrounds."""

    layout: LayoutConfig = field(default_factory=LayoutConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    most_enlargement: float = 1.5
    """A cut-out is blown up by no more, as far as ``layout.least_size`` allows; else its blur gives it away."""

    least_visible: float = 0.7
    """Share of each thing that nothing may cover."""

    tries: int = 12
    """Layouts and backgrounds tried before a scene is given up."""

    def __post_init__(self) -> None:
        if not self.sizes_px or any(min(size) < 32 for size in self.sizes_px):
            raise ValueError(f"sizes_px must name sizes of at least 32 x 32, got {self.sizes_px}")
        if self.most_enlargement <= 0:
            raise ValueError(f"most_enlargement must be positive, got {self.most_enlargement}")
        if not 0 < self.least_visible <= 1:
            raise ValueError(f"least_visible must lie in (0, 1], got {self.least_visible}; 1 is all of a thing")
        if not 0 < self.most_thing_share <= 1:
            raise ValueError(f"most_thing_share must lie in (0, 1], got {self.most_thing_share}; 1 takes every picture")
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, got {self.tries}")


@dataclass(frozen=True, kw_only=True)
class PastedInputs:
    """What there is to compose with."""

    cutouts: Mapping[str, int]
    """Category to the number of its cut-outs."""

    backgrounds: int
    unannotated: tuple[str, ...]
    """Categories that the instances file says of no background, or all without a file: whether they are there already
    is not known if the file calls them otherwise."""

    left_out: Mapping[str, int]
    """Reason to the number of files: ``held_out_name``, ``held_out_content``, ``held_out_cutout``, ..."""


def check_pasted(config: PastedConfig, vocabulary: VocabularyConfig, held_out: HeldOut) -> PastedInputs:
    """Look before the run at what it needs: cut-outs of every category, and backgrounds free of it.

    Held-out photographs are passed over and counted here; the composer passes over the same.

    Raises:
        AugmentationError: a category has no cut-outs, no background may be used, or none is free of a category.
    """
    cutouts = CutoutFolder(config.cutouts, held_out)
    cutouts.require(vocabulary.categories)
    backgrounds = _backgrounds(config, held_out)
    backgrounds.leave_out_held_out()
    for category in sorted(vocabulary.categories):
        if not any(backgrounds.is_free(path, frozenset({category})) for path in backgrounds.paths):
            raise AugmentationError(
                f"every background in {config.backgrounds} holds a {category} according to {config.instances}; "
                "add backgrounds without, or leave the category out of the vocabulary"
            )
    gone = {"held_out_cutout": len(cutouts.held_out)} if cutouts.held_out else {}
    return PastedInputs(
        cutouts={category: len(cutouts.of(category)) for category in sorted(vocabulary.categories)},
        backgrounds=len(backgrounds.paths),
        unannotated=tuple(sorted(set(vocabulary.categories) - backgrounds.annotated)),
        left_out={**backgrounds.left_out, **gone},
    )


def _backgrounds(config: PastedConfig, held_out: HeldOut) -> Backgrounds:
    return Backgrounds(config.backgrounds, config.instances, held_out, config.most_thing_share)


def pasted_fingerprint(config: PastedConfig, held_out: HeldOut) -> dict[str, Any]:
    """What decides the pictures, for the fingerprint of a plan: files count by name and size, folders by no name."""
    settings = asdict(config)
    for name in ("cutouts", "backgrounds", "instances"):
        path = settings.pop(name)
        settings[name] = None if path is None else _listing_hash(path)
    return {**settings, "held_out": held_out.fingerprint}


def _listing_hash(path: Path) -> str:
    if not path.exists():
        raise AugmentationError(f"{path} does not exist; give the folder or file that scenes are made of")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n".encode())
    return digest.hexdigest()


class PastedComposer(Stage[Item, Composed]):
    """Pastes cut-outs of each planned scene onto a photograph; the item's seed decides everything.

    Args:
        held_out: photographs that are neither backgrounds nor sources of cut-outs.
    """

    resources = Resources(num_cpus=1)

    def __init__(self, config: PastedConfig, held_out: HeldOut | None = None) -> None:
        self._config = config
        self._held_out = held_out or HeldOut()

    @property
    def name(self) -> str:
        return "compose"

    def setup(self) -> None:
        self._cutouts = CutoutFolder(self._config.cutouts, self._held_out)
        self._backgrounds = _backgrounds(self._config, self._held_out)

    def process(self, items: list[Item]) -> list[Composed | Rejected]:
        return [self._compose(item) for item in items]

    def _compose(self, item: Item) -> Composed | Rejected:
        spec, random = SceneSpec.from_payload(item.key, item.payload), Random(item.seed)
        size = random.choice(self._config.sizes_px)
        cutouts = chosen_cutouts(self._cutouts, spec, random)
        try:
            pictures = _read(cutouts)
        except ImageError as problem:
            return Rejected(key=item.key, reason="unreadable_cutout", detail=str(problem))
        background = self._background(item.key, {spec.category, *spec.clutter}, size, random)
        if isinstance(background, Rejected):
            return background
        found = self._laid_out(spec, pictures, size, random)
        if found is None:
            detail = f"{spec.count} {spec.category} and {len(spec.clutter)} more as {spec.arrangement} on {size}"
            return Rejected(key=item.key, reason="does_not_fit", detail=detail)
        order, things, visible = found
        picture = blended(background, things, on_ground=spec.arrangement in _GROUND, config=self._config.blend)
        asked = tuple(_asked(cutouts[i], part) for i, part in zip(order, visible, strict=True))
        return Composed(key=item.key, seed=item.seed, spec=spec, composer="pasted", picture=picture, asked=asked)

    def _background(
        self, key: str, categories: Iterable[str], size: tuple[int, int], random: Random
    ) -> Image.Image | Rejected:
        """One that may be used; grey ones, and held-out ones under other names, are passed over."""
        unwanted = sorted(categories)
        for _ in range(self._config.tries):
            path = self._backgrounds.draw(unwanted, random)
            if path is None:
                return Rejected(key=key, reason="no_background", detail=f"all hold one of {', '.join(unwanted)}")
            try:
                background = covering(self._backgrounds.read(path), size, random)
            except ImageError as problem:
                if problem.rule != "held_out_content":
                    return Rejected(key=key, reason="unreadable_background", detail=str(problem))
                continue
            if not is_grey(background):
                return background
        detail = f"{self._config.tries} were grey or held out, the last was {path}"
        return Rejected(key=key, reason="no_background", detail=detail)

    def _laid_out(
        self, spec: SceneSpec, pictures: Sequence[Image.Image], size: tuple[int, int], random: Random
    ) -> tuple[list[int], list[Placed], list[Visible]] | None:
        """Drawing order, and in it the things and what is to be seen of them."""
        ratios = [picture.width / picture.height for picture in pictures]
        layout = _layout(self._config, spec, pictures, size)
        for _ in range(self._config.tries):
            boxes = sample_layout(spec.arrangement, ratios, spec.count, *size, random, layout)
            if boxes is None:
                continue
            order = drawing_order(boxes)
            things = [placed(pictures[i], boxes[i], size, self._config.blend) for i in order]
            visible = visible_parts(things, size)
            if all(part.share >= self._config.least_visible for part in visible):
                return order, things, visible
        return None


def chosen_cutouts(folder: CutoutFolder, spec: SceneSpec, random: Random) -> list[Cutout]:
    """One for each thing, the category's first: one for all of them where they are to be identical, else different
    ones as far as there are."""
    pool = folder.of(spec.category)
    if spec.identical:
        chosen = [random.choice(pool)] * spec.count
    else:
        rounds = math.ceil(spec.count / len(pool))
        chosen = [cutout for _ in range(rounds) for cutout in random.sample(pool, len(pool))][: spec.count]
    return [*chosen, *(random.choice(folder.of(category)) for category in spec.clutter)]


def _read(cutouts: Sequence[Cutout]) -> list[Image.Image]:
    """In order; a file that is used several times is read once."""
    pictures = {path: read_cutout(path) for path in {cutout.path: None for cutout in cutouts}}
    return [pictures[cutout.path] for cutout in cutouts]


def _layout(
    config: PastedConfig, spec: SceneSpec, pictures: Sequence[Image.Image], size: tuple[int, int]
) -> LayoutConfig:
    """The limits of this scene: no cut-out is blown up too far, and identical things have one size."""
    smallest = min(math.sqrt(picture.width * picture.height) for picture in pictures)
    most = config.most_enlargement * smallest / math.sqrt(size[0] * size[1])
    layout = replace(config.layout, most_size=min(config.layout.most_size, max(most, config.layout.least_size)))
    return replace(layout, size_spread=0.0, size_jitter=0.0) if spec.identical else layout


def _asked(cutout: Cutout, part: Visible) -> Asked:
    assert part.box_xyxy is not None  # its share is above the least
    return Asked(box_xyxy=part.box_xyxy, category=cutout.category, attributes=dict(cutout.attributes))
