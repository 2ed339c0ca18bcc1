"""Published numbers of queries in each split of the public datasets."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED_QUERIES: Mapping[str, Mapping[str, int]] = {
    "refcoco": {"train": 120_624, "val": 10_834, "testA": 5_657, "testB": 5_095},
    "refcoco+": {"train": 120_191, "val": 10_758, "testA": 5_726, "testB": 4_889},
    "refcocog-google": {"train": 85_474, "val": 9_536},
    "refcocog-umd": {"train": 80_512, "val": 4_896, "test": 9_602},
    "grefcoco": {"train": 209_344, "val": 16_870, "testA": 18_712, "testB": 14_933},
    "referit": {"train": 54_127, "val": 5_842},
    "flickr30k": {"train": 427_193, "val": 14_433, "test": 14_481},
}
"""Queries by dataset and split in the split files of TransVG (ICCV 2021). Sources differ on the size of referit's test
split, so it is not listed. RefCOCOg's google split has no test part. gRefCOCO's numbers are those of its released
file, 259,859 together; the 278,232 of its paper include some that its authors hold back."""

_TRANSVG_NAMES = {
    "unc": "refcoco",
    "unc+": "refcoco+",
    "gref": "refcocog-google",
    "gref_umd": "refcocog-umd",
    "flickr": "flickr30k",
}


def get_published_queries(dataset: str, format: str, split_by: str) -> Mapping[str, int]:
    """Return split to number of queries; empty if the dataset is not a published one."""
    if format == "transvg":
        return PUBLISHED_QUERIES.get(_TRANSVG_NAMES.get(split_by, split_by), {})
    if dataset == "refcocog":
        return PUBLISHED_QUERIES.get(f"refcocog-{split_by}", {})
    return PUBLISHED_QUERIES.get(_TRANSVG_NAMES.get(dataset, dataset), {})
