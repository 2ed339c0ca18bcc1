"""Grammar of referring expressions: noun phrases joined by connectors.

    blue shirt man | holding umbrella | @left_of bus

The first phrase is the target. Each connector ("in", "with", "holding", ...) gives the role of the next phrase. Nouns
of different objects within one phrase are separated: "guy blue shirt" is a guy who wears a blue shirt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from generation.parsing import lexicon as lex
from generation.parsing.noun_phrases import NounPhrase, add_modifiers, infer_kind, make_noun_phrase
from generation.parsing.segments import Segment, split_segments
from generation.parsing.tokens import MODIFIERS, NEVER_NOUNS, Word, is_noun, is_verb, normalize_words


@dataclass(frozen=True, kw_only=True)
class Action:
    """Action or state of the target."""

    verb: str
    """Verb as written, mostly the ``-ing`` form."""

    noun_phrase: NounPhrase | None = None
    """Object of the action if it belongs in the image ("eating pizza")."""


@dataclass(frozen=True, kw_only=True)
class RelatedObject:
    """Another object and the target's relation to it; never part of a prompt."""

    relation: str
    noun_phrase: NounPhrase
    details: tuple[NounPhrase, ...] = ()
    """Clothes, carried objects and parts of a related person."""


@dataclass(kw_only=True)
class ParsedExpression:
    """Parts of a query by their role."""

    target: NounPhrase = field(default_factory=NounPhrase)
    kind: str = "unknown"
    wearing: list[NounPhrase] = field(default_factory=list)
    carrying: list[NounPhrase] = field(default_factory=list)
    parts: list[NounPhrase] = field(default_factory=list)
    owner: NounPhrase | None = None
    actions: list[Action] = field(default_factory=list)
    related: list[RelatedObject] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    inscription: list[str] = field(default_factory=list)
    last_related: NounPhrase | None = None
    """Related object that was named last; the next segment may describe it."""


def parse_words(words: list[Word]) -> ParsedExpression:
    """Parse tagged words without location words."""
    parsed = ParsedExpression()
    words = list(normalize_words(words))
    negating, pending = False, False  # pending: a "not" whose object is still to come ("not holding a glass")
    for segment in split_segments(words):
        negates = segment.role == "negated"
        negating = negates or (negating and (pending or segment.role in ("in", "of", "having", "wearing")))
        pending = (negates or pending) and all(word.text in lex.SKIPPED for word in segment.words)
        noun_phrases = segment.noun_phrases
        if segment.role == "joined" and not parsed.target.noun and not parsed.wearing and not parsed.related:
            segment.role = "target"
        if segment.role == "target":
            _parse_target(parsed, segment.words, noun_phrases)
        elif segment.role == "inscribed":
            parsed.inscription += [word.surface for word in segment.words]
        elif (
            negates
            and segment.connector == "not"
            and parsed.target == NounPhrase()
            and _is_negated_attribute(noun_phrases)
        ):
            parsed.target = NounPhrase(
                surface=noun_phrases[0].surface, lemma=noun_phrases[0].lemma, noun=noun_phrases[0].noun
            )
            parsed.negated += [
                word.text for word in segment.words if not is_noun(word) and word.text not in lex.SKIPPED
            ]
        elif negating:
            parsed.negated += [word.text for word in segment.words if word.text not in lex.SKIPPED]
        else:
            _attach(parsed, segment)
    if not parsed.target.noun:
        _infer_target(parsed, words)
    parsed.kind = infer_kind(parsed.target)
    return parsed


def _is_negated_attribute(noun_phrases: list[NounPhrase]) -> bool:
    """Return whether an attribute is negated and not the noun: "not full zebra" is another zebra."""
    if len(noun_phrases) != 1 or not noun_phrases[0].noun:
        return False
    (one,) = noun_phrases
    return one != NounPhrase(surface=one.surface, lemma=one.lemma, noun=one.noun, plural=one.plural)


