"""A query cut at its connectors; each says what the words after it are to those before.

    blue shirt man | holding umbrella | @left_of bus

What belongs to the segment before it is folded into that one: "a piece | of bread", "covered | in snow".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from generation.parsing import lexicon as lex
from generation.parsing.noun_phrases import Thing, kind_of, things_in, with_modifiers
from generation.parsing.tokens import LIVING, MODIFIERS, Word, is_noun, is_participle, is_verb


@dataclass(slots=True)
class Segment:
    """A connector, its role, the words after it, and the things that these name."""

    role: str
    connector: str
    words: list[Word]
    things: list[Thing] = field(default_factory=list)
    goes_on: bool = False
    """Whether it goes on with an enumeration: "and glasses" after "with a hat"."""

    @property
    def names_nothing(self) -> bool:
        """Whether it is a connector alone, such as "riding" before "on a bike"."""
        return not any(thing.noun for thing in self.things)


def segments_of(words: list[Word]) -> list[Segment]:
    """The segments of prepared words, in order; the first one is the target's and may be empty."""
    segments: list[Segment] = []
    for segment in _cut(words):
        segment.things = list(things_in(segment.words))
        if segment.role not in ("target", "joined"):
            segment.things = _with_what_follows(segment.things)
        if not (segments and _folded(segments[-1], segment)):
            segments.append(segment)
    return segments


def _with_what_follows(things: list[Thing]) -> list[Thing]:
    """ "arms crossed": modifiers after a noun are its own."""
    if len(things) > 1 and not things[-1].noun:
        return [*things[:-2], with_modifiers(things[-2], things[-1])]
    return things


def _folded(before: Segment, segment: Segment) -> bool:
    """Add a segment to the one before where it is that one's own; False where it is not."""
    if segment.role == "of":
        return _folded_of(before, segment)
    if before.role == "action" and before.names_nothing and segment.things and not segment.names_nothing:
        return _folded_action(before, segment)
    if before.role == "having" and segment.role in ("on", "in") and before.things and segment.things:
        posture, place = before.things[-1], segment.things[0]
        if kind_of(posture) == "part" and (kind_of(place) == "part" or place.lemma == "pocket"):
            noun = f"{posture.noun} {segment.connector} {place.noun}"
            before.things[-1] = replace(posture, noun=noun, plural=posture.plural or place.plural)
            return True
    return False


def _folded_of(before: Segment, segment: Segment) -> bool:
    """ "holding a piece of bread", "behind a group of people"; the target's own "of" is the grammar's to read."""
    if before.role == "target" or not segment.things:
        return False
    if segment.goes_on and before.role == "of":
        before.things, before.words = [*before.things, *segment.things], [*before.words, *segment.words]
        return True
    if before.names_nothing:
        if before.role == "action":
            segment.role = "related"  # "eating out of a basket"
            return False
        before.things = segment.things
        return before.role == "related"
    if before.role == "joined" and kind_of(before.things[-1]) == "part":
        return False
    last = before.things[-1]
    before.things[-1] = replace(last, contents=(*last.contents, *(thing for thing in segment.things if thing.noun)))
    before.words = [*before.words, *segment.words]
    return True


def _folded_action(before: Segment, segment: Segment) -> bool:
    """ "covered in snow", "riding on a bike", "talking on a phone": the preposition is the verb's."""
    filled = before.connector in lex.FILLED and segment.connector in ("in", "with", "of", "into")
    ridden = segment.role == "on" and segment.things[0].lemma in lex.RIDDEN
    if not (filled or ridden):
        return False
    riding = before.connector == "riding"
    before.connector = before.connector if riding else f"{before.connector} {segment.connector}"
    before.words, before.things = [*before.words, *segment.words], segment.things
    return True


