"""A small grammar of referring expressions: noun phrases joined by connectors.

    blue shirt man | holding umbrella | @left_of bus

The first phrase is the target; each connector ("in", "with", "holding", ...) says what the next one is to it. Within
a phrase, nouns that name different things are told apart: "guy blue shirt" is a guy who wears a blue shirt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from generation import lexicon as lex


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A noun with what is said of it."""

    surface: str = ""
    """The noun as written, with its compound ("wine glass"); empty where only attributes are known."""

    lemma: str = ""
    """Its last word, spelling corrected, singular."""

    noun: str = ""
    """The whole noun, spelling corrected, as a picture's caption would have it."""

    colours: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Further modifiers, such as ``bald``."""

    count: int | None = None
    plural: bool = False


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


@dataclass(frozen=True, slots=True)
class Word:
    """One tagged word; ``surface`` is the written form, ``text`` the corrected one."""

    text: str
    surface: str
    lemma: str
    pos: str


@dataclass(kw_only=True)
class Phrase:
    """What the grammar reads from one query."""

    target: Thing = field(default_factory=Thing)
    kind: str = "unknown"
    wearing: list[Thing] = field(default_factory=list)
    carrying: list[Thing] = field(default_factory=list)
    parts: list[Thing] = field(default_factory=list)
    contents: list[Thing] = field(default_factory=list)
    owner: Thing | None = None
    actions: list[Action] = field(default_factory=list)
    related: list[Related] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    inscription: list[str] = field(default_factory=list)
    beside_person: bool = False
    """Whether the last thing named is another person, to whom the clothes said next belong."""


@dataclass(slots=True)
class _Segment:
    """A connector, its role and the words after it."""

    role: str
    connector: str
    words: list[Word]


def read_phrase(words: list[Word]) -> Phrase:
    """Read tagged words, location taken out, into a phrase."""
    phrase = Phrase()
    words = list(_prepared(words))
    negating, pending = False, False  # pending: a "not" whose object is still to come ("not holding a glass")
    for segment in _segments(words):
        negates = segment.role == "negated"
        negating = negates or (negating and (pending or segment.role in ("in", "of", "having", "wearing")))
        pending = (negates or pending) and all(word.text in lex.SKIPPED for word in segment.words)
        things = list(_things(segment.words))
        if segment.role == "joined" and not phrase.target.noun and not phrase.wearing and not phrase.related:
            segment.role = "target"
        if segment.role == "target":
            _read_target(phrase, segment.words, things)
        elif segment.role == "inscribed":
            phrase.inscription += [word.surface for word in segment.words]
        elif negates and segment.connector == "not" and phrase.target == Thing() and _denies_attribute(things):
            phrase.target = Thing(surface=things[0].surface, lemma=things[0].lemma, noun=things[0].noun)
            phrase.negated += [
                word.text for word in segment.words if not _is_noun(word) and word.text not in lex.SKIPPED
            ]
        elif negating:
            phrase.negated += [word.text for word in segment.words if word.text not in lex.SKIPPED]
        else:
            _attach(phrase, segment, things)
    if not phrase.target.noun:
        _infer_target(phrase, words)
    phrase.kind = kind_of(phrase.target)
    return phrase


def _denies_attribute(things: list[Thing]) -> bool:
    """ "not full zebra": it is the zebra that is meant, another one than the full one."""
    return len(things) == 1 and bool(things[0].noun) and things[0] != replace(Thing(), **_names(things[0]))


def _names(thing: Thing) -> dict[str, Any]:
    return {"surface": thing.surface, "lemma": thing.lemma, "noun": thing.noun, "plural": thing.plural}


_KINDS = {
    "person": lex.PEOPLE,
    "animal": lex.ANIMALS,
    "garment": lex.GARMENTS,
    "part": lex.BODY_PARTS,
    "stuff": lex.STUFF,
}


def kind_of(thing: Thing) -> str:
    """``person``, ``animal``, ``garment``, ``part``, ``stuff``, ``thing`` or, without a noun, ``unknown``."""
    last = thing.noun.split()[-1] if thing.noun else ""
    for kind, nouns in _KINDS.items():
        if last in nouns or thing.lemma in nouns:
            return kind
    return "thing" if thing.noun else "unknown"


def _prepared(words: list[Word]) -> Iterator[Word]:
    """Words as the grammar wants them: finite verbs as ``-ing`` forms, nouns that look like verbs as one word."""
    nothing = Word("", "", "", "")
    previous, skip = nothing, False
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else nothing
        if skip:
            skip = False
            continue
        one = word
        if following.text in lex.GERUND_COMPOUNDS.get(word.text, "").split():
            one = Word(f"{word.text} {following.text}", f"{word.surface} {following.surface}", following.lemma, "NOUN")
            skip = True
        elif following.text in ("shaped", "sized", "patterned", "colored", "coloured") and word.pos in (
            "NOUN",
            "PROPN",
            "ADJ",
        ):
            if word.text not in _MODIFIERS:
                one = Word(f"{word.text}-{following.text}", f"{word.surface} {following.surface}", word.lemma, "ADJ")
            skip = True
        elif word.text in _PARTICLES and (previous.text in lex.POSTURES or previous.text in lex.OBJECT_ACTIONS):
            continue
        elif word.text.endswith("ing") and word.pos == "NOUN" and previous.text in lex.PEOPLE | lex.ANIMALS:
            one = replace(word, pos="VERB")
        elif word.text == "number" and following.text.isdigit():
            continue
        elif _is_finite(word, previous, following):
            one = replace(word, text=_participle(word), pos="VERB")
        yield one
        previous = one


_PARTICLES = frozenset({"over", "down", "up", "out"})


def _is_finite(word: Word, previous: Word, following: Word) -> bool:
    """Whether a word is what somebody does ("a zebra sniffs the ground"), however it is tagged."""
    if word.text in _KNOWN_NOUNS or word.text in _MODIFIERS:
        return False
    if word.pos == "VERB":
        return word.text in (word.lemma, f"{word.lemma}s", f"{word.lemma}es")
    subject = previous.text in lex.PEOPLE | lex.ANIMALS
    return subject and word.text.endswith("s") and following.text in lex.DETERMINERS | lex.RELATIONS


def _participle(verb: Word) -> str:
    """The ``-ing`` form if it is an action of the lexicon ("sits": "sitting"); else the verb as it is."""
    stem = verb.lemma if verb.pos == "VERB" else verb.text.removesuffix("s")
    for form in (f"{stem}ing", f"{stem[:-1]}ing", f"{stem}{stem[-1:]}ing"):
        if form in lex.POSTURES or form in lex.OBJECT_ACTIONS:
            return form
    return verb.text


def _is_noun(word: Word) -> bool:
    return (
        word.text in _KNOWN_NOUNS or word.lemma in _KNOWN_NOUNS or word.pos in ("NOUN", "PROPN", "X", "INTJ")
    ) and not (_is_modifier_only(word) or "-shaped" in word.text or _is_participle(word))


def _is_participle(word: Word) -> bool:
    """ "faced", "overstuffed": an attribute, even where the tagger sees a noun."""
    return len(word.text) > 4 and word.text.endswith("ed") and word.text not in _KNOWN_NOUNS


_KNOWN_NOUNS = (
    (lex.PEOPLE | lex.ANIMALS | lex.GARMENTS | lex.BODY_PARTS | lex.CARRIED | lex.RIDDEN)
    | (lex.THINGS | lex.PICTURES | lex.STUFF)
) - {"stone", "brick"}
_MODIFIERS = lex.COLOURS | lex.PATTERNS | lex.MATERIALS | lex.SIZES
_NEVER_NOUNS = lex.FRAMING | lex.SKIPPED | lex.VAGUE | lex.ORDINALS | frozenset(lex.COUNTS)


def _is_modifier_only(word: Word) -> bool:
    return word.text in _NEVER_NOUNS or (word.text in _MODIFIERS and word.text not in _KNOWN_NOUNS)


def _is_verb(word: Word) -> bool:
    text = word.text
    if text in _KNOWN_NOUNS or text in _MODIFIERS or text in _NEVER_NOUNS or text in lex.ADJECTIVES - lex.POSTURES:
        return False
    return text in lex.POSTURES or text in lex.OBJECT_ACTIONS or (text.endswith("ing") and word.pos == "VERB")


def _segments(words: list[Word]) -> Iterator[_Segment]:
    """Cut at connectors; an enumeration ("hat and glasses") goes on in the role before it."""
    current = _Segment("target", "", [])
    for i, word in enumerate(words):
        role = _role(word, words, i, current)
        if role is None:
            current.words.append(word)
            continue
        connector = word.text
        if role == "and":
            goes_on = word.text == "and" and current.role != "target"
            role, connector = (current.role, current.connector) if goes_on else ("joined", word.text)
        if current.words or current.role != "target":
            yield current
        current = _Segment(role, connector, [])
    yield current


def _role(word: Word, words: list[Word], i: int, current: _Segment) -> str | None:
    """The role that a word opens for what follows; None for a word of the phrase itself."""
    text = word.text
    if text.startswith("@"):
        return "related"
    if text in lex.ARTICLES and any(_is_noun(one) for one in current.words):
        return "joined"
    if text in lex.RELATIVES and _opens_clause(words, i, current):
        return "related"
    if text in ("and", ","):
        return _role_of_and(words, i, current)
    for role, connectors in _CONNECTORS.items():
        if text in connectors:
            return role
    if _is_verb(word):
        return _role_of_verb(word, words, i, current)
    if text == "like" and i and words[i - 1].text in ("look", "looks", "looking"):
        return "related"
    return "related" if text in lex.RELATIONS and text not in ("up", "down", "off", "out", "about", "like") else None


def _opens_clause(words: list[Word], i: int, current: _Segment) -> bool:
    """Whether "that" opens a clause about another thing: "chair that the girl is on", not "man that is sitting"."""
    following = words[i + 1].text if i + 1 < len(words) else ""
    return any(_is_noun(word) for word in current.words) and (following in lex.DETERMINERS or words[i].text == "where")


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


def _role_of_and(words: list[Word], i: int, current: _Segment) -> str | None:
    """ "red and white shirt" joins colours and stays; "hat and glasses" opens another thing."""
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    if before and after and before[0].text in lex.COLOURS and after[0].text in lex.COLOURS and words[i].text == "and":
        return None
    has_noun = any(_is_noun(word) for word in current.words)
    return "and" if has_noun and after else None


def _role_of_verb(word: Word, words: list[Word], i: int, current: _Segment) -> str | None:
    """A verb before the head ("sitting man") stays in the phrase; elsewhere it opens its object."""
    has_noun = any(_is_noun(one) for one in current.words)
    following = words[i + 1] if i + 1 < len(words) else None
    starts = current.role == "target" or (current.words and current.words[-1].text in lex.ARTICLES)
    if starts and not has_noun and following is not None and _is_before_noun(word, following):
        return None
    return "action"


def _is_before_noun(verb: Word, following: Word) -> bool:
    """Whether a verb describes the noun after it ("moving car") instead of taking it as object ("eating pizza")."""
    if verb.text in lex.OBJECT_ACTIONS:
        return following.text in lex.PEOPLE | lex.ANIMALS
    return verb.text in lex.POSTURES or _is_noun(following) or following.text in _MODIFIERS


def _things(words: list[Word]) -> Iterator[Thing]:
    """The things that a run of words names, each with the modifiers before it."""
    thing: Thing | None = None
    modifiers = Thing()
    previous_noun = owned = False
    for word in words:
        if not _is_noun(word) or _is_colour_here(word, words):
            if word.text not in lex.SKIPPED:
                modifiers = _modified(modifiers, word)
                previous_noun = False
            owned = owned or word.text == "'s"
            continue
        if thing is None:
            thing = _named(modifiers, word)
        elif not owned and _goes_on(thing, modifiers, word, previous_noun):
            thing = _compounded(thing, modifiers, word)
        else:
            yield thing
            thing = _named(modifiers, word)
        modifiers, previous_noun, owned = Thing(), True, False
    if thing is not None:
        yield thing
    if modifiers != Thing():
        yield modifiers


def _is_colour_here(word: Word, words: list[Word]) -> bool:
    """ "orange cat" but "cut orange"; "gold", "fur", "paper" likewise: a modifier if a noun follows at once."""
    if word.text not in _MODIFIERS:
        return False
    following = [one for one in words[words.index(word) + 1 :] if one.text != "and"][:1]
    return bool(following) and (_is_noun(following[0]) or following[0].text in _MODIFIERS | lex.VAGUE)


def _goes_on(thing: Thing, modifiers: Thing, word: Word, adjacent: bool) -> bool:
    """Whether a further noun goes on with the compound ("wine" + "glass") instead of naming another thing."""
    last = thing.noun.split()[-1]
    if word.text in lex.GARMENTS and not (last in lex.GARMENTS or last in lex.THINGS):
        return last not in lex.PEOPLE | lex.ANIMALS and adjacent
    if last in lex.GARMENTS and word.text in lex.PEOPLE:
        return False
    if (last in lex.PEOPLE and not adjacent) or (last in lex.PERSONS and word.text not in lex.PEOPLE | lex.ANIMALS):
        return False
    if word.text in lex.PERSONS and last in _KNOWN_NOUNS - lex.PEOPLE - _CRAFTS:
        return False
    return adjacent or modifiers == Thing()


_CRAFTS = frozenset(["snow", "police", "fire", "repair", "tennis", "bus", "cow", "business", "delivery"])


def _modified(thing: Thing, word: Word) -> Thing:
    """``thing`` with one more modifier, by the kind of the word."""
    text = word.text
    if text in lex.COUNTS:
        return replace(thing, count=lex.COUNTS[text])
    if text in lex.COLOURS:
        return replace(thing, colours=(*thing.colours, text))
    if text in lex.PATTERNS:
        return replace(thing, patterns=(*thing.patterns, text))
    if text in lex.SIZES:
        return replace(thing, sizes=(*thing.sizes, text))
    if text in lex.MATERIALS:
        return replace(thing, materials=(*thing.materials, text))
    if text in _NEVER_NOUNS or text in lex.RELATIONS or word.pos not in ("ADJ", "VERB", "NUM", "NOUN", "PROPN"):
        return thing
    return replace(thing, others=(*thing.others, text))


def _named(modifiers: Thing, word: Word) -> Thing:
    lemma = _singular(word)
    plural = lemma != word.text and (word.text.endswith("s") or word.text in lex.PLURALS)
    return replace(modifiers, surface=word.surface, lemma=lemma, noun=word.text, plural=plural)


def _compounded(thing: Thing, modifiers: Thing, word: Word) -> Thing:
    """``thing`` as the first part of a longer noun."""
    further = _named(modifiers, word)
    return replace(
        _with_modifiers(thing, further),
        surface=f"{thing.surface} {further.surface}",
        lemma=further.lemma,
        noun=f"{thing.noun} {further.noun}",
        plural=further.plural,
    )


def _singular(word: Word) -> str:
    """spaCy's lemma for nouns, but never of a word known to have no singular ("glasses", "pants", "bus")."""
    text = word.text.rstrip("_")
    if text in lex.IRREGULAR:
        return lex.IRREGULAR[text]
    if text in lex.SAME_IN_SINGULAR:
        return text
    if text.endswith("s") and text[:-1] in _KNOWN_NOUNS:
        return text[:-1]
    return word.lemma if word.pos in ("NOUN", "PROPN") and text not in _KNOWN_NOUNS else text


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
    verbs = [word.text for word in words if _is_verb(word)]
    acts = not things or any(kind_of(thing) in ("person", "animal", "garment", "unknown") for thing in things)
    verbs = [verb for verb in verbs if acts or verb in lex.POSTURES]
    phrase.actions += [Action(verb=verb) for verb in verbs]
    return [replace(thing, others=tuple(o for o in thing.others if o not in verbs)) for thing in things]


