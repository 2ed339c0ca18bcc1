from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from upath import UPath

from pipeline import ExecutorConfig
from shards.query_table import read_query_table, write_query_table
from shards.reader import SampleReader
from shards.sources.errors import SourceError
from workflows import ingest, pack
from workflows.cli.console import UserError

HERE = ExecutorConfig(isolate=False)


ROWS = [
    ("a.png", "1.pth", [0, 0, 4, 4], "left cup", []),
    ("b.png", "2.pth", [1, 1, 5, 5], " ?! ", []),  # no words: the query is left out, its row still counts
    ("a.png", "3.pth", [5.5, 0, 3, 4], "right cup", []),
]


@pytest.fixture
def transvg(tmp_path: Path) -> Path:
    """Two images with three rows, ingested as data set unc."""
    for name in ("a", "b"):
        Image.new("RGB", (10, 8), "red").save(tmp_path / f"{name}.png")
    torch.save(ROWS, tmp_path / "unc_val.pth")
    ingest.main(
        ingest.IngestConfig(
            dataset="unc",
            format="transvg",
            split_by="unc",
            annotations=UPath(tmp_path),
            images=UPath(tmp_path),
            data=UPath(tmp_path / "data"),
            executor=HERE,
        )
    )
    return tmp_path


def _pack(folder: Path, features: Path) -> SampleReader:
    data = UPath(folder / "data")
    pack.main(pack.PackConfig(dataset="unc", features=features, data=data, executor=HERE))
    return SampleReader(data / "unc" / "packed-samples")


def test_published_features_are_bound_to_the_queries_of_their_rows(transvg: Path) -> None:
    torch.save(torch.arange(12.0).reshape(3, 4), transvg / "val_fea.pth")
    (sample,) = _pack(transvg, transvg)
    assert [q.text for q in sample.queries] == ["left cup", "right cup"]
    assert sample.priors is not None
    assert sample.priors.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]  # rows 0 and 2
    assert [str(q.prior_id)[-2:] for q in sample.queries] == ["-0", "-2"]


def test_features_of_another_split_file_are_refused(transvg: Path) -> None:
    torch.save(torch.zeros(2, 4), transvg / "val_fea.pth")
    with pytest.raises(SourceError, match=r"val_fea\.pth has 2 rows, split val of unc has 3 queries"):
        _pack(transvg, transvg)
    with pytest.raises(SourceError, match=r"val_fea\.pth does not exist"):
        _pack(transvg, transvg / "data")


def test_features_for_queries_that_are_no_rows_are_refused(transvg: Path) -> None:
    path = transvg / "data" / "unc" / "queries.parquet"
    rows = list(read_query_table(path))
    write_query_table(path, [{**row, "query_id": row["query_id"].replace("unc-val-1", "unc-17")} for row in rows])
    with pytest.raises(UserError, match="val are not rows of TransVG's split files"):
        _pack(transvg, transvg)
