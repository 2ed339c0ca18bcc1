"""Features of priors that were published with TransVG's split files: ``<split>_fea.pth``, one row for each query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.sources.errors import SourceError
from shards.sources.isolated import read_tensors


def read_features(path: Path) -> npt.NDArray[np.float16]:
    """Read a tensor that ``torch.save`` wrote; the file may hold nothing else.

    Returns:
        (rows, dim) features in half precision.

    Raises:
        SourceError: the file is missing or damaged, holds other objects, or is no table of finite numbers.
    """
    import torch

    state = read_tensors(path)
    features = state.get("")
    if features is None or features.ndim != 2 or not features.is_floating_point():
        actual = f"{len(state)} named ones" if features is None else f"{tuple(features.shape)} of {features.dtype}"
        raise SourceError(f"{path} must hold a tensor of numbers, a row for each query, got {actual}")
    half: npt.NDArray[np.float16] = features.to(torch.float16).numpy()
    if not np.isfinite(half).all():
        row = np.flatnonzero(~np.isfinite(half).all(1))[0]
        raise SourceError(f"{path} has rows that are not finite in half precision, the first is row {row}")
    return half
