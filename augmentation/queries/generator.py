"""From a scene to queries that are proved: each means exactly one object, also if the boxes are slightly off.

Every program of a small repertoire is run. One that selects exactly one object of the scene, with the margin that its
operators ask for and whatever 3 % of noise do to the boxes, proves its phrases for that object. A phrase that could
also be read as another program that means something else here is not said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from random import Random
from typing import get_args

from augmentation.queries.realizer import PhraseRealizer, sort_adjectives
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    DepthPosition,
    Direction,
    Extreme,
    Line,
    Measure,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Program,
    Region,
    RegionName,
    Side,
    Superlative,
    WithAttribute,
    to_json,
)
from augmentation.relations.scene import NO_ATTRIBUTE, Scene
from augmentation.relations.types import RelationType, relation_type

MAX_ORDINAL = 4
"""Nobody counts to "fifth from the left"."""

BOX_NOISE = 0.03
"""Share of its size by which each edge of a box may be off."""


@dataclass(frozen=True, kw_only=True)
class VerifiedQuery:
    """A phrase that means one object of the scene, and the program that proves it."""

    text: str
    target: int
    """Index of the object."""

    program: Program


def generate_queries(
    scene: Scene,
    category: str,
    realizer: PhraseRealizer,
    per_relation_type: int,
    seed: int,
    noise: float = BOX_NOISE,
    accepts: Callable[[str, Program], bool] = lambda text, program: True,
) -> list[VerifiedQuery]:
    """Up to ``per_relation_type`` queries of every family of programs for each object of the category, by object.

    Args:
        scene: with everything that was found, other categories included.
        seed: decides which of the proved programs are said, and how.
        noise: see ``BOX_NOISE``.
        accepts: phrases that are not are not said; see ``RoundTripParser``.
    """
    if not _has_own_name(scene, category):
        return []
    programs = list(enumerate_programs(scene, category, known=realizer.plurals))
    interpreted = find_interpretations(ProgramEvaluator(scene, include_borderline=True), programs, realizer)
    evaluate = ProgramEvaluator(scene, noise)
    verified: dict[tuple[int, RelationType], list[Program]] = defaultdict(list)
    for program in programs:
        if len(selected := evaluate(program)) == 1:
            verified[min(selected), relation_type(to_json(program))].append(program)
    random, by_text = Random(seed), dict[str, VerifiedQuery]()
    for (target, _), programs_of_type in sorted(verified.items()):
        sayable = _shuffle_phrases(programs_of_type, realizer, random)
        clear = (one for one in sayable if interpreted[one[0]] == {frozenset([target])} and one[0] not in by_text)
        for text, program in islice(_take_first_accepted(clear, accepts), per_relation_type):
            by_text[text] = VerifiedQuery(text=text, target=target, program=program)
    return list(by_text.values())


def _has_own_name(scene: Scene, category: str) -> bool:
    """Whether no other category of the scene answers to its name, as a teddy bear does to "bear"."""
    others = {obj.category for obj in scene.objects} - {category}
    return not any(other.split()[-1] == category.split()[-1] for other in others)


def find_interpretations(
    evaluate: ProgramEvaluator, programs: Iterable[Program], realizer: PhraseRealizer
) -> dict[str, set[frozenset[int]]]:
    """Everything that each phrase of the programs can be heard as in the reader's scene."""
    by_text: dict[str, set[frozenset[int]]] = defaultdict(set)
    for program in programs:
        for text, interpreted in realizer.find_interpretations(program):
            if selected := evaluate(interpreted):
                by_text[text].add(selected)
    return by_text


def _shuffle_phrases(
    programs: Sequence[Program], realizer: PhraseRealizer, random: Random
) -> list[tuple[str, Program]]:
    """All phrases with their programs; in short styles the short ones mostly come first."""
    phrases = [(text, program) for program in programs for text in realizer.realize(program)]
    return sorted(phrases, key=lambda phrase: random.expovariate(realizer.compute_sampling_weight(phrase[0])))


def _take_first_accepted(
    phrases: Iterable[tuple[str, Program]], accepts: Callable[[str, Program], bool]
) -> Iterator[tuple[str, Program]]:
    """The first phrase of each program that is understood."""
    realized: set[Program] = set()
    for text, program in phrases:
        if program not in realized and accepts(text, program):
            realized.add(program)
            yield text, program


