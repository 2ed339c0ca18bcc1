"""Styles measured on queries: how often people use each relation type, length, template and word.

style = measure_style([MeasuredQuery(text="2nd zebra from left", category="zebra", target="image 1, object 2")], nouns)
style = load_style("refcoco-measured")        # shipped, or a JSON file of ``MeasuredStyle.write``

A style holds numbers, function words and words of the vocabulary, and no query.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from augmentation.errors import AugmentationError
from augmentation.queries.templates import VARIED, PhraseTemplates
from augmentation.relations.types import RELATION_TYPES, RelationType
from generation.parsing.english import ORDINALS
from generation.parsing.lexicon import COLORS, LOCATION_WORDS, PATTERNS
from generation.parsing.normalization import normalize_text
from generation.parsing.spelling import correct_spelling
from pipeline import write_atomic

SHIPPED = ("refcoco-measured", "refcoco+-measured", "refcocog-measured")
"""Styles in the package, measured on the public validation splits (images with an even id)."""

MIN_TYPE_SHARE = 0.005
"""Minimum share of a relation type in a style; rarer types are errors of writers and are not used."""

SUPERLATIVE_WORDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "biggest": (("biggest", "largest", "big", "large"), ("bigger", "larger")),
    "smallest": (("smallest", "small", "little"), ("smaller",)),
    "tallest": (("tallest", "tall"), ("taller",)),
    "shortest": (("shortest", "short"), ("shorter",)),
}
"""Words of a measure, and its comparatives, which need exactly two objects."""

MARKS: Mapping[str, str] = {"striped": "stripes", "dotted": "dots", "checkered": "checks"}
"""Noun of what an object with a pattern has."""

IMAGE_WORDS = ("image", "picture", "photo", "pic")
SIDE_WORDS: Mapping[str, tuple[str, ...]] = {
    "top left": ("top left", "upper left"),
    "top right": ("top right", "upper right"),
    "bottom left": ("bottom left", "lower left"),
    "bottom right": ("bottom right", "lower right"),
}
"""Words of corners."""

_TYPES: Mapping[str, RelationType] = {
    "negated": "attribute",
    "noun_only": "attribute",
    "horizontal_extreme": "side",
    "horizontal_side": "side",
    "vertical_extreme": "side",
    "vertical_side": "side",
    "far_side": "side",
    "ordinal": "ordinal",
    "middle": "middle",
    "in_middle": "region",
    "on_side": "region",
    "in_half": "region",
    "corner": "region",
    "end_of_line": "line",
    "ordinal_in_line": "line",
    "middle_of_line": "line",
    "superlative_on_side": "size",
    "superlative": "size",
    "next_to": "near",
    "nearest": "near",
    "between": "between",
    "front": "depth",
    "back": "depth",
}
"""Relation type by field of ``PhraseTemplates``."""


@dataclass(frozen=True, kw_only=True)
class MeasuredQuery:
    """A query that a style is measured on."""

    text: str
    category: str
    """Category of its target; empty if unknown."""

    target: str
    """Name of its target, the same for all queries about it."""


@dataclass(frozen=True, kw_only=True)
class MeasuredStyle:
    """Counts over queries."""

    queries_per_object: float
    """Mean number of queries about a target."""

    relation_types: Mapping[str, int]
    """Number of queries by relation type, of those that a template matches."""

    lengths: Mapping[str, int]
    """Number of queries by their number of words."""

    templates: Mapping[str, int]
    """Number of queries by template; a template and its mirror image are counted together."""

    words: Mapping[str, int]
    """Number of uses of the templates' own words."""

    nouns: Mapping[str, Mapping[str, int]]
    """Number of uses of the vocabulary's words for a category; empty for queries without a noun, "second from left"."""

    articles: Mapping[str, int]
    """Number of queries by the article at their start; empty without one."""

    misspelled_words: float
    """Share of misspelled words, from 0 to 1."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.relation_types) - set(RELATION_TYPES))
        if unknown or not any(self.relation_types.values()) or not any(self.lengths.values()):
            raise AugmentationError(
                f"a style counts relation types ({', '.join(RELATION_TYPES)}) and lengths, got "
                f"{dict(self.relation_types)} and {len(self.lengths)} lengths; write it by inspect --write-style"
            )
        for counts in (
            *(self.relation_types, self.lengths, self.templates, self.words, self.articles),
            *self.nouns.values(),
        ):
            for name, count in counts.items():
                if not isinstance(count, int) or count < 0:
                    raise AugmentationError(f"a style counts {name!r} as a whole number of 0 or more, got {count!r}")
        if not 0 <= self.misspelled_words <= 1:
            raise AugmentationError(f"misspelled_words must be a share from 0 to 1, got {self.misspelled_words}")
        if bad := [length for length in self.lengths if not length.isdecimal()]:
            raise AugmentationError(f"a style counts lengths in words, got {', '.join(map(repr, bad))}")

    @cached_property
    def placeholder_shares(self) -> Mapping[str, float]:
        """Share of the queries with "one" and of those without a noun, of all whose category is known."""
        total = sum(sum(counts.values()) for counts in self.nouns.values())
        return {
            name: sum(counts.get(name, 0) for counts in self.nouns.values()) / max(1, total) for name in ("one", "")
        }

    @cached_property
    def negated_share(self) -> float:
        """Share of the queries with a negation, of those of relation type ``attribute``."""
        return sum(self.templates.get(one, 0) for one in VARIED.negated) / max(1, self.relation_types["attribute"])

    @cached_property
    def type_shares(self) -> Mapping[RelationType, float]:
        """Share by relation type, of those that are not too rare."""
        total = sum(self.relation_types.values())
        shares = {name: self.relation_types.get(name, 0) / total for name in RELATION_TYPES}
        return {name: share for name, share in shares.items() if share >= MIN_TYPE_SHARE}

    @cached_property
    def phrase_templates(self) -> PhraseTemplates:
        """Templates that the style uses, in a fixed order; none of relation types that it lacks."""
        used: dict[str, Any] = {}
        for name, templates in _list_fields():
            is_used = _get_type(name) in self.type_shares
            used[name] = tuple(one for one in templates if is_used and self.templates.get(one))
        beside = {direction: used.pop(f"beside.{direction}") for direction in VARIED.beside}
        return replace(VARIED, **used, beside=beside)

    def write(self, path: Path) -> None:
        """Write the style as JSON."""
        write_atomic(path, json.dumps(asdict(self), indent=1) + "\n")


@cache
def load_style(name_or_file: str) -> MeasuredStyle:
    """Load a shipped style or a file of one.

    Raises:
        AugmentationError: there is no such file, or it holds no style.
    """
    shipped = files("augmentation.queries") / "styles" / f"{name_or_file}.json"
    try:
        text = shipped.read_text() if name_or_file in SHIPPED else Path(name_or_file).read_text()
        return MeasuredStyle(**json.loads(text))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AugmentationError(
            f"the style {name_or_file} cannot be read ({error}); give one of {', '.join(SHIPPED)}, or a file of "
            "inspect --write-style"
        ) from error


def measure_style(queries: Sequence[MeasuredQuery], nouns: Mapping[str, Iterable[str]]) -> MeasuredStyle:
    """Measure the style of queries.

    Args:
        queries: queries with their categories and targets.
        nouns: words for the objects of each category, as in ``VocabularyConfig.nouns``.

    Raises:
        AugmentationError: there is no query.
    """
    if not queries:
        raise AugmentationError("a style needs queries to be measured on, got none; check --annotations")
    types, templates, words, articles, lengths = (Counter[str]() for _ in range(5))
    by_category = {category: Counter[str]() for category in nouns}
    num_misspelled = 0
    for query in queries:
        raw = query.text.lower().split()
        text = " ".join(correct_spelling(word) for word in normalize_text(query.text).split() if word != ",")
        num_misspelled += sum(correct_spelling(word) != word for word in raw if word.isalpha())
        lengths[str(len(raw))] += 1
        articles[raw[0] if raw and raw[0] in ("a", "an", "the") else ""] += 1
        words.update(word for word in text.split() if word in _SLOT_WORDS)
        match, has_noun = match_template(text), not _is_adjective(text)
        if match is None:
            match, has_noun = match_template(text, without_noun=True), False
        if match:
            relation_type, template = match
            types[relation_type] += 1
            templates.update({template, " ".join(_MIRRORED.get(word, word) for word in template.split())})
        if query.category in by_category:
            used = [noun for noun in (query.category, *nouns[query.category], "one") if re.search(rf"\b{noun}\b", text)]
            by_category[query.category].update([""] if match and not has_noun and not used else used)
    return MeasuredStyle(
        queries_per_object=len(queries) / len({query.target for query in queries}),
        relation_types={name: types[name] for name in RELATION_TYPES},
        lengths={str(length): lengths[str(length)] for length in sorted(map(int, lengths))},
        templates={one: templates[one] for _, some in _list_fields() for one in some if templates[one]},
        words={word: words[word] for word in sorted(words)},
        nouns={name: dict(sorted(counts.items())) for name, counts in by_category.items() if counts},
        articles=dict(articles),
        misspelled_words=num_misspelled / sum(int(length) * count for length, count in lengths.items()),
    )


_MIRRORED = {"left": "right", "right": "left"}


def match_template(text: str, *, without_noun: bool = False) -> tuple[RelationType, str] | None:
    """Return the relation type and the template of a normalized query; None if no template matches it.

    Args:
        text: normalized query.
        without_noun: match templates whose noun is left out: "second from left".
    """
    for relation_type, template, pattern in _compile_templates(without_noun):
        match = pattern.fullmatch(text)
        if match and all(_is_noun(value) for name, value in match.groupdict().items() if name.startswith("noun")):
            return relation_type, template
    return None


def _is_adjective(text: str) -> bool:
    """Return whether a query is an adjective alone: "the red", "striped"."""
    return {word for word in text.split() if word != "the"} <= COLORS | PATTERNS


def keeps_noun(template: str) -> bool:
    """Return whether people leave the noun of a template in: "the cup that is on the left", but "second from left"."""
    return _KEEPING_NOUN.search(template) is not None


_KEEPING_NOUN = re.compile(
    r"\{a_noun\}|the \{noun\}.|\b(?:that|which|one)\b|\{(?:image|an_anchor|anchor)\}|\{noun\}.*\{ends\}"
)


def _is_noun(text: str) -> bool:
    """Return whether words may fill a noun slot: "man in red" may, but "man in" is the start of "man in middle"."""
    words = text.split()
    return _NOT_IN_NOUNS.isdisjoint(words) and _PREPOSITIONS.isdisjoint((words[0], words[-1]))


_SLOT_WORDS = frozenset(
    [
        *(word for words in ORDINALS.values() for word in words),
        *(word for pair in SUPERLATIVE_WORDS.values() for words in pair for word in words),
        *IMAGE_WORDS,
        *("upper", "lower", "top", "bottom"),
    ]
)
_PREPOSITIONS = frozenset({"on", "in", "with", "up", "your", "our", "very", "most", "far"})
_FUNCTION_WORDS = (
    "the a an of from to at is that which who by next beside between behind above below under near nearest closest"
)
_NOT_IN_NOUNS = LOCATION_WORDS | _SLOT_WORDS | set(_FUNCTION_WORDS.split())
"""Words that stand in no noun slot; else "left cup" would also match a template of a noun alone."""


def _get_type(name: str) -> RelationType:
    if name.startswith("beside."):
        if name in ("beside.on", "beside.in"):
            return "contact"
        return "depth" if name in ("beside.front", "beside.behind") else "beside"
    return _TYPES[name]


def _list_fields() -> list[tuple[str, tuple[str, ...]]]:
    """List the templates by the name of their field; fields for sides of an anchor are ``beside.left``, ..."""
    fields: list[tuple[str, tuple[str, ...]]] = [(name, getattr(VARIED, name)) for name in _TYPES]
    return [*fields, *((f"beside.{direction}", templates) for direction, templates in VARIED.beside.items())]


@cache
def _compile_templates(without_noun: bool) -> list[tuple[RelationType, str, re.Pattern[str]]]:
    return [
        (_get_type(name), template, _compile(" ".join(used.split()), name))
        for name, templates in _list_fields()
        for template in templates
        for used in [template.replace("{noun}", "").replace("{ends}", "") if without_noun else template]
        if not without_noun or (name not in ("noun_only", "negated") and not keeps_noun(template))
    ]


def _compile(template: str, name: str) -> re.Pattern[str]:
    """Compile a template with a pattern for each slot."""
    sides = {"vertical": "top|bottom", "corner": "|".join(word for words in SIDE_WORDS.values() for word in words)}
    side = sides.get(name.partition("_")[0], "top|bottom" if name == "in_half" else "left|right")
    side = "left|right|top|bottom" if name.startswith(("ordinal", "end")) else side
    slots: dict[str, Callable[[int], str]] = {
        "noun": lambda i: rf"(?P<noun{i}>\w+(?: \w+)*)",
        "a_noun": lambda i: rf"an? (?P<noun{i}>\w+(?: \w+)*)",
        "an_anchor": lambda i: rf"an? (?P<noun{i}>\w+(?: \w+)*)",
        "side": lambda i: f"(?:{side})",
        "nth": lambda i: f"(?:{'|'.join(word for words in ORDINALS.values() for word in words)})",
        "most": lambda i: _join(words for words, _ in SUPERLATIVE_WORDS.values()),
        "more": lambda i: _join(words for _, words in SUPERLATIVE_WORDS.values()),
        "image": lambda i: _join([IMAGE_WORDS]),
        "value": lambda i: r"\w+",
        "marks": lambda i: r"\w+",
        "line": lambda i: r"(?:top|bottom|left|right|second|third|2nd|3rd) (?:row|column)",
    }
    pattern = ""
    for i, (literal, slot, _, _) in enumerate(Formatter().parse(template)):
        pattern += re.escape(literal)
        if slot:
            pattern += slots.get(slot, slots["noun"])(i)
    return re.compile(pattern)


def _join(words: Iterable[Iterable[str]]) -> str:
    return f"(?:{'|'.join(word for some in words for word in some)})"
