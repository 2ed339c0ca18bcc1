"""A small grammar of referring expressions: noun phrases joined by connectors.

    blue shirt man | holding umbrella | @left_of bus

The first phrase is the target; each connector ("in", "with", "holding", ...) says what the next one is to it. Within
a phrase, nouns that name different things are told apart: "guy blue shirt" is a guy who wears a blue shirt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from generation.parsing import lexicon as lex
from generation.parsing.noun_phrases import Thing, kind_of, named, with_modifiers
from generation.parsing.segments import Segment, segments_of
from generation.parsing.tokens import MODIFIERS, NEVER_NOUNS, Word, is_noun, is_verb, prepared


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the target does or the state it is in."""

    verb: str
    """As written, mostly the ``-ing`` form."""

    thing: Thing | None = None
    """What it does that with, where this belongs into the picture ("eating pizza")."""


@dataclass(frozen=True, kw_only=True)
class Related:
    """Another object and how the target stands to it; never part of a prompt."""

    relation: str
    thing: Thing
    details: tuple[Thing, ...] = ()
    """What a person among them wears, carries or has."""


@dataclass(kw_only=True)
class Phrase:
    """What the grammar reads from one query."""

    target: Thing = field(default_factory=Thing)
    kind: str = "unknown"
    wearing: list[Thing] = field(default_factory=list)
    carrying: list[Thing] = field(default_factory=list)
    parts: list[Thing] = field(default_factory=list)
    owner: Thing | None = None
    actions: list[Action] = field(default_factory=list)
    related: list[Related] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    inscription: list[str] = field(default_factory=list)
    beside: Thing | None = None
    """The other thing that was named last; what is said next can be about it."""


def read_phrase(words: list[Word]) -> Phrase:
    """Read tagged words, location taken out, into a phrase."""
    phrase = Phrase()
    words = list(prepared(words))
    negating, pending = False, False  # pending: a "not" whose object is still to come ("not holding a glass")
    for segment in segments_of(words):
        negates = segment.role == "negated"
        negating = negates or (negating and (pending or segment.role in ("in", "of", "having", "wearing")))
        pending = (negates or pending) and all(word.text in lex.SKIPPED for word in segment.words)
        things = segment.things
        if segment.role == "joined" and not phrase.target.noun and not phrase.wearing and not phrase.related:
            segment.role = "target"
        if segment.role == "target":
            _read_target(phrase, segment.words, things)
        elif segment.role == "inscribed":
            phrase.inscription += [word.surface for word in segment.words]
        elif negates and segment.connector == "not" and phrase.target == Thing() and _denies_attribute(things):
            phrase.target = Thing(surface=things[0].surface, lemma=things[0].lemma, noun=things[0].noun)
            phrase.negated += [
                word.text for word in segment.words if not is_noun(word) and word.text not in lex.SKIPPED
            ]
        elif negating:
            phrase.negated += [word.text for word in segment.words if word.text not in lex.SKIPPED]
        else:
            _attach(phrase, segment)
    if not phrase.target.noun:
        _infer_target(phrase, words)
    phrase.kind = kind_of(phrase.target)
    return phrase


def _denies_attribute(things: list[Thing]) -> bool:
    """ "not full zebra": it is the zebra that is meant, another one than the full one."""
    return len(things) == 1 and bool(things[0].noun) and things[0] != replace(Thing(), **_names(things[0]))


def _names(thing: Thing) -> dict[str, Any]:
    return {"surface": thing.surface, "lemma": thing.lemma, "noun": thing.noun, "plural": thing.plural}


def _read_target(phrase: Phrase, words: list[Word], things: list[Thing]) -> None:
    things = _with_actions_apart(phrase, words, things)
    owner = _owner(words)
    named = [thing for thing in things if thing.noun]
    if owner is not None and len(named) > 1:
        phrase.owner, named = named[0], named[1:]
        things = things[1:]
    if not named:
        phrase.target = _guessed(words, things[0] if things else Thing())
        return
    head = next((thing for thing in named if kind_of(thing) == "person"), named[0])
    phrase.target = head
    for thing in things:
        if thing is not head:
            _place(phrase, thing)


def _with_actions_apart(phrase: Phrase, words: list[Word], things: list[Thing]) -> list[Thing]:
    """ "sitting man" sits, but a "parking meter" is a kind of meter."""
    verbs = [word.text for word in words if is_verb(word) and word.text not in lex.FILLED]
    acts = not things or any(kind_of(thing) in ("person", "animal", "garment", "unknown") for thing in things)
    verbs = [verb for verb in verbs if acts or verb in lex.POSTURES]
    phrase.actions += [Action(verb=verb) for verb in verbs]
    return [replace(thing, others=tuple(o for o in thing.others if o not in verbs)) for thing in things]