def _parse_target(parsed: ParsedExpression, words: list[Word], noun_phrases: list[NounPhrase]) -> None:
    noun_phrases = _extract_actions(parsed, words, noun_phrases)
    owner = _find_possessive(words)
    with_noun = [noun_phrase for noun_phrase in noun_phrases if noun_phrase.noun]
    if owner is not None and len(with_noun) > 1:
        parsed.owner, with_noun = with_noun[0], with_noun[1:]
        noun_phrases = noun_phrases[1:]
    if not with_noun:
        parsed.target = _infer_head(words, noun_phrases[0] if noun_phrases else NounPhrase())
        return
    head = next((noun_phrase for noun_phrase in with_noun if infer_kind(noun_phrase) == "person"), with_noun[0])
    parsed.target = head
    for noun_phrase in noun_phrases:
        if noun_phrase is not head:
            _attach_without_connector(parsed, noun_phrase)


def _extract_actions(parsed: ParsedExpression, words: list[Word], noun_phrases: list[NounPhrase]) -> list[NounPhrase]:
    """Extract verbs as actions: "sitting man" sits, but a "parking meter" is a kind of meter."""
    verbs = [word.text for word in words if is_verb(word) and word.text not in lex.FILLED]
    acts = not noun_phrases or any(
        infer_kind(noun_phrase) in ("person", "animal", "garment", "unknown") for noun_phrase in noun_phrases
    )
    verbs = [verb for verb in verbs if acts or verb in lex.POSTURES]
    parsed.actions += [Action(verb=verb) for verb in verbs]
    return [
        replace(noun_phrase, other_modifiers=tuple(o for o in noun_phrase.other_modifiers if o not in verbs))
        for noun_phrase in noun_phrases
    ]


def _infer_head(words: list[Word], modifiers: NounPhrase) -> NounPhrase:
    """Take the last word as the head if the tagger finds no noun, mostly because of a misspelling."""
    last = next((word for word in reversed(words) if word.text not in lex.SKIPPED), None)
    known = NEVER_NOUNS | (MODIFIERS - _SUBSTANCES) | lex.ADJECTIVES | lex.RELATIONS | lex.POSTURES | lex.OBJECT_ACTIONS
    if last is None or last.text in known or not last.text.isalpha() or len(last.text) < 4:
        return modifiers
    other_modifiers = tuple(other for other in modifiers.other_modifiers if other != last.text)
    materials = tuple(material for material in modifiers.materials if material != last.text)
    return replace(make_noun_phrase(modifiers, last), other_modifiers=other_modifiers, materials=materials)


_SUBSTANCES = {"wood", "metal", "paper", "brick", "stone", "marble", "leather", "concrete", "plastic", "straw"}
"""Materials that are also named as objects ("paper on desk")."""


def _find_possessive(words: list[Word]) -> int | None:
    """Find the index of a possessive "'s" with a noun before and after it."""
    for i, word in enumerate(words):
        if word.text == "'s" and 0 < i < len(words) - 1 and is_noun(words[i - 1]):
            return i
    return None


def _attach_without_connector(parsed: ParsedExpression, noun_phrase: NounPhrase) -> None:
    """Attach a noun phrase that follows the head without a connector: clothes, colors, or a part."""
    target = infer_kind(parsed.target)
    person = target == "person"
    if not noun_phrase.noun and not (person and (noun_phrase.colors or noun_phrase.patterns)):
        parsed.target = add_modifiers(parsed.target, noun_phrase)
    elif (person or target == "garment") and infer_kind(noun_phrase) in ("garment", "unknown"):
        parsed.wearing.append(noun_phrase)
    elif person and noun_phrase.lemma in lex.CARRIED:
        parsed.carrying.append(noun_phrase)
    else:
        parsed.parts.append(noun_phrase)


def _attach(parsed: ParsedExpression, segment: Segment) -> None:
    """Attach the noun phrases of a later segment to the target, in the role of its connector."""
    if segment.role in _ROLES_OF_RELATED and _is_about_related(parsed, segment):
        last = parsed.related[-1]
        parsed.related[-1] = replace(
            last, details=(*last.details, *(_convert_to_color(noun_phrase) for noun_phrase in segment.noun_phrases))
        )
    elif segment.role == "action":
        _attach_action(parsed, segment)
    elif segment.role == "joined":
        _attach_joined(parsed, segment)
    else:
        for number, noun_phrase in enumerate(segment.noun_phrases):
            _attach_noun_phrase(parsed, segment, noun_phrase, first=number == 0)
        if segment.role == "related" and any(word.text in lex.VAGUE for word in segment.words):
            _add_related(parsed, _get_relation(segment), NounPhrase())


