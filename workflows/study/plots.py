"""Plots of the study's results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflows.reports.plot_style import COLORS, new_figure, plot_bars, save_figure
from workflows.study.variants import VARIANTS_BY_NAME, WORD_LIMITS

GROUPS = ("testA", "testB", "two or more distractors", "unseen combinations", "val, positional", "ordinal")


CLAIMS = {
    "Scenes help if queries are few": ("scenes", "base", "test", 500),
    "Scenes change little if queries are many": ("scenes", "base", "test", 8000),
    "Pasted scenes help": ("pasted scenes", "base", "two or more distractors", 2000),
    "Programs are better than Pseudo-Q's rules on positions": ("scenes", "Pseudo-Q's rules", "testB", 2000),
    "Programs are worse than Pseudo-Q's rules on attributes": ("scenes", "Pseudo-Q's rules", "testA", 2000),
    "Published priors do not help": ("priors", "base", "test", 2000),
    "Priors as exemplars help": ("exemplars", "base", "test", 2000),
    "It is the priors, not the further boxes": ("exemplars", "exemplars of words", "test", 2000),
    "Exemplars find colors that no query has said": (
        "exemplars, colors held out",
        "base, colors held out",
        "held-out colors",
        2000,
    ),
    "Exemplars and scenes help most": ("exemplars and scenes", "base", "test", 2000),
}
"""Claims of the documentation: compared variants, group of queries and training queries of each."""

FREQUENCIES = ("0", "1", "5", "20", "more")


def plot_study(record: Mapping[str, Any], output: Path) -> None:
    """Write ``variants.png``, ``claims.png`` and ``rare-words.png``, as far as their variants are finished."""
    plot_variants(record["levels"], output / "variants.png")
    plot_claims(record["comparisons"], output / "claims.png")
    for level in record["levels"].values():
        if {"base, rare words", "exemplars, rare words"} <= level.keys():
            plot_rare_words(level, output / "rare-words.png")


def plot_variants(levels: Mapping[str, Any], path: Path) -> None:
    """Plot Acc@0.5 against training queries, one panel per group of queries, one color per main variant."""
    variants = [name for name, variant in VARIANTS_BY_NAME.items() if variant.is_main]
    figure, panels = new_figure(11, 6.4, len(GROUPS), columns=3)
    for axes, group in zip(panels, GROUPS, strict=True):
        series = {
            variant: [_get_bar(level.get(variant, {}).get(group)) for level in levels.values()] for variant in variants
        }
        plot_bars(axes, [f"{int(size):,}" for size in levels], series, "Acc@0.5 (%)", group)
    for axes in panels[1:]:  # one legend is enough
        axes.get_legend().remove()
    save_figure(figure, path)


def plot_claims(comparisons: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Plot the differences in points of ``CLAIMS``; the thick interval is over images, the thin one over seeds."""
    found = {tuple(entry[name] for name in ("first", "second", "group", "size")): entry for entry in comparisons}
    claims = {claim: found[key] for claim, key in CLAIMS.items() if key in found}
    figure, (axes,) = new_figure(9, 0.9 + 0.42 * max(1, len(claims)))
    for row, entry in enumerate(claims.values()):
        for level, width in (("over_images", 3.0), ("over_seeds", 1.0)):
            if entry[level]["low"] is not None:
                ends = [100 * entry[level]["low"], 100 * entry[level]["high"]]
                axes.plot(ends, [row, row], color=COLORS[0], linewidth=width)
        axes.plot([100 * entry["over_images"]["mean"]], [row], marker="o", color=COLORS[0])
    labels = [
        f"{claim}\n{entry['first']} - {entry['second']}, {entry['group']}, {entry['size']:,} queries"
        for claim, entry in claims.items()
    ]
    axes.set_yticks(range(len(claims)), labels)
    axes.set_ylim(len(claims) - 0.5, -0.5)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_xlabel("points of Acc@0.5, 95 %: thick over images, thin over seeds")
    save_figure(figure, path)


def plot_rare_words(levels: Mapping[str, Any], path: Path) -> None:
    """Plot Acc@0.5 on queries with one rare word by its number of training queries, with and without exemplars."""
    words = list(WORD_LIMITS["rare words"])
    half = len(words) // 2
    figure, panels = new_figure(9, 3.4, 2, columns=2)
    for axes, title, rare in zip(panels, ("colors", "categories"), (words[:half], words[half:]), strict=True):
        groups = [*(f"rare word {word}" for word in rare), "no rare word"]
        labels = [f"{count}\n{word}" for count, word in zip(FREQUENCIES, [*rare, "all others"], strict=True)]
        series = {
            name: [_get_bar(levels[variant].get(group)) for group in groups]
            for name, variant in (("base", "base, rare words"), ("exemplars", "exemplars, rare words"))
        }
        plot_bars(axes, labels, series, "Acc@0.5 (%)", f"{title}, by training queries that say them")
    save_figure(figure, path)


def _get_bar(level: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    if level is None:
        return None
    entry = level["accuracy"]
    low, high = (entry["mean"] if entry[end] is None else entry[end] for end in ("low", "high"))
    return 100 * entry["mean"], 100 * low, 100 * high
