"""Checkpoints: local folder or hub id, fingerprint of the weights, device and dtype."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from generation.errors import GenerationError

if TYPE_CHECKING:
    import torch

_MODEL_SUFFIXES = frozenset({".safetensors", ".bin", ".ckpt", ".pt", ".json", ".txt", ".model"})
"""Suffixes of the files that determine a model's output; model cards and images do not."""


def find_local_folder(checkpoint: str) -> Path | None:
    """Return the folder of a checkpoint; None for a hub id.

    Raises:
        GenerationError: the checkpoint looks like a path, but there is no such folder.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1:
        raise GenerationError(
            f"there is no checkpoint folder {checkpoint}; give a folder in the Hugging Face layout, "
            "or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
        )
    return None


def suggest_download(checkpoint: str) -> str:
    """Return the remedy if a hub id could not be loaded because the hub was not reached; empty for a folder."""
    if find_local_folder(checkpoint) is not None:
        return ""
    return (
        f". If this machine cannot reach the hub, run `hf download {checkpoint}` on one that can, and copy its HF_HOME"
    )


def compute_fingerprint(checkpoint: str, revision: str | None = None) -> str:
    """Compute a model's fingerprint: ``sha256:...`` over the files of a folder, or ``id@revision`` of the hub."""
    folder = find_local_folder(checkpoint)
    return f"{checkpoint}@{revision or 'main'}" if folder is None else _compute_folder_fingerprint(folder.resolve())


@lru_cache(maxsize=32)  # a process reads a checkpoint's weights once
def _compute_folder_fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _MODEL_SUFFIXES)
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def resolve_device(device: str) -> torch.device:
    """Return the device; ``auto`` is the first GPU (CUDA, then Apple's), or the CPU without one."""
    import torch

    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype; ``auto`` is half precision on a CUDA GPU and float32 elsewhere."""
    import torch

    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    names = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return names[dtype]
