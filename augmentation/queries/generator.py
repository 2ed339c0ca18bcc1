"""Verified queries of a scene: each selects exactly one object, even if the boxes are slightly off.

The generator evaluates every candidate program. A program that selects exactly one object, with the margins of its
operators and under 3 % of box noise, verifies its phrases for that object. A phrase with another interpretation that
selects anything else in the scene is not used.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice
from random import Random
from typing import get_args

from augmentation.queries.realizer import (
    Phrase,
    PhraseRealizer,
    get_noun_program,
    get_relation_types,
    list_categories,
    sort_adjectives,
)
from augmentation.relations import programs as p
from augmentation.relations.appearance import MIN_COMPARED
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.scene import NO_ATTRIBUTE, Scene
from augmentation.relations.types import RelationType, get_relation_type

MAX_ORDINAL = 4
"""Maximum rank of an ordinal; people do not count further."""

BOX_NOISE = 0.03
"""Noise of box edges, as a share of the box's size."""


@dataclass(frozen=True, kw_only=True)
class VerifiedQuery:
    """A phrase for one object of the scene, with the program that verifies it."""

    text: str
    target: int
    """Index of the object in the scene."""

    program: p.Program


def generate_queries(
    scene: Scene,
    category: str,
    realizer: PhraseRealizer,
    per_relation_type: int,
    seed: int,
    noise: float = BOX_NOISE,
    accepts: Callable[[str, p.Program], bool] = lambda text, program: True,
) -> list[VerifiedQuery]:
    """Generate verified queries for every object of a category, in the order of the objects.

    Args:
        scene: all detected objects, other categories included.
        category: category of the targets.
        realizer: words the programs.
        per_relation_type: maximum number of queries for each object and relation type.
        seed: decides which of the verified programs are realized, and how.
        noise: see ``BOX_NOISE``.
        accepts: whether a phrase may be used for its program; see ``RoundTripParser``.
    """
    if not has_own_name(scene, category):
        return []
    if realizer.measured is not None:
        return sample_queries(scene, category, realizer, per_relation_type, seed, noise, accepts)
    programs = list(enumerate_programs(scene, category, known=realizer.plurals))
    interpreted = find_interpretations(ProgramEvaluator(scene, include_borderline=True), programs, realizer)
    evaluator = ProgramEvaluator(scene, noise)
    verified: dict[tuple[int, RelationType], list[p.Program]] = defaultdict(list)
    for program in programs:
        if len(selected := evaluator.evaluate(program)) == 1:
            verified[min(selected), get_relation_type(p.to_json(program))].append(program)
    random, by_text = Random(seed), dict[str, VerifiedQuery]()
    is_only = all(obj.category == category for obj in scene.objects)
    for (target, _), programs_of_type in sorted(verified.items()):
        sayable = _shuffle_phrases(programs_of_type, realizer, random)
        clear = (one for one in sayable if interpreted[one[0]] == {frozenset([target])} and one[0] not in by_text)
        for verified_text, program in islice(take_first_accepted(clear, accepts), per_relation_type):
            text = verified_text.replace(f"odd {category} out", "odd one out") if is_only else verified_text
            by_text[text] = VerifiedQuery(text=text, target=target, program=program)
    return list(by_text.values())


def sample_queries(
    scene: Scene,
    category: str,
    realizer: PhraseRealizer,
    factor: int,
    seed: int,
    noise: float,
    accepts: Callable[[str, p.Program], bool],
) -> list[VerifiedQuery]:
    """Sample verified queries as frequent, long and worded as in a measured style; see ``generate_queries``.

    Each object gets ``factor`` times as many queries as one has in the style. The length of each is drawn by its share,
    and then the phrase by the shares of its relation type, its template and its words.
    """
    style, random = realizer.measured, Random(seed)
    assert style is not None
    clear, interpreted = _find_clear_phrases(scene, category, realizer, random, noise)

    def is_accepted(text: str, program: p.Program, target: int) -> bool:
        """Return whether a phrase is accepted; it is clear unless its noun was left out."""
        return interpreted.get(text, {frozenset([target])}) == {frozenset([target])} and accepts(text, program)

    count, by_text = max(1, round(factor * style.queries_per_object)), dict[str, VerifiedQuery]()
    lengths, articles = [int(one) for one in style.lengths], list(style.articles)
    for target, phrases in sorted(clear.items()):
        drawn = random.choices(lengths, list(style.lengths.values()), k=count)
        for length, article in zip(
            drawn, random.choices(articles, list(style.articles.values()), k=count), strict=True
        ):
            weights = _weigh_phrases(phrases, length, article)
            if query := _draw_query(phrases, weights, target, scene, realizer, random, by_text, is_accepted):
                by_text[query.text] = query
    return list(by_text.values())


