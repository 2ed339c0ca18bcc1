"""Options of annotations and images that ``ingest`` and ``inspect`` share."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from pipeline import OpenShare, get_local_path
from shards.sources.isolated import pause_garbage_collection
from shards.sources.registry import AnnotationFormat, ReaderOptions, read_annotations
from shards.sources.sample import SourceSample, hold_out_images
from shards.sources.table import Fields
from shards.sources.validation import ValidationResult, read_windows_names, validate_samples
from workflows.cli.console import UserError
from workflows.cli.paths import DatasetConfig

MINIATURE = UPath("data/miniature/refer")
DEFAULT_MAX_DROPPED = 0.05
"""Default limit of the share of queries that are left out."""


@dataclass(frozen=True, kw_only=True)
class AnnotationsConfig(DatasetConfig):
    """Annotations and images of a dataset; its runs are saved to ``<data>/<dataset>``."""

    format: AnnotationFormat = "refer"
    """Format of the annotations. refer: refs(<split by>).p or gRefCOCO's grefs(<split by>).json, and instances.json;
    transvg: <name>_<split>.pth; flickr30k: Sentences/ and Annotations/ of Flickr30k Entities; referit:
    referit_query_<split>.json and mask/ of ReferItGame; grounding: COCO JSON with captions, as of MDETR; odvg: JSON
    lines of Grounding DINO; table: JSON lines, CSV or Parquet, one query per row. docs/datasets.md describes each."""

    annotations: UPath = MINIATURE / "miniature"
    """Folder of the annotations, or a prefix of an object store; for grounding, odvg and table the file itself."""

    images: UPath = MINIATURE / "images"
    """Folder of the images, or a prefix of an object store."""

    split_by: str = "miniature"
    """Name of the split. refer: refs(<split by>).p (unc, umd, google) or grefs(<split by>).json (unc). transvg: unc,
    unc+, gref, gref_umd, referit, flickr."""

    split: str = "train"
    """Split of the queries that name none; for grounding, odvg and table."""

    val_share: OpenShare | None = None
    """Share of the training images to hold out as split ``val``, for annotations without one, such as 0.1. An image's
    name decides, so new images move no other ones."""

    instances: UPath | None = None
    """COCO file of all objects (instances_train2014.json), joined by annotation id; for refer, transvg, grounding and
    table."""

    fields: Fields = field(default_factory=Fields)
    """Names of the fields in a table."""

    allow_links: bool = False
    """Whether images may be symbolic links to files outside the folder."""

    @property
    def table_box_format(self) -> str | None:
        """Format of the boxes of a table; None for other annotations, whose format decides it."""
        return self.fields.box_format if self.format == "table" else None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.dataset):
            raise ValueError(
                f"dataset names a folder, so it must consist of letters, digits, '.', '_', '+' and '-', got "
                f"{self.dataset!r}"
            )
        if self.dataset != "miniature" and self.annotations == MINIATURE / "miniature":
            raise ValueError(f"pass {self.dataset}'s annotations as --annotations and its images as --images")


def read(config: AnnotationsConfig) -> list[SourceSample]:
    """Read the annotations in the reader's order.

    Raises:
        UserError: the folder of images does not exist, which is checked first, since annotations can take a minute; or
            the annotations have a split val, beside ``val_share``.
    """
    if not config.images.is_dir():
        raise UserError(f"{config.images} is not a folder; pass the folder of the images as --images")
    with ExitStack() as stack:
        path = stack.enter_context(_fetch_locally(config.annotations))
        instances = stack.enter_context(_fetch_locally(config.instances)) if config.instances else None
        options = ReaderOptions(
            path=path,
            dataset=config.dataset,
            split_by=config.split_by,
            split=config.split,
            instances=instances,
            fields=config.fields,
        )
        with pause_garbage_collection():
            samples = list(read_windows_names(read_annotations(config.format, options), config.images))
    if config.val_share is None:
        return samples
    if any(sample.split == "val" for sample in samples):
        raise UserError(f"{config.annotations} already has a split val; omit --val-share")
    return hold_out_images(samples, config.val_share)


def validate_annotations(config: AnnotationsConfig, samples: list[SourceSample]) -> ValidationResult:
    """Check the samples against their images."""
    return validate_samples(samples, config.images, allow_links=config.allow_links)


@contextmanager
def _fetch_locally(location: UPath) -> Iterator[Path]:
    """Yield a local path, which for an object store is a temporary copy."""
    if local_path := get_local_path(location):
        yield local_path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / location.name
        location.fs.get(location.path, str(copy), recursive=location.is_dir())
        yield copy