def _guessed(words: list[Word], modifiers: Thing) -> Thing:
    """The last word as the head where the tagger saw no noun, most often because of a misspelling."""
    last = next((word for word in reversed(words) if word.text not in lex.SKIPPED), None)
    known = (
        _NEVER_NOUNS | (_MODIFIERS - _SUBSTANCES) | lex.ADJECTIVES | lex.RELATIONS | lex.POSTURES | lex.OBJECT_ACTIONS
    )
    if last is None or last.text in known or not last.text.isalpha() or len(last.text) < 4:
        return modifiers
    others = tuple(other for other in modifiers.others if other != last.text)
    materials = tuple(material for material in modifiers.materials if material != last.text)
    return replace(_named(modifiers, last), others=others, materials=materials)


_SUBSTANCES = {"wood", "metal", "paper", "brick", "stone", "marble", "leather", "concrete", "plastic", "straw"}
"""Materials that are also named as things ("paper on desk")."""


def _owner(words: list[Word]) -> int | None:
    """Index of a possessive "'s" with a noun before and after it."""
    for i, word in enumerate(words):
        if word.text == "'s" and 0 < i < len(words) - 1 and _is_noun(words[i - 1]):
            return i
    return None


def _place(phrase: Phrase, thing: Thing) -> None:
    """A thing that follows the head without a connector: clothes, loose colours, or a part."""
    person = kind_of(phrase.target) == "person"
    if not thing.noun and not (person and (thing.colours or thing.patterns)):
        phrase.target = _with_modifiers(phrase.target, thing)
    elif person and kind_of(thing) in ("garment", "unknown"):
        phrase.wearing.append(thing)
    elif person and thing.lemma in lex.CARRIED:
        phrase.carrying.append(thing)
    else:
        phrase.parts.append(thing)


