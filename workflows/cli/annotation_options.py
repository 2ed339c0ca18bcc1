"""Which annotations and images a command works on: the options that ``ingest`` and ``inspect`` share."""

from __future__ import annotations

import gc
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from pipeline import get_local_path
from shards.sources.registry import AnnotationFormat, ReaderOptions, read_annotations
from shards.sources.sample import SourceSample
from shards.sources.table import Fields
from shards.sources.validation import ValidationResult, validate_samples
from workflows.cli.console import UserError

MINIATURE = UPath("data/miniature/refer")


@dataclass(frozen=True, kw_only=True)
class AnnotationsConfig:
    """Which annotations, and which images."""

    dataset: str = "miniature"
    """Name of the data set; what is made of it goes to ``<data>/<dataset>``."""

    format: AnnotationFormat = "refer"
    """refer: refs(<split by>).p and instances.json; transvg: <name>_<split>.pth; flickr30k: Flickr30k Entities' own
    Sentences/ and Annotations/; referit: ReferItGame's own referit_query_<split>.json and mask/; grounding: COCO's JSON
    with captions, of MDETR's kind; odvg: Grounding DINO's JSON lines; table: JSON lines, CSV or Parquet, one query a
    row. docs/datasets.md tells of each."""

    annotations: UPath = MINIATURE / "miniature"
    """Folder of the annotations, or a prefix of an object store; the file itself of grounding, odvg and table."""

    images: UPath = MINIATURE / "images"
    """Folder of the images, or a prefix of an object store."""

    split_by: str = "miniature"
    """refer: which refs(<split by>).p (unc, umd, google). transvg: which name (unc, unc+, gref, gref_umd, referit,
    flickr)."""

    split: str = "train"
    """grounding, odvg, table: the split of what does not say."""

    instances: UPath | None = None
    """refer, transvg, grounding, table: COCO's file of all objects (instances_train2014.json), joined by annotation
    id."""

    fields: Fields = field(default_factory=Fields)
    """table: what the fields are called in it."""

    allow_links: bool = False
    """Images may be symbolic links that lead out of the folder."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.dataset):
            raise ValueError(f"dataset names a folder: letters, digits, '.', '_', '+' and '-', got {self.dataset!r}")
        if self.dataset != "miniature" and self.annotations == MINIATURE / "miniature":
            raise ValueError(f"give {self.dataset}'s annotations with --annotations, its images with --images")


def read(config: AnnotationsConfig) -> list[SourceSample]:
    """The annotations, in the reader's order.

    Raises:
        UserError: there is no folder of images; told at once, since annotations can take a minute.
    """
    if not config.images.is_dir():
        raise UserError(f"{config.images} is not a folder; give the folder of the images with --images")
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
        with _pause_garbage_collection():
            return list(read_annotations(config.format, options))


def validate_annotations(config: AnnotationsConfig, samples: list[SourceSample]) -> ValidationResult:
    """The samples against their images."""
    return validate_samples(samples, config.images, allow_links=config.allow_links)


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Millions of small objects that all stay: the garbage collector would walk through them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _fetch_locally(location: UPath) -> Iterator[Path]:
    """The files themselves, or those of an object store copied for as long as they are read."""
    if local_path := get_local_path(location):
        yield local_path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / location.name
        location.fs.get(location.path, str(copy), recursive=location.is_dir())
        yield copy
