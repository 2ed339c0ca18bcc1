"""Files of an annotation folder and their splits."""

from __future__ import annotations

import re
from pathlib import Path

from shards.sources.errors import SourceError

KNOWN_SPLITS = ("train", "val", "valid", "validation", "test", "testA", "testB", "testC")


def list_files(path: Path, suffix: str) -> list[Path]:
    """List the file itself, or the files of the folder.

    Raises:
        SourceError: there is none.
    """
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise SourceError(f"{path} is no {suffix} file and no folder of them")
    return files


def infer_splits(files: list[Path], default: str) -> dict[Path, str]:
    """Infer each file's split from its name.

    Examples are ``finetune_refcoco_testA.json``, ``flickr_train_vg.jsonl``, ``validation-00000-of-00001.parquet`` and
    ``instances_val2017.json``.

    Args:
        files: files of one dataset.
        default: split of a single file whose name has none.

    Raises:
        SourceError: there are several files, and the name of one has no split.
    """
    splits = {file: _infer_split(file) for file in files}
    unclear = [file for file, split in splits.items() if split is None]
    if unclear and len(files) > 1:
        raise SourceError(
            f"{unclear[0]}: several files, and the name of this one has no split; put one of "
            f"{', '.join(KNOWN_SPLITS)} into it, or read each file by itself with --split"
        )
    return {file: split or default for file, split in splits.items()}


def _infer_split(file: Path) -> str | None:
    words = [re.sub(r"20\d\d\Z", "", word) for word in re.split(r"[^A-Za-z0-9]+", file.stem)]
    named = {word for word in words if word in KNOWN_SPLITS}
    return named.pop() if len(named) == 1 else None
