"""Files that are written whole or not at all, and checks of paths before torch is loaded."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from shards.images import IMAGE_SUFFIXES
from trainer.errors import TrainerError
from trainer.hub import fetch_network, is_hub_id


def write_atomic(path: Path, text: str) -> None:
    """Write a text file in one step, so that no reader sees a part of it; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


SHIPPED = {"miniature": "workflows.miniature"}
"""Packages with a network in their folder ``weights/grounder``, by the name of the network."""


def find_checkpoint(checkpoint: Path | str) -> Path:
    """Return the folder of a network: of a shipped one by its name, of one of the hub, or else the folder itself.

    Raises:
        TrainerError: a network of the hub cannot be fetched.
    """
    name = str(checkpoint)
    if Path(name).exists():
        return Path(name)
    if name in SHIPPED:
        return Path(str(files(SHIPPED[name]))) / "weights" / "grounder"
    return fetch_network(name) if is_hub_id(name) else Path(name)


def check_checkpoint(folder: Path) -> None:
    """Check that a folder holds a trained network, before torch is loaded to read it.

    Raises:
        TrainerError: it does not; names the folder below it that does, if there is one.
    """
    if not (folder / "config.json").is_file():
        best = folder / "best"
        remedy = f"give {best}" if (best / "config.json").is_file() else "give a folder that training has saved"
        raise TrainerError(f"{folder} holds no trained network: config.json does not exist; {remedy}")


def list_images(path: Path) -> list[Path]:
    """Return the file, or the images of a folder by name.

    Raises:
        TrainerError: the path does not exist, or the folder holds no image.
    """
    if not path.exists():
        raise TrainerError(f"{path} does not exist; pass an image, or a folder of images")
    if not path.is_dir():
        return [path]
    names = (one for one in path.iterdir() if not one.name.startswith("."))  # such as ._a.png of macOS
    result = sorted(one for one in names if one.suffix.lower() in IMAGE_SUFFIXES)
    if not result:
        raise TrainerError(
            f"{path} contains no image; file names must end in one of {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return result
