"""Features of priors from elsewhere, bound to the queries of the rows that they were published for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from upath import UPath

from pipeline import Item, MapStage, compute_sha256
from shards.query_table import read_query_table
from shards.sidecar import SamplePriors
from shards.sources.errors import SourceError
from shards.sources.features import read_features
from shards.sources.transvg import make_query_id


def count_rows(queries: UPath, dataset: str) -> dict[str, int]:
    """Return split to number of rows in its split file; splits from other files are left out.

    Args:
        queries: table of the queries that ``ingest`` read.
        dataset: name of the dataset.
    """
    ids: dict[str, set[str]] = {}
    for record in read_query_table(queries):
        ids.setdefault(record["split"], set()).add(record["query_id"])
    return {
        split: len(features)
        for split, features in ids.items()
        if features == {make_query_id(dataset, split, row) for row in range(len(features))}
    }


class PublishedFeatures:
    """The feature files of some splits.

    Args:
        folder: holds ``<split>_fea.pth``.
        dataset: name that query ids carry.
        num_rows: split to the number of rows that its file must have.

    Raises:
        SourceError: a file is missing, damaged or of another length.
    """

    def __init__(self, folder: Path, dataset: str, num_rows: Mapping[str, int]) -> None:
        self.dataset = dataset
        self._paths: dict[str, Path] = {}
        self._sha256: dict[str, str] = {}
        dims: set[int] = set()
        for split, count in num_rows.items():
            path = folder / f"{split}_fea.pth"
            features = read_features(path)
            if len(features) != count:
                raise SourceError(
                    f"{path} has {len(features):,} rows, split {split} of {dataset} has {count:,} queries; "
                    "features are bound row by row, so that only those of the same split file fit"
                )
            self._paths[split], self._sha256[split] = path, compute_sha256(path)
            dims.add(features.shape[1])
        if len(dims) > 1:
            raise SourceError(f"the files in {folder} have {sorted(dims)} features a row; take those of one encoder")

    def compute_fingerprint(self) -> str:
        """Hash the contents of the files."""
        return " ".join(f"{split}:{sha256[:16]}" for split, sha256 in sorted(self._sha256.items()))

    def get_feature(self, query: str, split: str) -> tuple[str, npt.NDArray[np.float16]]:
        """(prior id, feature) of a query."""
        row = int(query.removeprefix(make_query_id(self.dataset, split, 0)[:-1]))
        return f"{self._sha256[split][:32]}-{row}", _load_features(self._paths[split])[row]


_load_features = cache(read_features)


class GatherPublishedStage(MapStage[Item, SamplePriors]):
    """Gives each query of a sample the feature of its row; payload: ``queries``, ids and splits in order.

    Args:
        features: of all splits of the samples.
    """

    batch_size = 64

    def __init__(self, features: PublishedFeatures) -> None:
        self._features = features

    def process_item(self, item: Item) -> SamplePriors:
        priors = [self._features.get_feature(query_id, split) for query_id, split in item.payload["queries"]]
        return SamplePriors(
            key=item.key,
            prior_ids=tuple(prior_id for prior_id, _ in priors),
            features=np.stack([feature for _, feature in priors]) if priors else np.zeros((0, 0), np.float16),
        )