_LENGTH_PREFERENCE = 0.25
"""Factor of a phrase's weight for each word that it is longer or shorter than the drawn length."""

_ARTICLE_PREFERENCE = 0.25
"""Factor of a phrase's weight if it starts with another article than the drawn one."""

_TEMPER = 0.8
"""Exponent of the frequencies of relation types and templates; 1 follows the style, 0 makes all equally frequent."""

_MAX_DRAWS = 4
"""Maximum number of phrases that are tried for a query."""


def _weigh_phrases(phrases: Sequence[tuple[Phrase, p.Program]], length: int, article: str) -> list[float]:
    """Weigh phrases by their frequency, and by the length and the article that were drawn."""
    weights = []
    for phrase, _ in phrases:
        words = phrase.text.split()
        factor = 1.0 if (words[0] if words[0] in ("a", "an", "the") else "") == article else _ARTICLE_PREFERENCE
        weights.append(phrase.weight * factor * _LENGTH_PREFERENCE ** abs(len(words) - length))
    return weights


def _draw_query(
    phrases: Sequence[tuple[Phrase, p.Program]],
    weights: Sequence[float],
    target: int,
    scene: Scene,
    realizer: PhraseRealizer,
    random: Random,
    used: Mapping[str, VerifiedQuery],
    accepts: Callable[[str, p.Program, int], bool],
) -> VerifiedQuery | None:
    """Draw phrases by weight until one is new and accepted; None if none is soon.

    So an object with a single likely phrase gets one query, and none in words that people hardly use.
    """
    for phrase, program in random.choices(phrases, weights, k=_MAX_DRAWS):
        text = realizer.vary_nouns(phrase, program, scene, random)
        if text in used or not accepts(text, program, target):
            continue
        misspelled = realizer.misspell(text, random)
        if misspelled not in used and (misspelled == text or accepts(misspelled, program, target)):
            return VerifiedQuery(text=misspelled, target=target, program=program)
    return None


def _find_clear_phrases(
    scene: Scene, category: str, realizer: PhraseRealizer, random: Random, noise: float
) -> tuple[dict[int, list[tuple[Phrase, p.Program]]], Mapping[str, set[frozenset[int]]]]:
    """Find the phrases that can only mean one object, by object; their weights include that of the relation type.

    Returns:
        The phrases, and the selections of all interpretations by phrase.
    """
    has_sides = "side" in get_relation_types(realizer.style)
    programs = list(enumerate_programs(scene, category, realizer.plurals, has_side_anchors=has_sides))
    programs += enumerate_negations(programs)
    evaluator, loose = ProgramEvaluator(scene, noise), ProgramEvaluator(scene, include_borderline=True)
    interpreted = find_interpretations(loose, programs, realizer)
    clear = _select_clear(programs, evaluator, interpreted, realizer)
    conjunctions = list(_combine_programs(clear, random))
    interpreted_conjunctions = find_interpretations(loose, conjunctions, realizer)
    for text, selections in interpreted_conjunctions.items():
        interpreted[text] |= selections
    every = [*clear, *_select_clear(conjunctions, evaluator, interpreted, realizer)]
    types = [_get_style_type(program) for program, _, _ in every]
    style = realizer.measured
    assert style is not None
    num_programs = Counter((target, name) for (_, target, _), name in zip(every, types, strict=True))
    found: dict[int, list[tuple[Phrase, p.Program]]] = defaultdict(list)
    for (program, target, phrases), name in zip(every, types, strict=True):
        factor = style.type_shares.get(name, 0.0) ** _TEMPER / num_programs[target, name]
        factor *= style.negated_share if isinstance(program, p.Without) else 1.0
        found[target] += [(replace(one, weight=factor * one.weight**_TEMPER), program) for one in phrases]
    return found, interpreted


def enumerate_negations(programs: Iterable[p.Program]) -> list[p.Program]:
    """Enumerate the programs of objects without an attribute that another one has."""
    nouns = (one for one in programs if isinstance(one, p.WithAttribute))
    return [p.Without(base=one.base, attribute=one.attribute, value=one.value) for one in nouns]


def _get_style_type(program: p.Program) -> RelationType:
    """Return the relation type that a style counts the program's queries as: "first from the left" as an ordinal."""
    return "ordinal" if isinstance(program, p.Ordinal) else get_relation_type(p.to_json(program))


def _select_clear(
    programs: Iterable[p.Program],
    evaluator: ProgramEvaluator,
    interpreted: Mapping[str, set[frozenset[int]]],
    realizer: PhraseRealizer,
) -> list[tuple[p.Program, int, list[Phrase]]]:
    """Select the programs that select a single object, each with its phrases that have no other interpretation."""
    clear = []
    for program in programs:
        selected = evaluator.evaluate(program)
        if len(selected) != 1:
            continue
        is_pair = len(evaluator.evaluate(get_noun_program(program))) == 2
        phrases = [
            one
            for one in realizer.list_phrases(program)
            if interpreted[one.text] == {selected} and (is_pair or not _NEEDS_PAIR.search(one.template))
        ]
        if total := sum(one.weight for one in phrases):
            clear.append((program, min(selected), [replace(one, weight=one.weight / total) for one in phrases]))
    return clear


