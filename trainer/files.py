"""Files that are written whole or not at all, and the check of a checkpoint's folder."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.errors import TrainerError


def write_atomic(path: Path, text: str) -> None:
    """Write a text file in one step, so that no reader sees a part of it; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def check_checkpoint(folder: Path) -> None:
    """Check that a folder holds a trained network, before torch is loaded to read it.

    Raises:
        TrainerError: it does not; names the folder below it that does, if there is one.
    """
    if not (folder / "config.json").is_file():
        best = folder / "best"
        remedy = f"give {best}" if (best / "config.json").is_file() else "give a folder that training has saved"
        raise TrainerError(f"{folder} holds no trained network: config.json does not exist; {remedy}")
