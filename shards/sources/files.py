"""The files of an annotation folder, and which split each of them is."""

from __future__ import annotations

import re
from pathlib import Path

from shards.sources.errors import SourceError

KNOWN_SPLITS = ("train", "val", "valid", "validation", "test", "testA", "testB", "testC")


def list_files(path: Path, suffix: str) -> list[Path]:
    """The file itself, or those of the folder.

    Raises:
        SourceError: there is none.
    """
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise SourceError(f"{path} is no {suffix} file and no folder of them")
    return files


def infer_splits(files: list[Path], default: str) -> dict[Path, str]:
    """Each file's split, by its name: ``finetune_refcoco_testA.json``, ``flickr_train_vg.jsonl``,
    ``validation-00000-of-00001.parquet``, ``instances_val2017.json``.

    Args:
        otherwise: of a single file whose name does not say.

    Raises:
        SourceError: there are several files, and the name of one does not say.
    """
    splits = {file: _infer_split(file) for file in files}
    unclear = [file for file, split in splits.items() if split is None]
    if unclear and len(files) > 1:
        raise SourceError(
            f"{unclear[0]}: several files, and this one's name does not say which split it is; put one of "
            f"{', '.join(KNOWN_SPLITS)} into it, or read each file by itself with --split"
        )
    return {file: split or default for file, split in splits.items()}


def _infer_split(file: Path) -> str | None:
    words = [re.sub(r"20\d\d\Z", "", word) for word in re.split(r"[^A-Za-z0-9]+", file.stem)]
    named = {word for word in words if word in KNOWN_SPLITS}
    return named.pop() if len(named) == 1 else None
