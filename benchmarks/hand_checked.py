"""Labels of 600 random queries of the validation splits, made before the parser's answers were known.

``read_queries.tsv`` names each query by dataset and row of the TransVG split file, and holds no text of the datasets.
`` / `` separates equally right answers (the second one was added after both were compared). An empty answer is valid.
Colors are ``color:lemma of the object``. Location has the words about the target; words about another object may be
found as well.

The grammar was written with rounds 1 and 2 (300 and 200 queries) at hand. Round 3 (100) was first used when the grammar
was finished, so it is the unbiased one: 95 % of the heads and 89 % of the prompts were right. The errors it showed were
fixed afterwards.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generation.parsing.attributes import AttributeParser, Attributes
from generation.priors.prompt import build_prompt_text
from shards.sources.isolated import read_pickle

LABELS = Path(__file__).with_name("read_queries.tsv")


@dataclass(frozen=True, kw_only=True)
class HandChecked:
    """Query with its right answers."""

    query: str
    round: int
    heads: tuple[str, ...]
    colors: tuple[frozenset[tuple[str, str]], ...]
    locations: tuple[frozenset[str], ...]
    prompts: tuple[str, ...]

    def find_wrong(self, read: Attributes) -> dict[str, str]:
        """Return the parser's wrong answers for ``head``, ``colors``, ``location`` and ``prompt``."""
        prompt, words_said = build_prompt_text(read), {*read.absolute_location, *read.ordinals}
        words_said = {word for words in words_said for word in (words, *words.split())}
        right = {
            "head": (read.target.lemma in self.heads, read.target.lemma),
            "colors": (frozenset(read.colors) in self.colors, str(sorted(read.colors))),
            "location": (any(expected <= words_said for expected in self.locations), " ".join(sorted(words_said))),
            "prompt": (prompt in self.prompts, prompt),
        }
        return {what: answer for what, (is_right, answer) in right.items() if not is_right}


def read_hand_checked(real: Path) -> Iterator[HandChecked]:
    """Read the labeled queries, with their texts from ``real/transvg/<name>/<name>_val.pth``."""
    texts: dict[str, list[str]] = {}
    with LABELS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            name = row["data set"]
            if name not in texts:
                rows = read_pickle(real / "transvg" / name / f"{name}_val.pth")
                texts[name] = [str(one[3]) for one in rows]
            yield HandChecked(
                query=texts[name][int(row["row"])],
                round=int(row["round"]),
                heads=tuple(_split_answers(row["head"])),
                colors=tuple(frozenset(map(_parse_color, answer.split())) for answer in _split_answers(row["colors"])),
                locations=tuple(frozenset(answer.split()) for answer in _split_answers(row["location"])),
                prompts=tuple(_split_answers(row["prompts"])),
            )


def _split_answers(cell: str) -> list[str]:
    return [answer.strip() for answer in f" {cell} ".split(" / ")]


def _parse_color(text: str) -> tuple[str, str]:
    color, _, owner = text.partition(":")
    return color, owner


def check_parser(parser: AttributeParser, real: Path) -> list[tuple[HandChecked, dict[str, str]]]:
    """Return every labeled query with the parser's wrong answers."""
    labeled = list(read_hand_checked(real))
    read = parser.parse([one.query for one in labeled])
    return [(one, one.find_wrong(answer)) for one, answer in zip(labeled, read, strict=True)]
