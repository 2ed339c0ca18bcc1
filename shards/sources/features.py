"""Features of priors that were published with TransVG's split files: ``<split>_fea.pth``, one row for each query."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import numpy.typing as npt

from shards.sources.errors import SourceError

if TYPE_CHECKING:
    import torch


def read_features(path: Path) -> npt.NDArray[np.float16]:
    """Read a tensor that ``torch.save`` wrote; the file may hold nothing else.

    Returns:
        (rows, dim) features in half precision.

    Raises:
        SourceError: the file is missing or damaged, holds other objects, or is no table of finite numbers.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    import torch

    try:
        features = torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(f"{path} is no tensor that can be read safely ({reason}); get it again") from error
    if not _is_table(features):
        actual = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise SourceError(f"{path} must hold a dense tensor of numbers, a row for each query, got {actual}")
    half: npt.NDArray[np.float16] = features.detach().to(torch.float16).numpy()
    if not np.isfinite(half).all():
        row = np.flatnonzero(~np.isfinite(half).all(1))[0]
        raise SourceError(f"{path} has rows that are not finite in half precision, the first is row {row}")
    return half


_LOAD_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    OSError,
    MemoryError,
    struct.error,
)
"""Errors of ``torch.load`` at damaged files, found by fuzzing."""


def _is_table(features: object) -> TypeGuard[torch.Tensor]:
    """Return whether this is a dense table whose numbers are all stored: a view of a few could claim terabytes."""
    import torch

    return (
        isinstance(features, torch.Tensor)
        and features.layout == torch.strided
        and features.device.type == "cpu"
        and not features.is_nested
        and features.ndim == 2
        and features.is_floating_point()
        and features.is_contiguous()
        and features.untyped_storage().nbytes() >= features.numel() * features.element_size()
    )