def _cut(words: list[Word]) -> Iterator[Segment]:
    """Cut at connectors; an enumeration ("hat and glasses") goes on in the role before it."""
    current = Segment("target", "", [])
    for i, word in enumerate(words):
        role = _role(word, words, i, current)
        if role is None:
            current.words.append(word)
            continue
        goes_on = role == "and" and word.text == "and" and current.role != "target"
        connector = current.connector if goes_on else word.text
        if role == "and":
            role = current.role if goes_on else "joined"
        if current.words or current.role != "target":
            yield current
        current = Segment(role, connector, [], goes_on=goes_on)
    yield current


def _role(word: Word, words: list[Word], i: int, current: Segment) -> str | None:
    """The role that a word opens for what follows; None for a word of the phrase itself."""
    text = word.text
    if text.startswith("@"):
        return "related"
    if text in lex.ARTICLES and any(is_noun(one) for one in current.words):
        return "joined"
    if text in lex.RELATIVES and _opens_clause(words, i, current):
        return "related"
    if text in lex.PEOPLE and _opens_reduced_clause(words, i, current):
        return "related"
    if text in ("and", ","):
        return _role_of_and(words, i, current)
    for role, connectors in _CONNECTORS.items():
        if text in connectors:
            return role
    if is_verb(word):
        return _role_of_verb(word, words, i, current)
    if _is_placed(word, words, i, current):
        return "related"
    if text == "like" and i and words[i - 1].text in ("look", "looks", "looking"):
        return "related"
    return "related" if text in lex.RELATIONS and text not in ("up", "down", "off", "out", "about", "like") else None


def _opens_clause(words: list[Word], i: int, current: Segment) -> bool:
    """Whether "that" opens a clause about another thing: "chair that the girl is on", not "man that is sitting"."""
    following = words[i + 1].text if i + 1 < len(words) else ""
    return any(is_noun(word) for word in current.words) and (following in lex.DETERMINERS or words[i].text == "where")


def _opens_reduced_clause(words: list[Word], i: int, current: Segment) -> bool:
    """ "chair girl is sitting on": a clause about another one, without "that"."""
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    clause = bool(after) and after[0].text in ("is", "are", "was")
    return clause and current.role == "target" and bool(before) and before[0].text in lex.THINGS


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


def _role_of_and(words: list[Word], i: int, current: Segment) -> str | None:
    """ "red and white shirt" joins colours and stays; "hat and glasses" opens another thing."""
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    if before and after and before[0].text in lex.COLOURS and after[0].text in lex.COLOURS and words[i].text == "and":
        return None
    has_noun = any(is_noun(word) for word in current.words)
    return "and" if has_noun and after else None


def _role_of_verb(word: Word, words: list[Word], i: int, current: Segment) -> str | None:
    """A verb before the head ("sitting man") stays in the phrase; elsewhere it opens its object."""
    has_noun = any(is_noun(one) for one in current.words)
    following = words[i + 1] if i + 1 < len(words) else None
    starts = current.role == "target" or not current.words or current.words[-1].text in lex.ARTICLES
    if starts and not has_noun and following is not None and _is_before_noun(word, following):
        return None
    return "action"


def _is_placed(word: Word, words: list[Word], i: int, current: Segment) -> bool:
    """ "cloth draped over the table", "car led by a man": a participle that says where; not "arms folded on"."""
    following = words[i + 1].text if i + 1 < len(words) else ""
    if not (is_participle(word) or word.text in lex.PLACED) or following not in _PREPOSITIONS:
        return False
    nouns = [one for one in current.words if is_noun(one)]
    return bool(nouns) and nouns[-1].text not in lex.BODY_PARTS


_PREPOSITIONS = lex.RELATIONS | {"of", "with"}


def _is_before_noun(verb: Word, following: Word) -> bool:
    """Whether a verb describes the noun after it ("moving car") instead of taking it as object ("eating pizza")."""
    if verb.text in lex.OBJECT_ACTIONS:
        return following.text in LIVING
    return verb.text in lex.POSTURES or is_noun(following) or following.text in MODIFIERS
