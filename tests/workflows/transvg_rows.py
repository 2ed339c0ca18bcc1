"""Three rows of TransVG's format about two images, ingested and packed."""

from __future__ import annotations

from pathlib import Path

from upath import UPath

from pipeline import ExecutorConfig
from shards.reader import SampleReader
from workflows import pack

HERE = ExecutorConfig(isolate=False)

ROWS = [
    ("a.png", "1.pth", [0, 0, 4, 4], "left cup", []),
    ("b.png", "2.pth", [1, 1, 5, 5], " ?! ", []),  # no words: the query is left out, its row still counts
    ("a.png", "3.pth", [5.5, 0, 3, 4], "right cup", []),
]


def pack_features(folder: Path, features: Path) -> SampleReader:
    """Pack the samples of ``folder`` with published features."""
    data = UPath(folder / "data")
    pack.main(pack.PackConfig(dataset="unc", features=features, data=data, executor=HERE))
    return SampleReader(data / "unc" / "packed-samples")