_NEEDS_PAIR = re.compile(r"\{more\}|^not ")
"""Pattern of templates for one of two objects: "the smaller cup", "not the red one"."""

_MAX_CONJUNCTIONS = 6
"""Maximum number of positions with a relation, and of two relations, for each object."""


def _combine_programs(clear: Sequence[tuple[p.Program, int, list[Phrase]]], random: Random) -> Iterator[p.Program]:
    """Combine two programs that each select the same object: "left person next to the dog"."""
    by_target: dict[int, list[p.Program]] = defaultdict(list)
    for program, target, _ in clear:
        by_target[target].append(program)
    for _, programs in sorted(by_target.items()):
        relations = [one for one in programs if isinstance(one, p.Beside | p.NextTo | p.Between)]
        positions = [
            one
            for one in programs
            if not isinstance(
                one, p.Beside | p.NextTo | p.Between | p.Nearest | p.Category | p.WithAttribute | p.Without
            )
        ]
        for firsts in (positions, relations):
            combined = [
                replace(second, base=first)
                for first in firsts
                for second in relations
                if get_noun_program(first) == second.base
                and list_categories(first) & list_categories(second) == {p.get_category(first)}
                and first != second
            ]
            yield from random.sample(combined, min(_MAX_CONJUNCTIONS, len(combined)))


def has_own_name(scene: Scene, category: str) -> bool:
    """Return whether no other category of the scene shares its noun, as "teddy bear" shares that of "bear"."""
    others = {obj.category for obj in scene.objects} - {category}
    return not any(other.split()[-1] == category.split()[-1] for other in others)


def find_interpretations(
    evaluator: ProgramEvaluator, programs: Iterable[p.Program], realizer: PhraseRealizer
) -> dict[str, set[frozenset[int]]]:
    """Return, for each phrase of the programs, the selections of all its interpretations."""
    by_text: dict[str, set[frozenset[int]]] = defaultdict(set)
    for program in programs:
        for text, interpreted in realizer.find_interpretations(program):
            if selected := evaluator.evaluate(interpreted):
                by_text[text].add(selected)
    return by_text


def _shuffle_phrases(
    programs: Sequence[p.Program], realizer: PhraseRealizer, random: Random
) -> list[tuple[str, p.Program]]:
    """Return all phrases with their programs in random order; styles with brevity prefer short ones."""
    phrases = [(text, program) for program in programs for text in realizer.realize(program)]
    return sorted(phrases, key=lambda phrase: random.expovariate(realizer.compute_sampling_weight(phrase[0])))


def take_first_accepted(
    phrases: Iterable[tuple[str, p.Program]], accepts: Callable[[str, p.Program], bool]
) -> Iterator[tuple[str, p.Program]]:
    """Yield the first accepted phrase of each program."""
    realized: set[p.Program] = set()
    for text, program in phrases:
        if program not in realized and accepts(text, program):
            realized.add(program)
            yield text, program


def enumerate_programs(
    scene: Scene, category: str, known: Container[str] = (), *, has_side_anchors: bool = False
) -> Iterator[p.Program]:
    """Enumerate programs that could select a single object of the category, in a fixed order.

    Args:
        scene: all objects, other categories included.
        category: category of the targets.
        known: further categories whose objects may be anchors.
        has_side_anchors: whether anchors may be the left or right object of other categories, as in "next to the left
            car"; the written styles have no words for them.
    """
    evaluator = ProgramEvaluator(scene)
    others = sorted({obj.category for obj in scene.objects if obj.category == category or obj.category in known})
    named = [one for one in others if has_own_name(scene, one)]
    anchors = list(find_unique_descriptions(scene, evaluator, named, num_objects=1))
    if has_side_anchors:
        anchors += [
            p.Extreme(base=p.Category(name=one), side=side)
            for one in named
            if one != category
            for side in ("left", "right")
        ]
    pairs = list(find_unique_descriptions(scene, evaluator, named, num_objects=2))
    for base in enumerate_noun_programs(scene, category):
        yield base
        members = len(evaluator.evaluate(base))
        if members >= MIN_COMPARED:
            yield from _enumerate_odd(base, scene.attribute_names)
        if members >= 2:
            yield from _enumerate_positions(base, members)
            yield from _enumerate_comparisons(base, members, scene.perspective)
        yield from (program for anchor in anchors for program in _enumerate_relations(base, anchor, members, scene))
        yield from (p.Between(base=base, ends=ends) for ends in pairs)