def _guessed(words: list[Word], modifiers: Thing) -> Thing:
    """The last word as the head where the tagger saw no noun, most often because of a misspelling."""
    last = next((word for word in reversed(words) if word.text not in lex.SKIPPED), None)
    known = NEVER_NOUNS | (MODIFIERS - _SUBSTANCES) | lex.ADJECTIVES | lex.RELATIONS | lex.POSTURES | lex.OBJECT_ACTIONS
    if last is None or last.text in known or not last.text.isalpha() or len(last.text) < 4:
        return modifiers
    others = tuple(other for other in modifiers.others if other != last.text)
    materials = tuple(material for material in modifiers.materials if material != last.text)
    return replace(named(modifiers, last), others=others, materials=materials)


_SUBSTANCES = {"wood", "metal", "paper", "brick", "stone", "marble", "leather", "concrete", "plastic", "straw"}
"""Materials that are also named as things ("paper on desk")."""


def _owner(words: list[Word]) -> int | None:
    """Index of a possessive "'s" with a noun before and after it."""
    for i, word in enumerate(words):
        if word.text == "'s" and 0 < i < len(words) - 1 and is_noun(words[i - 1]):
            return i
    return None


def _place(phrase: Phrase, thing: Thing) -> None:
    """A thing that follows the head without a connector: clothes, loose colours, or a part."""
    target = kind_of(phrase.target)
    person = target == "person"
    if not thing.noun and not (person and (thing.colours or thing.patterns)):
        phrase.target = with_modifiers(phrase.target, thing)
    elif (person or target == "garment") and kind_of(thing) in ("garment", "unknown"):
        phrase.wearing.append(thing)
    elif person and thing.lemma in lex.CARRIED:
        phrase.carrying.append(thing)
    else:
        phrase.parts.append(thing)


def _attach(phrase: Phrase, segment: Segment) -> None:
    """Give the things of a later segment to the target, in the role that its connector says."""
    if segment.role in _ABOUT_BESIDE and _is_about_beside(phrase, segment):
        last = phrase.related[-1]
        phrase.related[-1] = replace(last, details=(*last.details, *(_as_colour(thing) for thing in segment.things)))
    elif segment.role == "action":
        _attach_action(phrase, segment)
    elif segment.role == "joined":
        _attach_joined(phrase, segment)
    else:
        for number, thing in enumerate(segment.things):
            _attach_thing(phrase, segment, thing, first=number == 0)
        if segment.role == "related" and any(word.text in lex.VAGUE for word in segment.words):
            _add_related(phrase, _relation(segment), Thing())


_ABOUT_BESIDE = ("in", "having", "wearing", "carrying", "on", "action")


def _is_about_beside(phrase: Phrase, segment: Segment) -> bool:
    """Whether a segment is about the other thing named last: the nearest that can have, wear or do what it says."""
    if phrase.beside is None:
        return False
    holder, target = kind_of(phrase.beside), kind_of(phrase.target)
    first = segment.things[0] if segment.things else Thing()
    if segment.role == "on":
        return holder in ("person", "animal")
    if kind_of(first) == "part" or segment.role == "action":
        able = {"person", "animal"}
    elif segment.role in ("wearing", "carrying") or kind_of(first) in ("garment", "unknown") or _is_carried(first):
        able = {"person"}
    else:
        return True
    return holder in able | {"unknown"} or target not in able | {"unknown"}


def _is_carried(thing: Thing) -> bool:
    return thing.lemma in lex.CARRIED


def _add_related(phrase: Phrase, relation: str, thing: Thing) -> None:
    phrase.related.append(Related(relation=relation, thing=thing))
    phrase.beside = next((one for one in thing.contents if kind_of(one) in ("person", "animal")), thing)


def _attach_thing(phrase: Phrase, segment: Segment, thing: Thing, *, first: bool) -> None:
    """One thing of a segment that is neither an action nor joined by a comma or "and"."""
    role, target = segment.role, kind_of(phrase.target)
    if role in ("in", "wearing") and target in ("person", "unknown"):
        thing = _as_colour(thing)
    kind = kind_of(thing)
    later = role == "on" and not first
    if kind == "person" and not phrase.target.noun and (later or role in ("in", "having", "wearing", "negated")):
        phrase.target = with_modifiers(thing, phrase.target)
    elif role == "wearing" or (role == "in" and kind in ("garment", "unknown")):
        phrase.wearing.append(thing)
    elif role == "having" and kind == "garment":
        (phrase.parts if target in ("thing", "stuff") else phrase.wearing).append(thing)
    elif role == "carrying":
        phrase.carrying.append(thing)
    elif kind == "person" and role in ("having", "on", "in"):
        _add_related(phrase, _relation(segment), thing)
    elif role == "having" and not thing.noun and target != "person":
        phrase.target = with_modifiers(phrase.target, thing)
    elif role == "having":
        (phrase.carrying if _is_carried(thing) and target == "person" else phrase.parts).append(thing)
    elif role == "of":
        _attach_of(phrase, thing)
    elif role == "on" and thing.lemma in lex.RIDDEN and target == "person":
        phrase.actions.append(Action(verb="on", thing=thing))
    elif thing.noun:
        _add_related(phrase, _relation(segment), thing)