_ROLES_OF_RELATED = ("in", "having", "wearing", "carrying", "on", "action")


def _is_about_related(parsed: ParsedExpression, segment: Segment) -> bool:
    """Return whether a segment describes the related object named last, the nearest that can have, wear or do it."""
    if parsed.last_related is None:
        return False
    holder, target = infer_kind(parsed.last_related), infer_kind(parsed.target)
    first = segment.noun_phrases[0] if segment.noun_phrases else NounPhrase()
    if segment.role == "on":
        return holder in ("person", "animal")
    if infer_kind(first) == "part" or segment.role == "action":
        able = {"person", "animal"}
    elif segment.role in ("wearing", "carrying") or infer_kind(first) in ("garment", "unknown") or _is_carried(first):
        able = {"person"}
    else:
        return True
    return holder in able | {"unknown"} or target not in able | {"unknown"}


def _is_carried(noun_phrase: NounPhrase) -> bool:
    return noun_phrase.lemma in lex.CARRIED


def _add_related(parsed: ParsedExpression, relation: str, noun_phrase: NounPhrase) -> None:
    parsed.related.append(RelatedObject(relation=relation, noun_phrase=noun_phrase))
    parsed.last_related = next(
        (one for one in noun_phrase.contents if infer_kind(one) in ("person", "animal")), noun_phrase
    )


def _attach_noun_phrase(parsed: ParsedExpression, segment: Segment, noun_phrase: NounPhrase, *, first: bool) -> None:
    """Attach a noun phrase of a segment that is neither an action nor joined by a comma or "and"."""
    role, target = segment.role, infer_kind(parsed.target)
    if role in ("in", "wearing") and target in ("person", "unknown"):
        noun_phrase = _convert_to_color(noun_phrase)
    kind = infer_kind(noun_phrase)
    later = role == "on" and not first
    if kind == "person" and not parsed.target.noun and (later or role in ("in", "having", "wearing", "negated")):
        parsed.target = add_modifiers(noun_phrase, parsed.target)
    elif role == "wearing" or (role == "in" and kind in ("garment", "unknown")):
        parsed.wearing.append(noun_phrase)
    elif role == "having" and kind == "garment":
        (parsed.parts if target in ("object", "stuff") else parsed.wearing).append(noun_phrase)
    elif role == "carrying":
        parsed.carrying.append(noun_phrase)
    elif kind == "person" and role in ("having", "on", "in"):
        _add_related(parsed, _get_relation(segment), noun_phrase)
    elif role == "having" and not noun_phrase.noun and target != "person":
        parsed.target = add_modifiers(parsed.target, noun_phrase)
    elif role == "having":
        (parsed.carrying if _is_carried(noun_phrase) and target == "person" else parsed.parts).append(noun_phrase)
    elif role == "of":
        _attach_of(parsed, noun_phrase)
    elif role == "on" and noun_phrase.lemma in lex.RIDDEN and target == "person":
        parsed.actions.append(Action(verb="on", noun_phrase=noun_phrase))
    elif noun_phrase.noun:
        _add_related(parsed, _get_relation(segment), noun_phrase)


def _convert_to_color(noun_phrase: NounPhrase) -> NounPhrase:
    """Convert a noun to the color it names: a person "in orange" wears the color, not the fruit."""
    if noun_phrase.noun not in lex.COLORS:
        return noun_phrase
    return replace(noun_phrase, surface="", lemma="", noun="", colors=(*noun_phrase.colors, noun_phrase.noun))


def _get_relation(segment: Segment) -> str:
    return segment.connector.lstrip("@").replace("_", " ")