def enumerate_programs(scene: Scene, category: str, known: Container[str] = ()) -> Iterator[Program]:
    """Programs that could mean a single object of the category; in a fixed order.

    Args:
        known: further categories, objects of which it may be related to.
    """
    evaluate = ProgramEvaluator(scene)
    others = sorted({obj.category for obj in scene.objects if obj.category == category or obj.category in known})
    named = [one for one in others if _has_own_name(scene, one)]
    anchors = list(_find_unique_descriptions(scene, evaluate, named, num_objects=1))
    pairs = list(_find_unique_descriptions(scene, evaluate, named, num_objects=2))
    for base in _enumerate_noun_programs(scene, category):
        yield base
        members = len(evaluate(base))
        if members >= 2:
            yield from _enumerate_positions(base, members)
            yield from _enumerate_comparisons(base, members, scene.perspective)
        yield from (
            program for anchor in anchors for program in _enumerate_relations(base, anchor, members, scene.perspective)
        )
        yield from (Between(base=base, ends=ends) for ends in pairs)


def _enumerate_noun_programs(scene: Scene, category: str) -> Iterator[Program]:
    """The category, and every combination of attributes that some of its objects have (all of them known)."""
    bare = Category(name=category)
    members = [obj for obj in scene.objects if obj.category == category]
    known = set.intersection(*(set(obj.attributes) for obj in members)) if members else set()
    attribute_names = sort_adjectives(dict.fromkeys(known, ""))
    for chosen in chain.from_iterable(combinations(attribute_names, n) for n in range(len(attribute_names) + 1)):
        for values in sorted({tuple(obj.attributes[attribute] for attribute in chosen) for obj in members}):
            if NO_ATTRIBUTE in values:
                continue
            base: Program = bare
            for attribute, value in zip(chosen, values, strict=True):
                base = WithAttribute(base=base, attribute=attribute, value=value)
            yield base


def _find_unique_descriptions(
    scene: Scene, evaluate: ProgramEvaluator, categories: Sequence[str], num_objects: int
) -> Iterator[Program]:
    """Of each selection of ``num_objects`` objects that category and attributes make, the descriptions with fewest
    words."""
    fewest: dict[frozenset[int], int] = {}
    for category in categories:
        for base in _enumerate_noun_programs(scene, category):
            selected, words = evaluate(base), _count_attributes(base)
            if len(selected) == num_objects and words <= fewest.setdefault(selected, words):
                yield base


def _count_attributes(base: Program) -> int:
    return 1 + _count_attributes(base.base) if isinstance(base, WithAttribute) else 0


def _enumerate_positions(base: Program, members: int) -> Iterator[Program]:
    for side in get_args(Side):
        yield Extreme(base=base, side=side)
        for rank in range(1, min(MAX_ORDINAL, members - 1) + 1) if members >= 3 else ():
            yield Ordinal(base=base, rank=rank, side=side)
    yield Middle(base=base)
    for region in get_args(RegionName):
        yield Region(base=base, region=region)
    across: tuple[Side, Side] = ("left", "right")
    down: tuple[Side, Side] = ("top", "bottom")
    for side in across:
        yield Extreme(base=Region(base=base, region=side), side=side)
        for end in down:
            yield Region(base=Region(base=base, region=end), region=side)


def _enumerate_comparisons(base: Program, members: int, perspective: bool) -> Iterator[Program]:
    """By size, by depth, and by the place within a row or a column."""
    for measure in get_args(Measure):
        yield Superlative(base=base, measure=measure)
        for region in ("left", "right"):
            yield Superlative(base=Region(base=base, region=region), measure=measure)
    if perspective:
        yield from (Depth(base=base, position=position) for position in get_args(DepthPosition))
    is_whole = isinstance(base, Category)  # "the top row" is one of all objects, whatever their colors
    for side in get_args(Side) if is_whole and members >= 4 else ():
        for rank in range(1, members // 2):
            yield from _enumerate_line_positions(Line(base=base, rank=rank, side=side), members)


def _enumerate_line_positions(line: Line, members: int) -> Iterator[Program]:
    sides: tuple[Side, Side] = ("left", "right") if line.side in ("top", "bottom") else ("top", "bottom")
    for side in sides:
        yield Extreme(base=line, side=side)
        for rank in range(2, min(MAX_ORDINAL, members - 3) + 1):
            yield Ordinal(base=line, rank=rank, side=side)
    yield Middle(base=line)


def _enumerate_relations(base: Program, anchor: Program, members: int, perspective: bool) -> Iterator[Program]:
    if base == anchor:
        return
    across: tuple[Direction, ...] = ("left", "right")
    # On one ground what is higher in the image is behind, not above.
    for direction in (*across, *(("front", "behind") if perspective else ("above", "below"))):
        yield Beside(base=base, direction=direction, anchor=anchor)
    yield NextTo(base=base, anchor=anchor)
    if members >= 2:
        yield Nearest(base=base, anchor=anchor)