def _as_colour(thing: Thing) -> Thing:
    """A person "in orange" wears the colour, not the fruit."""
    if thing.noun not in lex.COLOURS:
        return thing
    return replace(thing, surface="", lemma="", noun="", colours=(*thing.colours, thing.noun))


def _relation(segment: Segment) -> str:
    return segment.connector.lstrip("@").replace("_", " ")


def _attach_joined(phrase: Phrase, segment: Segment) -> None:
    """What follows a comma, "and" or a location: more about the target, or another object."""
    phrase.beside = None
    for thing in segment.things:
        if kind_of(phrase.target) == "garment" and kind_of(thing) == "person":
            phrase.wearing.append(phrase.target)
            phrase.target = thing
        elif phrase.target.noun in lex.PICTURES and thing.noun:
            phrase.target = thing
        elif kind_of(thing) in ("garment", "part", "unknown"):
            _place(phrase, thing)
        else:
            phrase.related.append(Related(relation=segment.connector, thing=thing))
            if segment.connector in lex.ARTICLES:  # "the chair the woman with a hat sits on"
                phrase.beside = thing


def _attach_action(phrase: Phrase, segment: Segment) -> None:
    """An action keeps its object where that can be drawn with it; another person or animal is a rival instead."""
    verb, things = segment.connector, segment.things
    if things and _is_object(verb, things[0]):
        phrase.actions.append(Action(verb=verb, thing=things[0]))
        things = things[1:]
    elif not (things and verb not in lex.POSTURES and kind_of(things[0]) in ("person", "animal")):
        phrase.actions.append(Action(verb=verb))
    for thing in things:
        if kind_of(thing) == "garment" or (not thing.noun and thing.colours):
            phrase.wearing.append(thing)
        elif thing.noun:
            _add_related(phrase, verb, thing)


def _is_object(verb: str, thing: Thing) -> bool:
    known = verb.split()[0] in lex.OBJECT_ACTIONS | lex.FILLED or " " in verb
    return bool(thing.noun) and (
        known or (verb not in lex.POSTURES and kind_of(thing) not in ("person", "animal", "garment"))
    )


def _one_of(thing: Thing) -> Thing:
    """ "the larger of the two zebras" is one zebra."""
    if thing.count is None:
        return thing
    return replace(thing, count=None, plural=False, noun=" ".join([*thing.noun.split()[:-1], thing.lemma]))


_GROUPS = frozenset(
    [
        "group",
        "crowd",
        "pair",
        "couple",
        "bunch",
        "row",
        "line",
        "herd",
        "flock",
        "pack",
        "family",
        "team",
        "statue",
        "toy",
        "drawing",
    ]
)


def _attach_of(phrase: Phrase, thing: Thing) -> None:
    """The complement of "of" is the head where nothing but location stood before it, else contents, or an owner."""
    if not thing.noun:
        return
    target, kind = phrase.target, kind_of(thing)
    if (not target.noun and not phrase.related) or target.lemma in lex.PICTURES:
        phrase.target = with_modifiers(_one_of(thing), target)
    elif kind_of(target) in ("part", "garment") and kind in ("person", "animal") and phrase.owner is None:
        phrase.owner = thing
    elif kind == "person" and target.lemma not in _GROUPS:
        _add_related(phrase, "of", thing)
    else:
        phrase.target = replace(target, contents=(*target.contents, thing))


def _infer_target(phrase: Phrase, words: list[Word]) -> None:
    """Without a head noun: who wears or holds something is a person; "thing" is the head of "black thing"."""
    vague = next((word.text for word in words if word.text in lex.VAGUE_NOUNS | _MARKS), "")
    if (
        phrase.wearing
        or (phrase.carrying and not phrase.target.colours)
        or any(other in lex.PERSONAL for other in phrase.target.others)
    ):
        phrase.target = replace(phrase.target, noun="person")
    elif vague:
        phrase.target = replace(phrase.target, surface=vague, lemma=lex.IRREGULAR.get(vague, vague.removesuffix("s")))
    elif not phrase.target.surface and any(word.text in ("one", "ones") for word in words):
        phrase.target = replace(phrase.target, surface="one")


_MARKS = frozenset(["stripe", "stripes", "dots", "spot", "spots"])
"""Patterns said as nouns: a head to name, yet nothing to draw without what they are on."""