def enumerate_noun_programs(scene: Scene, category: str) -> Iterator[p.Program]:
    """Enumerate the category with every combination of attributes that some of its objects have, all of them known."""
    bare = p.Category(name=category)
    members = [obj for obj in scene.objects if obj.category == category]
    known = set.intersection(*(set(obj.attributes) for obj in members)) if members else set()
    attribute_names = sort_adjectives(dict.fromkeys(known, ""))
    for chosen in chain.from_iterable(combinations(attribute_names, n) for n in range(len(attribute_names) + 1)):
        for values in sorted({tuple(obj.attributes[attribute] for attribute in chosen) for obj in members}):
            if NO_ATTRIBUTE in values:
                continue
            base: p.Program = bare
            for attribute, value in zip(chosen, values, strict=True):
                base = p.WithAttribute(base=base, attribute=attribute, value=value)
            yield base


def find_unique_descriptions(
    scene: Scene, evaluator: ProgramEvaluator, categories: Sequence[str], num_objects: int
) -> Iterator[p.Program]:
    """Find the descriptions with fewest words of each selection of ``num_objects`` by category and attributes."""
    fewest: dict[frozenset[int], int] = {}
    for category in categories:
        for base in enumerate_noun_programs(scene, category):
            selected, words = evaluator.evaluate(base), _count_attributes(base)
            if len(selected) == num_objects and words <= fewest.setdefault(selected, words):
                yield base


def _count_attributes(base: p.Program) -> int:
    return 1 + _count_attributes(base.base) if isinstance(base, p.WithAttribute) else 0


def _enumerate_odd(base: p.Program, attributes: Iterable[str]) -> Iterator[p.Program]:
    if isinstance(base, p.Category):  # "the odd red cup out" is hardly said
        yield p.Odd(base=base, attribute=None)
    yield from (p.Odd(base=base, attribute=attribute) for attribute in attributes)


def _enumerate_positions(base: p.Program, members: int) -> Iterator[p.Program]:
    for side in get_args(p.Side):
        yield p.Extreme(base=base, side=side)
        for rank in range(1, min(MAX_ORDINAL, members - 1) + 1) if members >= 3 else ():
            yield p.Ordinal(base=base, rank=rank, side=side)
    yield p.Middle(base=base)
    for region in get_args(p.RegionName):
        if region != "middle" or (members >= 3 and members % 2):  # an even number has no middle one
            yield p.Region(base=base, region=region)
    across: tuple[p.Side, p.Side] = ("left", "right")
    down: tuple[p.Side, p.Side] = ("top", "bottom")
    for side in across:
        yield p.Extreme(base=p.Region(base=base, region=side), side=side)
        for end in down:
            yield p.Region(base=p.Region(base=base, region=end), region=side)


def _enumerate_comparisons(base: p.Program, members: int, perspective: bool) -> Iterator[p.Program]:
    """Enumerate comparisons by size and depth, and positions within a row or a column."""
    for measure in get_args(p.Measure):
        yield p.Superlative(base=base, measure=measure)
        for region in ("left", "right"):
            yield p.Superlative(base=p.Region(base=base, region=region), measure=measure)
    if perspective:
        yield from (p.Depth(base=base, position=position) for position in get_args(p.DepthPosition))
    is_whole = isinstance(base, p.Category)  # "the top row" is one of all objects, whatever their colors
    for side in get_args(p.Side) if is_whole and members >= 4 else ():
        for rank in range(1, members // 2):
            yield from _enumerate_line_positions(p.Line(base=base, rank=rank, side=side), members)


def _enumerate_line_positions(line: p.Line, members: int) -> Iterator[p.Program]:
    sides: tuple[p.Side, p.Side] = ("left", "right") if line.side in ("top", "bottom") else ("top", "bottom")
    for side in sides:
        yield p.Extreme(base=line, side=side)
        for rank in range(2, min(MAX_ORDINAL, members - 3) + 1):
            yield p.Ordinal(base=line, rank=rank, side=side)
    yield p.Middle(base=line)


def _enumerate_relations(base: p.Program, anchor: p.Program, members: int, scene: Scene) -> Iterator[p.Program]:
    if base == anchor:
        return
    across: tuple[p.Direction, ...] = ("left", "right")
    # On one ground what is higher in the image is behind, not above.
    others: tuple[p.Direction, ...] = ("front", "behind") if scene.perspective else ("above", "below")
    touches = p.get_category(anchor) != p.get_category(base)  # objects are on and in those of other categories
    contacts = sorted({one.kind for one in scene.contacts}) if touches else []
    for direction in (*across, *others, *contacts):
        yield p.Beside(base=base, direction=direction, anchor=anchor)
    yield p.NextTo(base=base, anchor=anchor)
    if members >= 2:
        yield p.Nearest(base=base, anchor=anchor)
