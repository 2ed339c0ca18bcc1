"""Measure how often the parser's attributes agree with the datasets' own, and how fast it parses.

    make benchmark NAME=attributes ARGS=../shared/real
    python -m benchmarks.attributes ../shared/real --confusions 40

The argument is a folder of TransVG split files, ``transvg/<name>/<name>_val.pth``, whose rows carry the attributes r1
... r8 of the datasets' own parser. These serve for measuring only. r1 is often a place ("man bottom left": "bottom") or
the first half of a compound ("water bottle": "water"). r4 takes postures for places ("head down": "below"). Such rows
remain disagreements; those of r1 are counted. If the folder
has ``<name>_val.joined.jsonl.gz``, the parsed category is compared with COCO's. Prints tables, confusions and the
errors in 600 hand-checked queries, and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.hand_checked import check_parser
from generation.parsing import lexicon as lex
from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.normalization import is_empty, normalize_text
from generation.parsing.spelling import correct_spelling
from generation.priors.prompt import build_prompt_text
from shards.sources.isolated import read_pickle

DATASETS = {"RefCOCO": "unc", "RefCOCO+": "unc+", "RefCOCOg": "gref_umd", "ReferIt": "referit"}
"""TransVG's name of each dataset."""


_JOINED = {"RefCOCO": "refcoco", "RefCOCO+": "refcoco_plus", "RefCOCOg": "refcocog_umd", "ReferIt": "referit"}
CURRENT_NAMES = {
    "sofa": "couch", "motorbike": "motorcycle", "aeroplane": "airplane", "tvmonitor": "tv",
    "diningtable": "dining table", "pottedplant": "potted plant",
}  # fmt: skip
"""Current names of six COCO categories, by the older names in the joined files."""

_ORDINALS = {"1st": "first", "2nd": "second", "3rd": "third", "4th": "fourth", "5th": "fifth", "6th": "sixth"}


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Query whose parsed attribute differs from the annotation."""

    what: str
    query: str
    annotated: str
    read: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path, help="folder that holds transvg/<name>/<name>_val.pth")
    parser.add_argument("--confusions", type=int, default=15, metavar="N", help="most frequent ones shown of each kind")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/attributes.json"))
    options = parser.parse_args()
    attributes = AttributeParser()
    figures: dict[str, dict[str, float | int]] = {}
    confusions: list[Confusion] = []
    for name, folder in DATASETS.items():
        rows = read_pickle(options.real / "transvg" / folder / f"{folder}_val.pth")
        rows = [row for row in rows if not is_empty(row[3])]
        figures[name] = _measure_agreement(
            attributes, [row[3] for row in rows], [dict(row[4]) for row in rows], confusions
        )
    for name, figure in figures.items():
        figure |= _compare_categories(attributes, options.real / f"{_JOINED[name]}_val.joined.jsonl.gz")
    _show(figures, confusions, options.confusions)
    rounds = _evaluate_hand_checked(attributes, options.real)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**figures, "hand-checked": rounds, "machine": machine}, indent=1) + "\n")


def _measure_agreement(
    parser: AttributeParser, queries: list[str], given: list[dict[str, Any]], confusions: list[Confusion]
) -> dict[str, float | int]:
    """Measure agreement over the rows that have the attribute, and unique prompts and speed over all rows."""
    started = time.process_time()
    read = parser.parse(queries)
    seconds = time.process_time() - started
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for attr, one in zip(given, read, strict=True):
        given_head, noun = _get_annotated_head(attr, one.query), one.target.noun.split()
        total["r1"] += bool(given_head)
        doubtful = bool(given_head & _POSITION_WORDS or given_head & set(noun[:-1]))
        right["r1"] += doubtful
        for what, expected, got in (
            ("head", given_head, _get_heads(one)),
            ("color", _normalize_words(_get_words(attr, "r2")) & lex.COLORS, _normalize_words(_get_colors(one))),
            ("location", _normalize_words(_get_words(attr, "r4")), _normalize_words(_get_locations(one))),
        ):
            if not expected:
                continue
            total[what] += 1
            agrees = any(_is_same_word(a, b) for a in got for b in expected) if what == "head" else expected <= got
            right[what] += agrees
            if what == "head" and not doubtful:
                total["elsewhere"] += 1
                right["elsewhere"] += agrees
            if not agrees:
                lost = expected if what == "head" else expected - got
                confusions.append(
                    Confusion(what=what, query=one.query, annotated=_join_words(lost), read=one.target.lemma or "none")
                )
    return {
        "queries": len(queries),
        "r1 is place or half": right["r1"] / max(total["r1"], 1),
        "head agrees elsewhere": right["elsewhere"] / max(total["elsewhere"], 1),
        **{f"{what} agrees": right[what] / max(total[what], 1) for what in ("head", "color", "location")},
        "unique prompts": len({build_prompt_text(one) for one in read}),
        "queries/s": round(len(queries) / seconds),
    }


_POSITION_WORDS = lex.LOCATION_WORDS | {"part", "area", "half", "way", "picture", "photo", "one", "number", "color"}


def _compare_categories(parser: AttributeParser, joined: Path) -> dict[str, float | int]:
    """Measure how often a category is parsed and how often it is COCO's; nothing without the joined rows."""
    if not joined.is_file():
        return {}
    with gzip.open(joined, "rt") as lines:
        rows = [row for row in map(json.loads, lines) if not is_empty(row["query"])]
    read = parser.parse([row["query"] for row in rows])
    categories = [
        (one.category, CURRENT_NAMES.get(row["category"], row["category"]))
        for one, row in zip(read, rows, strict=True)
        if one.category
    ]
    return {
        "category said": len(categories) / len(rows),
        "category right": sum(one == other for one, other in categories) / len(categories),
    }


