"""Figures of a dataset as it was read: sizes, words, distractors, duplicates and leaks."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import log2
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from upath import UPath

from generation.parsing.lexicon import COLORS, LOCATION_WORDS
from pipeline import Location, list_sizes
from shards.boxes import compute_area_px
from shards.image_names import normalize_image_name
from shards.schema import Query, find_distractors
from shards.sources.sample import Problem, SourceSample
from workflows.cli.console import UserError
from workflows.reports.distractors import DISTRACTOR_GROUPS, get_distractor_group

SMALL_PX2, LARGE_PX2 = 32**2, 96**2
"""Limits of COCO's small objects, below 32 x 32 pixels, and large ones, above 96 x 96."""

_WORD = re.compile(r"[a-z0-9']+")


def count_splits(samples: Iterable[SourceSample], published: Mapping[str, int]) -> dict[str, dict[str, int | None]]:
    """Count queries, refs (different targets), images and published queries of each split."""
    queries: Counter[str] = Counter()
    refs: dict[str, set[tuple[str, Any]]] = defaultdict(set)
    images: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        images[sample.split].add(sample.image_name)
        queries[sample.split] += len(sample.queries)
        refs[sample.split] |= {(sample.image_name, _get_target(query)) for query in sample.queries if query.boxes_xyxy}
    return {
        split: {
            "queries": queries[split],
            "refs": len(refs[split]),
            "images": len(images[split]),
            "published_queries": published.get(split),
        }
        for split in sorted({*images, *published}, key=_get_split_order)
    }


def _get_split_order(split: str) -> tuple[int, str]:
    return (["train", "val"].index(split) if split in ("train", "val") else 2, split)


def _get_target(query: Query) -> Any:
    return query.boxes_xyxy if query.instances is None else query.instances


def count_problems(problems: Iterable[Problem]) -> dict[str, dict[str, int]]:
    """Count how often each rule was broken, and the queries concerned."""
    totals: dict[str, dict[str, int]] = {}
    for problem in problems:
        counts = totals.setdefault(problem.rule, {"times": 0, "queries": 0})
        counts["times"] += 1
        counts["queries"] += problem.num_queries
    return dict(sorted(totals.items()))


def count_duplicates(samples: Iterable[SourceSample]) -> dict[str, int]:
    """Count queries that repeat another one about their object, or have the words of one about another object."""
    num_repeated = num_ambiguous = 0
    for sample in samples:
        targets: dict[str, Counter[Any]] = defaultdict(Counter)
        for query in sample.queries:
            targets[" ".join(_WORD.findall(query.text.lower()))][_get_target(query)] += 1
        for counts in targets.values():
            num_repeated += counts.total() - len(counts)
            num_ambiguous += counts.total() if len(counts) > 1 else 0
    return {"same_words_same_target": num_repeated, "same_words_another_target": num_ambiguous}


def count_targets(samples: Iterable[SourceSample]) -> dict[str, int]:
    """Count queries by their number of targets: none, one, several."""
    totals = Counter(min(len(query.boxes_xyxy), 2) for sample in samples for query in sample.queries)
    return {name: totals[number] for number, name in enumerate(("none", "one", "several"))}


def count_by_distractors(samples: Iterable[SourceSample]) -> dict[str, int]:
    """Count queries with a target by the number of other instances of its category, without crowds."""
    distractors = (
        find_distractors(sample, query) for sample in samples for query in sample.queries if query.boxes_xyxy
    )
    totals = Counter(get_distractor_group(None if found is None else len(found)) for found in distractors)
    return {group: totals[group] for group in DISTRACTOR_GROUPS if totals[group]}


def compute_word_statistics(queries: Iterable[str]) -> dict[str, float | int]:
    """Compute lengths in words, shares of articles, spatial words and colors, and distinct-n.

    ``distinct_n`` is the number of different n-grams divided by that of all (Li et al., NAACL 2016). It falls with the
    number of queries, so compare equally many.
    """
    texts = [_WORD.findall(query.lower()) for query in queries]
    if not texts:
        return {}
    lengths = [len(text) for text in texts]
    return {
        "mean_words": mean(lengths),
        **_compute_percentiles(lengths, "words"),
        "longest": max(lengths),
        "different_words": len({word for text in texts for word in text}),
        "article_share": mean(text[:1] in (["a"], ["an"], ["the"]) for text in texts),
        "spatial_share": mean(not LOCATION_WORDS.isdisjoint(text) for text in texts),
        "color_share": mean(not COLORS.isdisjoint(text) for text in texts),
        "distinct_1": _compute_distinct_n(texts, 1),
        "distinct_2": _compute_distinct_n(texts, 2),
    }


