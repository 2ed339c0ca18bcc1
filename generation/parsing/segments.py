"""Segments of a query, cut at its connectors; a connector gives the role of the words after it.

    blue shirt man | holding umbrella | @left_of bus

A segment that belongs to the one before is folded into it: "a piece | of bread", "covered | in snow".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from generation.parsing import lexicon as lex
from generation.parsing.noun_phrases import NounPhrase, add_modifiers, find_noun_phrases, infer_kind
from generation.parsing.tokens import LIVING, MODIFIERS, Word, is_noun, is_participle, is_verb


@dataclass(slots=True)
class Segment:
    """Connector, its role, the words after it, and their noun phrases."""

    role: str
    connector: str
    words: list[Word]
    noun_phrases: list[NounPhrase] = field(default_factory=list)
    is_continuation: bool = False
    """Continues an enumeration: "and glasses" after "with a hat"."""

    @property
    def has_no_noun(self) -> bool:
        """No noun follows the connector, such as "riding" before "on a bike"."""
        return not any(noun_phrase.noun for noun_phrase in self.noun_phrases)


def split_segments(words: list[Word]) -> list[Segment]:
    """Split normalized words into segments; the first one is the target's and may be empty."""
    segments: list[Segment] = []
    for segment in _split_at_connectors(words):
        found = segment.noun_phrases = list(find_noun_phrases(segment.words))
        if segment.role not in ("target", "joined") and len(found) > 1 and not found[-1].noun:
            segment.noun_phrases = [*found[:-2], add_modifiers(found[-2], found[-1])]  # "arms crossed"
        if not (segments and _fold_segment(segments[-1], segment)):
            segments.append(segment)
    return segments


def _fold_segment(before: Segment, segment: Segment) -> bool:
    """Fold a segment into the one before if it belongs to it; return whether it did."""
    if segment.role == "of":
        return _fold_of(before, segment)
    if before.role == "action" and before.has_no_noun and segment.noun_phrases and not segment.has_no_noun:
        return _fold_action(before, segment)
    if before.role == "having" and segment.role in ("on", "in") and before.noun_phrases and segment.noun_phrases:
        posture, place = before.noun_phrases[-1], segment.noun_phrases[0]
        if infer_kind(posture) == "part" and (infer_kind(place) == "part" or place.lemma == "pocket"):
            noun = f"{posture.noun} {segment.connector} {place.noun}"
            before.noun_phrases[-1] = replace(posture, noun=noun, plural=posture.plural or place.plural)
            return True
    return False


def _fold_of(before: Segment, segment: Segment) -> bool:
    """Fold "holding a piece of bread", "behind a group of people"; the grammar handles the target's own "of"."""
    if before.role == "target" or not segment.noun_phrases:
        return False
    if segment.is_continuation and before.role == "of":
        before.noun_phrases, before.words = (
            [*before.noun_phrases, *segment.noun_phrases],
            [*before.words, *segment.words],
        )
        return True
    if before.has_no_noun:
        if before.role == "action":
            segment.role = "related"  # "eating out of a basket"
            return False
        before.noun_phrases = segment.noun_phrases
        return before.role == "related"
    if before.role == "joined" and infer_kind(before.noun_phrases[-1]) == "part":
        return False
    last = before.noun_phrases[-1]
    before.noun_phrases[-1] = replace(
        last, contents=(*last.contents, *(noun_phrase for noun_phrase in segment.noun_phrases if noun_phrase.noun))
    )
    before.words = [*before.words, *segment.words]
    return True


def _fold_action(before: Segment, segment: Segment) -> bool:
    """Fold a preposition into its verb: "covered in snow", "riding on a bike", "talking on a phone"."""
    filled = before.connector in lex.FILLED and segment.connector in ("in", "with", "of", "into")
    ridden = segment.role == "on" and segment.noun_phrases[0].lemma in lex.RIDDEN
    if not (filled or ridden):
        return False
    riding = before.connector == "riding"
    before.connector = before.connector if riding else f"{before.connector} {segment.connector}"
    before.words, before.noun_phrases = [*before.words, *segment.words], segment.noun_phrases
    return True