def _evaluate_hand_checked(parser: AttributeParser, real: Path) -> dict[str, dict[str, float | int]]:
    """Print the errors and the share of right answers per round."""
    checked = check_parser(parser, real)
    console = _make_console()
    table = Table("query", "wrong", "read", title="hand-checked queries that are read wrongly")
    for one, wrong in checked:
        for what, answer in wrong.items():
            table.add_row(one.query, what, answer)
    console.print(table)
    rounds: dict[str, dict[str, float | int]] = {}
    for number in sorted({one.round for one, _ in checked}):
        wrongs = [wrong for one, wrong in checked if one.round == number]
        shares = {
            what: 1 - sum(what in wrong for wrong in wrongs) / len(wrongs)
            for what in ("head", "colors", "location", "prompt")
        }
        rounds[f"round {number}"] = {"queries": len(wrongs), **shares}
    _print_figures(console, rounds, "hand-checked")
    return rounds


def _get_words(attr: dict[str, Any], name: str) -> set[str]:
    """Return the annotated words with corrected spelling; "none" marks a missing attribute."""
    given = {word for text in attr.get(name, ()) for word in normalize_text(str(text)).split() if word != "none"}
    return {correct_spelling(word) for word in given}


def _get_annotated_head(attr: dict[str, Any], query: str) -> set[str]:
    """Return r1 as the parser reads the query: "hot dog" is one word."""
    given = _get_words(attr, "r1")
    return {"hotdog"} if given == {"dog"} and "hotdog" in query else given


def _is_same_word(one: str, other: str) -> bool:
    """Return whether two words are forms of one; the annotation's lemmas are often none ("glass", "brocollus", "va").

    Compounds in one word are their last part: a "tablecloth" is a cloth.
    """
    shorter, longer = sorted((one, other), key=len)
    stem = shorter if len(shorter) < 5 else shorter[:-2]
    return (
        one == other
        or longer == f"{shorter}es"
        or (longer.endswith(shorter) and len(shorter) >= 4)
        or (longer.startswith(stem) and len(longer) - len(stem) <= 3 and len(stem) >= 2)
    )


_BASE = {
    "furthest": "farthest",
    "nearest": "closest",
    "darker": "dark",
    "lighter": "light",
    "down": "below",
    **_ORDINALS,
}


def _normalize_words(words: set[str]) -> set[str]:
    """Return the annotation's word for synonyms."""
    return {_BASE.get(word, word) for word in words}


def _get_heads(one: Attributes) -> set[str]:
    target = one.target
    last = target.surface.split()[-1:] if target.surface else target.noun.split()[-1:]
    return {target.lemma, *last} - {""}


def _get_colors(one: Attributes) -> set[str]:
    """Return the colors of the target and of other objects in the query; the latter stay out of the prompt."""
    related = {
        color for o in one.related for noun_phrase in (o.noun_phrase, *o.details) for color in noun_phrase.colors
    }
    acted = {color for action in one.actions if action.noun_phrase for color in action.noun_phrase.colors}
    return {color for color, _ in one.colors} | related | acted | set(one.negated)


def _get_locations(one: Attributes) -> set[str]:
    relations = {word for relation in one.relative_location for word in relation.split()}
    return {*one.absolute_location, *one.ordinals, *relations}


def _join_words(words: set[str]) -> str:
    return " ".join(sorted(words))


def _make_console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 150)


def _print_figures(console: Console, figures: dict[str, dict[str, float | int]], what: str) -> None:
    columns = list(dict.fromkeys(column for values in figures.values() for column in values))
    table = Table(what, *columns)
    for name, values in figures.items():
        cells = [values.get(column, "-") for column in columns]
        table.add_row(name, *(f"{v:.1%}" if isinstance(v, float) else f"{v:,}" if v != "-" else "-" for v in cells))
    console.print(table)


def _show(figures: dict[str, dict[str, float | int]], confusions: list[Confusion], shown: int) -> None:
    console = _make_console()
    _print_figures(console, figures, "dataset, val")
    for what in ("head", "color", "location"):
        pairs = Counter((one.annotated, one.read) for one in confusions if one.what == what)
        examples = {(one.annotated, one.read): one.query for one in confusions if one.what == what}
        table = Table("times", "annotated, missed", "head read", "such as", title=f"{what}: most frequent confusions")
        for (annotated, head), times in pairs.most_common(shown):
            table.add_row(str(times), annotated, head, examples[annotated, head])
        console.print(table)


if __name__ == "__main__":
    main()
