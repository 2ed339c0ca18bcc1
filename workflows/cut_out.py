"""Make cut-outs for pasted scenes from COCO's polygons or from a prior store: ``<output>/<category>/<name>.png``.

    python -m workflows.cut_out coco --instances instances_train2014.json --images train2014 --output cutouts
    python -m workflows.cut_out priors --categories cup dog --output cutouts

Ingest the datasets first: images of their validation and test splits are never used, whatever their names. To resume,
run the same command; existing cut-outs stay.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any

import tyro
from PIL import Image
from rich.progress import track
from rich.table import Table
from upath import UPath

from augmentation.composers.cutout_extraction import CutoutConfig, cut_polygons, cut_single, find_polygon_problem
from augmentation.composers.cutouts import format_cutout_name
from augmentation.composers.held_out import HeldOut
from generation.priors.store import PriorStore
from pipeline import LimitedConfig, PositiveInt, write_atomic
from shards.images import ImageError, encode_png, resolve_image_path
from shards.sources.coco_polygons import PolygonAnnotation, PolygonImage, read_polygon_images
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DATA
from workflows.priors.config import find_prior_store_path
from workflows.scenes.held_out import find_held_out_images


@dataclass(frozen=True, kw_only=True)
class SourceConfig(LimitedConfig):
    """Options of both sources."""

    output: Path
    """Folder of the cut-outs; existing ones stay."""

    categories: tuple[str, ...] = ()
    """Categories to cut out; with ``coco``, none means all."""

    max_per_category: PositiveInt = 300
    """Maximum number of cut-outs of a category, at least 1."""

    data: UPath = DATA
    """Folder of all datasets and prior stores."""

    cut: CutoutConfig = field(default_factory=CutoutConfig)


@dataclass(frozen=True, kw_only=True)
class CocoConfig(SourceConfig):
    """Cut-outs from annotated polygons."""

    instances: Path
    """COCO's ``instances*.json``, with its polygons."""

    images: Path
    """Folder of the images."""