def _compute_distinct_n(texts: Sequence[list[str]], n: int) -> float:
    ngrams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def compute_jensen_shannon_divergence(queries: Iterable[str], others: Iterable[str]) -> float:
    """Compute the Jensen-Shannon divergence of the word frequencies of two sets of queries, in bits, in [0, 1].

    Source: Lin, IEEE Transactions on Information Theory 1991, equation 4.2, with equal weights.
    """
    first, second = (
        Counter(word for query in some for word in _WORD.findall(query.lower())) for some in (queries, others)
    )
    num_first, num_second = first.total() or 1, second.total() or 1
    divergence = 0.0
    for word in first | second:
        p, q = first[word] / num_first, second[word] / num_second
        divergence += sum(share * log2(2 * share / (p + q)) / 2 for share in (p, q) if share)
    return divergence


def summarize_box_sizes(samples: Iterable[SourceSample]) -> dict[str, float]:
    """Compute the targets' shares of their images, if the size is known, and COCO's three classes of area."""
    areas = [(compute_area_px(q.box_xyxy), s.size) for s in samples for q in s.queries if q.boxes_xyxy]
    areas = [(area, size) for area, size in areas if area > 0]  # others are problems of their own
    if not areas:
        return {}
    shares = [area / (size[0] * size[1]) for area, size in areas if size and min(size) > 0]
    return {
        **(_compute_percentiles(shares, "share") if shares else {}),
        "small": mean(area < SMALL_PX2 for area, _ in areas),
        "medium": mean(SMALL_PX2 <= area <= LARGE_PX2 for area, _ in areas),
        "large": mean(area > LARGE_PX2 for area, _ in areas),
    }


def _compute_percentiles(values: Sequence[float], name: str) -> dict[str, float]:
    """Return the 5th, 50th and 95th percentile."""
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return {f"p5_{name}": cuts[0], f"median_{name}": cuts[9], f"p95_{name}": cuts[18]}


def count_shared_images(samples: Iterable[SourceSample], against: Iterable[str] = ()) -> dict[str, int]:
    """Count the images that two splits, or a split and a given list, share by name."""
    images_by_split: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        images_by_split[sample.split].add(normalize_image_name(sample.image_name))
    listed = {normalize_image_name(name) for name in against}
    between = {
        f"{a} and {b}": len(images_by_split[a] & images_by_split[b])
        for a, b in combinations(sorted(images_by_split, key=_get_split_order), 2)
    }
    with_list = (
        {f"{split} and the list": len(names & listed) for split, names in images_by_split.items()} if listed else {}
    )
    return {pair: count for pair, count in {**between, **with_list}.items() if count}


def find_same_content(names: Iterable[str], images: Location, other_folder: UPath | None = None) -> list[list[str]]:
    """Find groups of identical files under different names; only files of one size are hashed.

    Args:
        names: existing images below ``images``.
        images: folder of the images.
        other_folder: another folder, whose files are compared as well.
    """
    files: dict[str, Location] = {name: images / name for name in sorted(set(names))}
    if other_folder is not None:
        files |= {str(other_folder / name): other_folder / name for name in list_sizes(other_folder)}
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, path in files.items():
        by_size[path.stat().st_size].append(name)
    by_hash: dict[str, list[str]] = defaultdict(list)
    for group in by_size.values():
        for name in group if len(group) > 1 else ():
            by_hash[hashlib.sha256(files[name].read_bytes()).hexdigest()].append(name)
    return [group for group in by_hash.values() if len(group) > 1]


def read_image_list(against: Path) -> list[str]:
    """Return names of images: the lines of a text file, or the files of a folder."""
    if against.is_dir():
        return [path.name for path in against.iterdir() if path.is_file()]
    try:
        return [line.strip() for line in against.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{against} is not UTF-8 ({error}); give a list with one name per line") from error