def _split_at_connectors(words: list[Word]) -> Iterator[Segment]:
    """Split at connectors; an enumeration ("hat and glasses") keeps the role."""
    current = Segment("target", "", [])
    for i, word in enumerate(words):
        role = _find_role(word, words, i, current)
        if role is None:
            current.words.append(word)
            continue
        is_continuation = role == "and" and word.text == "and" and current.role != "target"
        connector = current.connector if is_continuation else word.text
        if role == "and":
            role = current.role if is_continuation else "joined"
        if current.words or current.role != "target":
            yield current
        current = Segment(role, connector, [], is_continuation=is_continuation)
    yield current


def _find_role(word: Word, words: list[Word], i: int, current: Segment) -> str | None:
    """Find the role that a word gives to the following ones; None for a word of the phrase itself."""
    text = word.text
    if text.startswith("@"):
        return "related"
    if text in lex.ARTICLES and any(is_noun(one) for one in current.words):
        return "joined"
    following = words[i + 1].text if i + 1 < len(words) else ""
    opens_clause = following in lex.DETERMINERS or text == "where"
    if text in lex.RELATIVES and opens_clause and any(is_noun(one) for one in current.words):
        return "related"  # "chair that the girl is on", not "man that is sitting"
    if text in lex.PEOPLE and _opens_reduced_clause(words, i, current):
        return "related"
    if text in ("and", ","):
        return _find_role_of_and(words, i, current)
    for role, connectors in _CONNECTORS.items():
        if text in connectors:
            return role
    if is_verb(word):
        return _find_role_of_verb(word, words, i, current)
    if _is_placed(word, words, i, current):
        return "related"
    if text == "like" and i and words[i - 1].text in ("look", "looks", "looking"):
        return "related"
    return "related" if text in lex.RELATIONS and text not in ("up", "down", "off", "out", "about", "like") else None


def _opens_reduced_clause(words: list[Word], i: int, current: Segment) -> bool:
    """Return whether a clause about another object begins without "that": "chair girl is sitting on"."""
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    clause = bool(after) and after[0].text in ("is", "are", "was")
    return clause and current.role == "target" and bool(before) and before[0].text in lex.OBJECT_NOUNS


_CONNECTORS = {
    "negated": lex.NEGATIONS,
    "wearing": lex.WEARING,
    "carrying": lex.HOLDING,
    "having": lex.HAVING,
    "in": frozenset({"in"}),
    "on": frozenset({"on"}),
    "of": frozenset({"of"}),
    "inscribed": lex.INSCRIBED,
}


def _find_role_of_and(words: list[Word], i: int, current: Segment) -> str | None:
    """Find the role of "and": none in "red and white shirt", another object in "hat and glasses"."""
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    if before and after and before[0].text in lex.COLORS and after[0].text in lex.COLORS and words[i].text == "and":
        return None
    has_noun = any(is_noun(word) for word in current.words)
    return "and" if has_noun and after else None


def _find_role_of_verb(word: Word, words: list[Word], i: int, current: Segment) -> str | None:
    """Find the role of a verb: none before the head ("sitting man"), else an action."""
    has_noun = any(is_noun(one) for one in current.words)
    following = words[i + 1] if i + 1 < len(words) else None
    starts = current.role == "target" or not current.words or current.words[-1].text in lex.ARTICLES
    if starts and not has_noun and following is not None and _is_before_noun(word, following):
        return None
    return "action"


def _is_placed(word: Word, words: list[Word], i: int, current: Segment) -> bool:
    """Return whether a participle gives a place: "cloth draped over the table", but not "arms folded on"."""
    following = words[i + 1].text if i + 1 < len(words) else ""
    if not (is_participle(word) or word.text in lex.PLACED) or following not in _PREPOSITIONS:
        return False
    nouns = [one for one in current.words if is_noun(one)]
    return bool(nouns) and nouns[-1].text not in lex.BODY_PARTS


_PREPOSITIONS = lex.RELATIONS | {"of", "with"}


def _is_before_noun(verb: Word, following: Word) -> bool:
    """Return whether a verb modifies the next noun ("moving car") instead of having it as object ("eating pizza")."""
    if verb.text in lex.OBJECT_ACTIONS:
        return following.text in LIVING
    return verb.text in lex.POSTURES or is_noun(following) or following.text in MODIFIERS