@dataclass(frozen=True, kw_only=True)
class PriorsConfig(SourceConfig):
    """Cut-outs from the images of a prior store, by GrabCut."""

    dataset: str = "miniature"
    """Dataset of the store; other datasets with the same image encoder share it."""

    min_clip_score: float = 0.0
    """Minimum CLIP score of an image with its prompt, 100 times the cosine; X-Paste uses 21."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.categories:
            raise ValueError("categories must name at least one, got none; try --categories cup dog")


@dataclass(frozen=True, kw_only=True)
class CutOutConfig:
    """Source of the cut-outs."""

    source: Annotated[
        Annotated[CocoConfig, tyro.conf.subcommand("coco", prefix_name=False)]
        | Annotated[PriorsConfig, tyro.conf.subcommand("priors", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


@dataclass(kw_only=True)
class Tally:
    """Counts of cut-outs and of excluded objects."""

    max_per_category: int
    kept: Counter[str] = field(default_factory=Counter)
    """Number of cut-outs by category, existing ones included."""

    excluded: Counter[str] = field(default_factory=Counter)
    """Number of excluded objects by reason."""

    def is_full(self, category: str) -> bool:
        return self.kept[category] >= self.max_per_category

    def build_table(self) -> Table:
        """Build a table of cut-outs by category and of excluded objects by reason."""
        table = Table("", "cut-outs", title=f"{self.kept.total():,} cut-outs, {self.excluded.total():,} excluded")
        for name, count in self.kept.most_common():
            table.add_row(name, f"{count:,}", style="green")
        for name, count in self.excluded.most_common():
            table.add_row(name, f"{count:,}")
        return table


def main(config: CutOutConfig) -> Tally:
    """Make the cut-outs, and print their number and that of excluded objects."""
    source = config.source
    tally = extract_from_coco(source) if isinstance(source, CocoConfig) else extract_from_priors(source)
    console.print(tally.build_table())
    if not tally.kept:
        raise UserError("nothing was cut out; the table shows the reasons, and --cut.* set the limits")
    print_path("the cut-outs", source.output)
    return tally


def extract_from_coco(config: CocoConfig) -> Tally:
    """Cut out annotated objects; images are ordered by hash, so the first ones of a category are mixed."""
    held_out, tally = find_held_out_images(config.data), Tally(max_per_category=config.max_per_category)
    if not held_out.ids:
        console.print(f"{config.data} has no dataset with a validation or test split: no image is held out")
    images = sorted(
        read_polygon_images(config.instances), key=lambda image: hashlib.sha256(image.name.encode()).digest()
    )
    known = {one.category for image in images for one in image.instances}
    if unknown := sorted(set(config.categories) - known):
        raise UserError(
            f"{config.instances} has no polygons of {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    for image in track(images, "cutting out", console=console, transient=True):
        _cut_image(image, config, held_out, tally)
    return tally


def _cut_image(image: PolygonImage, config: CocoConfig, held_out: HeldOut, tally: Tally) -> None:
    wanted = [
        outline
        for outline in image.instances
        if (not config.categories or outline.category in config.categories) and not tally.is_full(outline.category)
    ]
    if reason := held_out.reason(image.name):
        tally.excluded[reason] += len(wanted)
        return
    missing = list(_iterate_missing(image, wanted, config, tally))
    if not missing:
        return
    pixels = _read_allowed_image(image, config.images, held_out)
    if isinstance(pixels, str):
        tally.excluded[pixels] += len(missing)
        return
    for outline, cutout in cut_polygons(pixels, image, missing, config.cut):
        if isinstance(cutout, str):
            tally.excluded[cutout] += 1
        elif not tally.is_full(outline.category):
            write_atomic(_get_cutout_path(image, outline, config), encode_png(cutout))
            tally.kept[outline.category] += 1


def _iterate_missing(
    image: PolygonImage, wanted: Sequence[PolygonAnnotation], config: CocoConfig, tally: Tally
) -> Iterable[PolygonAnnotation]:
    """Yield the polygons without a cut-out; count the others in the tally."""
    for outline in wanted:
        if not _is_folder_name(outline.category):
            tally.excluded["unusable_category"] += 1
        elif len(_get_cutout_path(image, outline, config).name.encode()) > _MAX_NAME_BYTES:
            tally.excluded["unusable_name"] += 1
        elif problem := find_polygon_problem(outline, image.size, config.cut):
            tally.excluded[problem] += 1
        elif _get_cutout_path(image, outline, config).exists():
            tally.kept[outline.category] += 1
        else:
            yield outline


_MAX_NAME_BYTES = 200
"""Maximum length of a file name; file systems take 255, and the temporary name is longer."""


def _is_folder_name(category: str) -> bool:
    plain = category.isprintable() and not set(category) & set("/\\")  # no lone surrogates, no control characters
    return plain and bool(category.strip(". ")) and not category.startswith(".") and len(category.encode()) <= 100


def _get_cutout_path(image: PolygonImage, outline: PolygonAnnotation, config: CocoConfig) -> Path:
    number = re.sub(r"[^A-Za-z0-9]+", "-", outline.annotation_id)
    return config.output / outline.category / format_cutout_name(f"{PurePath(image.name).stem}__{number}")


def _read_allowed_image(image: PolygonImage, folder: Path, held_out: HeldOut) -> Image.Image | str:
    """Read the image, or return why it cannot or must not be used."""
    try:
        pixels = held_out.read_image(resolve_image_path(folder, image.name, allow_links=True))
    except ImageError as problem:
        return problem.rule
    return pixels if pixels.size == image.size else "other_size"


def extract_from_priors(config: PriorsConfig) -> Tally:
    """Cut out priors of one object of a wanted category, in the order of their ids, which are hashes."""
    store = PriorStore.open(find_prior_store_path(config.dataset, config.data))
    tally = Tally(max_per_category=config.max_per_category)
    for prior_id in track(sorted(store), "cutting out", console=console, transient=True):
        category = _find_category(store.record(prior_id).get("attributes"), config.categories)
        if category is None:
            tally.excluded["another_category"] += 1
        elif not tally.is_full(category):
            _cut_out_prior(store, prior_id, category, config, tally)
    return tally


def _cut_out_prior(store: PriorStore, prior_id: str, category: str, config: PriorsConfig, tally: Tally) -> None:
    path = config.output / category / format_cutout_name(prior_id)
    if path.exists():
        tally.kept[category] += 1
        return
    if (store.clip_score(prior_id) or 0.0) < config.min_clip_score:
        tally.excluded["low_clip_score"] += 1
        return
    cutout = cut_single(Image.fromarray(store.image(prior_id)), config.cut)
    if isinstance(cutout, str):
        tally.excluded[cutout] += 1
        return
    write_atomic(path, encode_png(cutout))
    tally.kept[category] += 1


def _find_category(attributes: Mapping[str, Any] | None, wanted: Sequence[str]) -> str | None:
    """Find the wanted category of a query's target; return None unless it is one object without parts or actions."""
    target = (attributes or {}).get("target") or {}
    if target.get("plural") or (target.get("count") or 1) > 1:
        return None
    if any((attributes or {}).get(name) for name in ("parts", "carrying", "wearing", "actions")):
        return None
    names = (target.get("noun"), target.get("lemma"), (attributes or {}).get("category"))
    return next((name for name in names if name in wanted), None)


if __name__ == "__main__":
    run(main, CutOutConfig, __doc__)
