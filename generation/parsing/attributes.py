"""What a referring expression says about its target, as typed attributes.

    AttributeParser().parse(["2nd man from left in red shirt"])[0].wearing[0].colours == ("red",)

Wordings are made one form (`generation.parsing.normalization`), misspellings corrected, location words taken out
(`generation.parsing.location`), what is left is tagged, and a small grammar of noun phrases and connectors
(`generation.parsing.grammar`) says who wears, holds and does what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from generation.errors import GenerationError
from generation.parsing.coco_categories import category_of
from generation.parsing.grammar import Action, Related, read_phrase
from generation.parsing.location import Located, take_out_location
from generation.parsing.normalization import is_empty, normalised, with_possessives
from generation.parsing.noun_phrases import Thing
from generation.parsing.spelling import corrected
from generation.parsing.tagging import SPACY_MODEL, Tag, Tagger
from generation.parsing.tokens import Word

MAX_WORDS = 120
"""Words of a query that are read; the longest of RefCOCOg has 60."""


class EmptyQueryError(GenerationError):
    """A query without a single letter or digit."""


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What one query says. Everything but the three location fields and ``related`` can be seen of the target alone."""

    query: str
    """The text after normalisation: lower case, single spaces, no control characters."""

    target: Thing
    """The head noun with its own attributes; ``lemma`` is empty for "left one" or "the big yellow one"."""

    kind: str
    """``person``, ``animal``, ``garment``, ``part``, ``stuff``, ``thing`` or ``unknown``."""

    category: str = ""
    """COCO category that the target most likely belongs to; empty where the head names none of them."""

    wearing: tuple[Thing, ...] = ()
    carrying: tuple[Thing, ...] = ()
    parts: tuple[Thing, ...] = ()
    """What it has or contains: "with pink sprinkles", "of wine"."""

    owner: Thing | None = None
    """Whose part the target is: "man's arm"."""

    actions: tuple[Action, ...] = ()
    related: tuple[Related, ...] = ()
    negated: tuple[str, ...] = ()
    """Words after "not", "no", "without"."""

    inscription: str = ""
    """What is written on it: the words after "says"."""

    absolute_location: tuple[str, ...] = ()
    relative_location: tuple[str, ...] = ()
    """Relations that are spatial, such as ``left of``."""

    ordinals: tuple[str, ...] = ()
    truncated: bool = False
    """Whether words beyond ``MAX_WORDS`` were left unread."""

    @property
    def colours(self) -> tuple[tuple[str, str], ...]:
        """(colour, lemma of what it modifies) over the target and what it wears, carries, has and acts with."""
        owner = () if self.owner is None else (self.owner,)
        acted = tuple(action.thing for action in self.actions if action.thing is not None)
        things = (self.target, *owner, *self.wearing, *self.carrying, *self.parts, *acted)
        return tuple(pair for thing in things for pair in thing.colours_with_owner)

    def to_json(self) -> dict[str, Any]:
        """JSON values; fields that say nothing are left out."""
        record: dict[str, Any] = _without_empty(asdict(self))
        return {**record, "kind": self.kind}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_empty(v) for k, v in value.items() if v not in (None, "", (), {}, False)}
    if isinstance(value, (list, tuple)):
        return [_without_empty(v) for v in value]
    return value


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    query: str
    located: Located
    words: tuple[str, ...]
    written: dict[str, str] = field(repr=False)
    """Corrected word to the word as written."""

    truncated: bool


class AttributeParser:
    """Parses queries in batches.

    Args:
        model: name or folder of an English spaCy pipeline with a tagger and a lemmatizer.
        batch_size: queries that spaCy tags at a time.

    Raises:
        OSError: if the model is not installed; spaCy's message says how to get it.
    """

    def __init__(self, model: str = SPACY_MODEL, batch_size: int = 512) -> None:
        self._tagger = Tagger(model, batch_size)

    def parse(self, texts: Iterable[str]) -> list[Attributes]:
        """The attributes of each text, in order; a text that comes again is read once.

        Raises:
            EmptyQueryError: for a text without letters or digits; see `is_empty`.
        """
        texts = list(texts)
        prepared = {text: _prepare(text) for text in dict.fromkeys(texts)}
        tagged = self._tagger.tag([one.words for one in prepared.values()])
        read = {text: _attributes(one, tags) for (text, one), tags in zip(prepared.items(), tagged, strict=True)}
        return [read[text] for text in texts]


def _prepare(text: str) -> _Prepared:
    if is_empty(text):
        raise EmptyQueryError(f"the query {text!r} has neither a letter nor a digit; leave it out")
    query = normalised(text)
    written: dict[str, str] = {}
    words = query.split()
    meant = []
    for word in words[:MAX_WORDS]:
        right = corrected(word)
        written[right] = word
        meant.append(right)
    located = take_out_location(with_possessives(" ".join(meant)))
    return _Prepared(
        query=query,
        located=located,
        words=tuple(located.text.split()),
        written=written,
        truncated=len(words) > MAX_WORDS,
    )


def _attributes(prepared: _Prepared, tags: Sequence[Tag]) -> Attributes:
    words = [
        Word(text=text, surface=prepared.written.get(text, text.rstrip("_")), lemma=lemma, pos=pos)
        for text, (pos, lemma) in zip(prepared.words, tags, strict=True)
    ]
    phrase = read_phrase(words)
    return Attributes(
        query=prepared.query,
        target=_as_said(phrase.target, prepared.located),
        kind=phrase.kind,
        category=category_of(phrase.target, phrase.kind, phrase.owner),
        wearing=tuple(phrase.wearing),
        carrying=tuple(phrase.carrying),
        parts=tuple(phrase.parts),
        owner=phrase.owner,
        actions=tuple(phrase.actions),
        related=tuple(phrase.related),
        negated=tuple(phrase.negated),
        inscription=" ".join(phrase.inscription),
        absolute_location=prepared.located.absolute,
        relative_location=tuple(word[1:].replace("_", " ") for word in prepared.words if word.startswith("@")),
        ordinals=prepared.located.ordinals,
        truncated=prepared.truncated,
    )


def _as_said(target: Thing, located: Located) -> Thing:
    """The head as said, where that is a part ("top of the sky") or only a place ("bottom left corner")."""
    if located.part and target.noun:
        return replace(target, surface=located.part, lemma=located.part)
    place = next((word for word in reversed(located.absolute) if word in _PLACES), "")
    return replace(target, surface=place, lemma=place) if place and target == Thing() else target


_PLACES = {"corner", "side", "edge", "row", "end", "top", "bottom", "middle", "center", "background", "foreground"}
