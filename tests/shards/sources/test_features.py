"""Published features of priors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shards.sources.errors import SourceError
from shards.sources.features import read_features


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return (Path.touch, (self.marker,))


def test_a_feature_file_holds_a_tensor_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "val_fea.pth"
    torch.save({"a": _Evil(tmp_path / "marker")}, path)
    with pytest.raises(SourceError, match="val_fea"):
        read_features(path)
    assert not (tmp_path / "marker").exists()
    torch.save(torch.zeros(3), path)
    with pytest.raises(SourceError, match=r"a row for each query, got \(3,\)"):
        read_features(path)
    torch.save(torch.zeros(1, 1).expand(10**12, 4), path)
    with pytest.raises(SourceError, match="val_fea"):
        read_features(path)
    torch.save(torch.zeros(3, 4).to_sparse(), path)
    with pytest.raises(SourceError, match="val_fea"):
        read_features(path)
    torch.save({"a": torch.zeros(3, 4)}, path)
    with pytest.raises(SourceError, match="got 1 named ones"):
        read_features(path)
    torch.save(torch.tensor([[1.0], [1e9]]), path)
    with pytest.raises(SourceError, match="not finite in half precision, the first is row 1"):
        read_features(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="val_fea"):
        read_features(path)
