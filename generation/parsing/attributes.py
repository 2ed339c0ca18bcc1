"""Parser of a referring expression into typed attributes of its target.

    AttributeParser().parse(["2nd man from left in red shirt"])[0].wearing[0].colors == ("red",)

The parser normalizes the wording (`generation.parsing.normalization`), corrects misspellings, extracts location words
(`generation.parsing.location`) and tags the remaining words. A small grammar of noun phrases and connectors
(`generation.parsing.grammar`) then assigns clothes, carried objects and actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from generation.errors import GenerationError
from generation.parsing.coco_categories import infer_category
from generation.parsing.comparison import extract_comparison
from generation.parsing.grammar import Action, RelatedObject, parse_words
from generation.parsing.location import ExtractedLocation, extract_location
from generation.parsing.normalization import is_empty, normalize_text, separate_possessives
from generation.parsing.noun_phrases import NounPhrase
from generation.parsing.spelling import correct_spelling
from generation.parsing.tagging import SPACY_MODEL, Tag, Tagger
from generation.parsing.tokens import Word

MAX_WORDS = 120
"""Maximum words of a query that are parsed; the longest query of RefCOCOg has 60."""


class EmptyQueryError(GenerationError):
    """A query without a single letter or digit."""


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """Attributes in a query.

    All but the three location fields, ``comparison`` and ``related`` are visible on the target alone.
    """

    query: str
    """Normalized text: lower case, single spaces, no control characters."""

    target: NounPhrase
    """Head noun with its own attributes; ``lemma`` is empty for "left one" or "the big yellow one"."""

    kind: str
    """Kind of the target: ``person``, ``animal``, ``garment``, ``part``, ``stuff``, ``object`` or ``unknown``."""

    category: str = ""
    """Most likely COCO category of the target; empty if the head names none."""

    wearing: tuple[NounPhrase, ...] = ()
    carrying: tuple[NounPhrase, ...] = ()
    parts: tuple[NounPhrase, ...] = ()
    """Parts or contents: "with pink sprinkles", "of wine"."""

    owner: NounPhrase | None = None
    """Owner of a target that is a part: "man's arm"."""

    actions: tuple[Action, ...] = ()
    related: tuple[RelatedObject, ...] = ()
    negated: tuple[str, ...] = ()
    """Words after "not", "no", "without"."""

    inscription: str = ""
    """Text on the target: the words after "says"."""

    absolute_location: tuple[str, ...] = ()
    relative_location: tuple[str, ...] = ()
    """Spatial relations, such as ``left of``."""

    ordinals: tuple[str, ...] = ()
    comparison: str = ""
    """Comparison with other objects of the image: "different", "same", also with an attribute, "same color"."""

    truncated: bool = False
    """Words beyond ``MAX_WORDS`` were ignored."""

    @property
    def colors(self) -> tuple[tuple[str, str], ...]:
        """(color, lemma) pairs of the target, its owner, clothes, carried objects, parts and objects of actions."""
        owner = () if self.owner is None else (self.owner,)
        acted = tuple(action.noun_phrase for action in self.actions if action.noun_phrase is not None)
        noun_phrases = (self.target, *owner, *self.wearing, *self.carrying, *self.parts, *acted)
        return tuple(pair for noun_phrase in noun_phrases for pair in noun_phrase.colors_with_owner)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values without empty fields."""
        record: dict[str, Any] = _drop_empty(asdict(self))
        return {**record, "kind": self.kind}


def _drop_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _drop_empty(v) for k, v in value.items() if v not in (None, "", (), {}, False)}
    if isinstance(value, (list, tuple)):
        return [_drop_empty(v) for v in value]
    return value


@dataclass(frozen=True, kw_only=True)
class _PreparedQuery:
    query: str
    extracted: ExtractedLocation
    comparison: str
    words: tuple[str, ...]
    surface_forms: dict[str, str] = field(repr=False)
    """Word as written, by corrected word."""

    truncated: bool


class AttributeParser:
    """Parser of queries in batches.

    Args:
        model: name or folder of an English spaCy pipeline with a tagger and a lemmatizer.
        batch_size: number of queries that spaCy tags at once.

    Raises:
        OSError: the model is not installed; spaCy's message says how to install it.
    """

    def __init__(self, model: str = SPACY_MODEL, batch_size: int = 512) -> None:
        self._tagger = Tagger(model, batch_size)

    def parse(self, texts: Iterable[str]) -> list[Attributes]:
        """Parse each text, in order; repeated texts are parsed once.

        Raises:
            EmptyQueryError: a text has no letter and no digit; see `is_empty`.
        """
        texts = list(texts)
        prepared = {text: _prepare_query(text) for text in dict.fromkeys(texts)}
        tagged = self._tagger.tag([one.words for one in prepared.values()])
        by_text = {
            text: _build_attributes(one, tags) for (text, one), tags in zip(prepared.items(), tagged, strict=True)
        }
        return [by_text[text] for text in texts]


def _prepare_query(text: str) -> _PreparedQuery:
    if is_empty(text):
        raise EmptyQueryError(f"the query {text!r} has neither a letter nor a digit; remove it")
    query = normalize_text(text)
    surface_forms: dict[str, str] = {}
    words = query.split()
    corrected_words = []
    for word in words[:MAX_WORDS]:
        correction = correct_spelling(word)
        surface_forms[correction] = word
        corrected_words.append(correction)
    text, comparison = extract_comparison(" ".join(corrected_words))
    extracted = extract_location(separate_possessives(text))
    return _PreparedQuery(
        query=query,
        extracted=extracted,
        comparison=comparison,
        words=tuple(extracted.text.split()),
        surface_forms=surface_forms,
        truncated=len(words) > MAX_WORDS,
    )


def _build_attributes(prepared: _PreparedQuery, tags: Sequence[Tag]) -> Attributes:
    words = [
        Word(text=text, surface=prepared.surface_forms.get(text, text.rstrip("_")), lemma=lemma, pos=pos)
        for text, (pos, lemma) in zip(prepared.words, tags, strict=True)
    ]
    parsed = parse_words(words)
    return Attributes(
        query=prepared.query,
        target=_restore_location_head(parsed.target, prepared.extracted),
        kind=parsed.kind,
        category=infer_category(parsed.target, parsed.kind, parsed.owner),
        wearing=tuple(parsed.wearing),
        carrying=tuple(parsed.carrying),
        parts=tuple(parsed.parts),
        owner=parsed.owner,
        actions=tuple(parsed.actions),
        related=tuple(parsed.related),
        negated=tuple(parsed.negated),
        inscription=" ".join(parsed.inscription),
        absolute_location=prepared.extracted.absolute,
        relative_location=tuple(word[1:].replace("_", " ") for word in prepared.words if word.startswith("@")),
        ordinals=prepared.extracted.ordinals,
        comparison=prepared.comparison,
        truncated=prepared.truncated,
    )


def _restore_location_head(target: NounPhrase, extracted: ExtractedLocation) -> NounPhrase:
    """Restore a head that is a part ("top of the sky") or only a place ("bottom left corner")."""
    if extracted.part and target.noun:
        return replace(target, surface=extracted.part, lemma=extracted.part)
    place = next((word for word in reversed(extracted.absolute) if word in _LOCATION_NOUNS), "")
    return replace(target, surface=place, lemma=place) if place and target == NounPhrase() else target


_LOCATION_NOUNS = {
    "corner",
    "side",
    "edge",
    "row",
    "end",
    "top",
    "bottom",
    "middle",
    "center",
    "background",
    "foreground",
}
