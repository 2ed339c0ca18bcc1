"""Lengths and words of queries beside equally many real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from rich.table import Table

from shards.query_table import read_query_table
from shards.reader import SampleReader
from workflows.cli.console import console
from workflows.cli.paths import DatasetPaths
from workflows.reports.dataset_statistics import compute_jensen_shannon_divergence, compute_word_statistics

_SHARES = {"article_share": "article first", "spatial_share": "spatial word", "color_share": "color"}
_NUMBERS = {"mean_words": "mean words", "median_words": "median", "p95_words": "95 %", "different_words": "words"}
_DISTINCT = {"distinct_1": "distinct-1", "distinct_2": "distinct-2", "jensen_shannon": "JS to last row"}


def compare_with_validation(paths: DatasetPaths) -> dict[str, Any]:
    """Compare the scenes' queries with those of the dataset's validation split, if it was read."""
    scenes = [query.text for sample in SampleReader(paths.scenes) for query in sample.queries]
    records = read_query_table(paths.queries) if paths.queries.exists() else ()
    return compare_texts({"scenes": scenes, "val": [one["text"] for one in records if one["split"] == "val"]})


def compare_texts(texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Compute figures of equally many texts of each kind, since distinct-n falls with their number.

    ``jensen_shannon`` is the divergence of word frequencies to the last kind.
    """
    count = min((len(queries) for queries in texts.values() if queries), default=0)
    samples = {name: Random(0).sample(queries, count) for name, queries in texts.items() if queries}
    last = next(reversed(samples.values()), [])
    return {
        name: {
            "queries": count,
            **compute_word_statistics(sample),
            "jensen_shannon": compute_jensen_shannon_divergence(sample, last),
        }
        for name, sample in samples.items()
    }


def print_words(figures: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table with a row per kind."""
    columns = {"queries": "queries", **_NUMBERS, **_SHARES, **_DISTINCT}
    table = Table("", title="words")
    for title in columns.values():
        table.add_column(title, justify="right")
    for kind, values in figures.items():
        shares = {name: f"{100 * values[name]:.1f} %" for name in _SHARES}
        distinct = {name: f"{values[name]:.3f}" for name in _DISTINCT}
        formatted = {name: f"{values[name]:,.4g}" for name in columns} | shares | distinct
        table.add_row(kind, *formatted.values())
    console.print(table)