def _with_modifiers(thing: Thing, more: Thing) -> Thing:
    """``thing`` with the modifiers of ``more`` after its own."""
    return replace(
        thing,
        colours=(*thing.colours, *more.colours),
        patterns=(*thing.patterns, *more.patterns),
        materials=(*thing.materials, *more.materials),
        sizes=(*thing.sizes, *more.sizes),
        others=(*thing.others, *more.others),
        count=thing.count or more.count,
    )


def _attach(phrase: Phrase, segment: _Segment, things: list[Thing]) -> None:
    """Give the things of a later segment to the target, in the role that its connector says."""
    role = segment.role
    if phrase.beside_person and role in ("in", "having", "wearing", "carrying"):
        last = phrase.related[-1]
        phrase.related[-1] = replace(last, details=(*last.details, *(_as_colour(thing) for thing in things)))
        return
    if role == "action":
        _attach_action(phrase, segment, things)
        return
    if role == "joined":
        _attach_joined(phrase, segment, things)
        return
    for thing in things:
        if role in ("in", "wearing") and kind_of(phrase.target) in ("person", "unknown"):
            thing = _as_colour(thing)
        kind = kind_of(thing)
        later = role == "on" and thing is not things[0]
        if kind == "person" and not phrase.target.noun and (later or role in ("in", "having", "wearing", "negated")):
            phrase.target = _with_modifiers(thing, phrase.target)
        elif role == "wearing" or (role in ("in", "having") and kind == "garment"):
            phrase.wearing.append(thing)
        elif role == "in" and kind == "unknown":
            (phrase.wearing if kind_of(phrase.target) in ("person", "unknown") else phrase.parts).append(thing)
        elif role == "carrying":
            phrase.carrying.append(thing)
        elif kind == "person" and role in ("having", "related", "on", "in"):
            phrase.related.append(Related(relation=_relation(segment), thing=thing))
            phrase.beside_person = True
        elif role == "having":
            carried = thing.lemma in lex.CARRIED and kind_of(phrase.target) == "person"
            (phrase.carrying if carried else phrase.parts).append(thing)
        elif role == "of":
            _attach_of(phrase, thing)
        elif role == "on" and thing.lemma in lex.RIDDEN and kind_of(phrase.target) == "person":
            phrase.actions.append(Action(verb="on", thing=thing))
        elif thing.noun:
            phrase.related.append(Related(relation=_relation(segment), thing=thing))
            phrase.beside_person = False


