from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shards.query_table import read_query_table, write_query_table
from shards.sources.errors import SourceError
from tests.workflows.transvg_rows import pack_features
from workflows.cli.console import UserError


def test_published_features_are_bound_to_the_queries_of_their_rows(transvg: Path) -> None:
    torch.save(torch.arange(12.0).reshape(3, 4), transvg / "val_fea.pth")
    (sample,) = pack_features(transvg, transvg)
    assert [q.text for q in sample.queries] == ["left cup", "right cup"]
    assert sample.priors is not None
    assert sample.priors.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]  # rows 0 and 2
    assert [str(q.prior_id)[-2:] for q in sample.queries] == ["-0", "-2"]


def test_features_of_another_split_file_are_refused(transvg: Path) -> None:
    torch.save(torch.zeros(2, 4), transvg / "val_fea.pth")
    with pytest.raises(SourceError, match=r"val_fea\.pth has 2 rows, split val of unc has 3 queries"):
        pack_features(transvg, transvg)
    with pytest.raises(SourceError, match=r"val_fea\.pth does not exist"):
        pack_features(transvg, transvg / "data")


def test_features_for_queries_that_are_no_rows_are_refused(transvg: Path) -> None:
    path = transvg / "data" / "unc" / "queries.parquet"
    rows = list(read_query_table(path))
    write_query_table(path, [{**row, "query_id": row["query_id"].replace("unc-val-1", "unc-17")} for row in rows])
    with pytest.raises(UserError, match="val are not rows of TransVG's split files"):
        pack_features(transvg, transvg)