def _attach_joined(parsed: ParsedExpression, segment: Segment) -> None:
    """Attach the words after a comma, "and" or a location: more about the target, or another object."""
    parsed.last_related = None
    for noun_phrase in segment.noun_phrases:
        if infer_kind(parsed.target) == "garment" and infer_kind(noun_phrase) == "person":
            parsed.wearing.append(parsed.target)
            parsed.target = noun_phrase
        elif parsed.target.noun in lex.IMAGE_NOUNS and noun_phrase.noun:
            parsed.target = noun_phrase
        elif infer_kind(noun_phrase) in ("garment", "part", "unknown"):
            _attach_without_connector(parsed, noun_phrase)
        else:
            parsed.related.append(RelatedObject(relation=segment.connector, noun_phrase=noun_phrase))
            if segment.connector in lex.ARTICLES:  # "the chair the woman with a hat sits on"
                parsed.last_related = noun_phrase


def _attach_action(parsed: ParsedExpression, segment: Segment) -> None:
    """Attach an action with an object that can be drawn with it; another person or animal is a related object."""
    verb, noun_phrases = segment.connector, segment.noun_phrases
    takes_any = verb.split()[0] in lex.OBJECT_ACTIONS | lex.FILLED or " " in verb
    takes_objects = verb not in lex.POSTURES
    first = noun_phrases[0] if noun_phrases else NounPhrase()
    if first.noun and (takes_any or (takes_objects and infer_kind(first) not in ("person", "animal", "garment"))):
        parsed.actions.append(Action(verb=verb, noun_phrase=first))
        noun_phrases = noun_phrases[1:]
    elif not (noun_phrases and takes_objects and infer_kind(first) in ("person", "animal")):
        parsed.actions.append(Action(verb=verb))
    for noun_phrase in noun_phrases:
        if infer_kind(noun_phrase) == "garment" or (not noun_phrase.noun and noun_phrase.colors):
            parsed.wearing.append(noun_phrase)
        elif noun_phrase.noun:
            _add_related(parsed, verb, noun_phrase)


def _make_singular(noun_phrase: NounPhrase) -> NounPhrase:
    """Make a counted noun singular: "the larger of the two zebras" is one zebra."""
    if noun_phrase.count is None:
        return noun_phrase
    return replace(
        noun_phrase, count=None, plural=False, noun=" ".join([*noun_phrase.noun.split()[:-1], noun_phrase.lemma])
    )


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


def _attach_of(parsed: ParsedExpression, noun_phrase: NounPhrase) -> None:
    """Attach the complement of "of": as the head if only location words stood before it, else as contents or owner."""
    if not noun_phrase.noun:
        return
    target, kind = parsed.target, infer_kind(noun_phrase)
    if (not target.noun and not parsed.related) or target.lemma in lex.IMAGE_NOUNS:
        parsed.target = add_modifiers(_make_singular(noun_phrase), target)
    elif infer_kind(target) in ("part", "garment") and kind in ("person", "animal") and parsed.owner is None:
        parsed.owner = noun_phrase
    elif kind == "person" and target.lemma not in _GROUPS:
        _add_related(parsed, "of", noun_phrase)
    else:
        parsed.target = replace(target, contents=(*target.contents, noun_phrase))


def _infer_target(parsed: ParsedExpression, words: list[Word]) -> None:
    """Infer a head without a noun: a wearer or holder is a person; "object" is the head of "black object"."""
    vague = next((word.text for word in words if word.text in lex.VAGUE_NOUNS | _PATTERN_NOUNS), "")
    if (
        parsed.wearing
        or (parsed.carrying and not parsed.target.colors)
        or any(other in lex.PERSONAL for other in parsed.target.other_modifiers)
    ):
        parsed.target = replace(parsed.target, noun="person")
    elif vague:
        parsed.target = replace(parsed.target, surface=vague, lemma=lex.IRREGULAR.get(vague, vague.removesuffix("s")))
    elif not parsed.target.surface and any(word.text in ("one", "ones") for word in words):
        parsed.target = replace(parsed.target, surface="one")


_PATTERN_NOUNS = frozenset(["stripe", "stripes", "dots", "spot", "spots"])
"""Patterns as nouns: they name a head, but need an object to be drawn on."""