def _as_colour(thing: Thing) -> Thing:
    """A person "in orange" wears the colour, not the fruit."""
    if thing.noun not in lex.COLOURS:
        return thing
    return replace(thing, surface="", lemma="", noun="", colours=(*thing.colours, thing.noun))


def _relation(segment: _Segment) -> str:
    return segment.connector.lstrip("@").replace("_", " ")


def _attach_joined(phrase: Phrase, segment: _Segment, things: list[Thing]) -> None:
    """What follows a comma, "and" or a location: more about the target, or another object."""
    phrase.beside_person = False
    for thing in things:
        if kind_of(phrase.target) == "garment" and kind_of(thing) == "person":
            phrase.wearing.append(phrase.target)
            phrase.target = thing
        elif kind_of(thing) in ("garment", "part", "unknown"):
            _place(phrase, thing)
        else:
            phrase.related.append(Related(relation=segment.connector, thing=thing))


def _attach_action(phrase: Phrase, segment: _Segment, things: list[Thing]) -> None:
    takes = segment.connector in lex.OBJECT_ACTIONS
    first = things[0] if things and things[0].noun else None
    phrase.actions.append(Action(verb=segment.connector, thing=first if takes else None))
    for thing in things if not takes or first is None else things[1:]:
        if kind_of(thing) == "garment" or (not thing.noun and thing.colours):
            phrase.wearing.append(thing)
        elif thing.noun:
            phrase.related.append(Related(relation=segment.connector, thing=thing))


def _attach_of(phrase: Phrase, thing: Thing) -> None:
    """The complement of "of" is the head where nothing but location stood before it."""
    if not thing.noun:
        return
    if (not phrase.target.noun and not phrase.related) or phrase.target.noun in lex.PICTURES:
        phrase.target = _with_modifiers(thing, phrase.target)
    else:
        phrase.contents.append(thing)


def _infer_target(phrase: Phrase, words: list[Word]) -> None:
    """Without a head noun: who wears or holds something is a person; "thing" is the head of "black thing"."""
    vague = next((word.text for word in words if word.text in lex.VAGUE_NOUNS | _MARKS), "")
    if phrase.wearing or (phrase.carrying and not phrase.target.colours):
        phrase.target = replace(phrase.target, noun="person")
    elif vague:
        phrase.target = replace(phrase.target, surface=vague, lemma=lex.IRREGULAR.get(vague, vague.removesuffix("s")))


_MARKS = frozenset(["stripe", "stripes", "dots", "spot", "spots"])
"""Patterns said as nouns: a head to name, yet nothing to draw without what they are on."""
