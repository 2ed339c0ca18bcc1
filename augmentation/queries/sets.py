"""Verified queries for several objects of a scene: "both striped cups", "every cup but the red one".

The generator evaluates every candidate program. A program that selects two or more objects, with the margins of its
operators and under box noise, verifies its phrases for exactly these. As for single objects, a phrase with another
interpretation that selects anything else is not used. The phrases are plural, name two objects, or begin with "every".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from random import Random
from typing import get_args

from augmentation.queries.generator import (
    BOX_NOISE,
    enumerate_noun_programs,
    find_unique_descriptions,
    has_own_name,
    take_first_accepted,
)
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.set_realizer import SetRealizer
from augmentation.relations import programs as p
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.scene import NO_ATTRIBUTE, Scene

MAX_LEADING = 3
"""Maximum number of objects of "the three leftmost cups"."""

MIN_OBJECTS_IN_LINES = 4
"""Minimum number of objects of a category in two rows or columns."""


@dataclass(frozen=True, kw_only=True)
class VerifiedSet:
    """A phrase for none or several objects of the scene, with the program that verifies it."""

    text: str
    targets: tuple[int, ...]
    """Indices of the objects in the scene, ascending; empty if the phrase is proved absent."""

    program: p.Program


def generate_set_queries(
    scene: Scene,
    category: str,
    realizer: PhraseRealizer,
    per_kind: int,
    seed: int,
    noise: float = BOX_NOISE,
    accepts: Callable[[str, p.Program], bool] = lambda text, program: True,
) -> list[VerifiedSet]:
    """Generate verified queries for several objects.

    Args:
        scene: all detected objects, other categories included.
        category: category of the targets.
        realizer: words nouns and anchors, in its style.
        per_kind: maximum number of queries of each operator.
        seed: decides which of the verified programs are realized, and how.
        noise: see ``BOX_NOISE``.
        accepts: whether a phrase may be used for its program; see ``RoundTripParser``.
    """
    if not has_own_name(scene, category):
        return []
    set_realizer = SetRealizer(realizer)
    evaluator, loose = ProgramEvaluator(scene, noise), ProgramEvaluator(scene, include_borderline=True)
    phrases: dict[str, list[tuple[str, p.Program]]] = defaultdict(list)
    interpreted: dict[str, set[frozenset[int]]] = defaultdict(set)
    for program in enumerate_set_programs(scene, category, realizer):
        selected = evaluator.evaluate(program)
        if len(selected) < 2:
            continue
        for text in set_realizer.realize(program, len(selected)):
            phrases[type(program).__name__].append((text, program))
            interpreted[text].add(selected)
        for text, other in set_realizer.find_interpretations(program, len(selected)):
            if meant := loose.evaluate(other):
                interpreted[text].add(meant)
    random, queries = Random(seed), dict[str, VerifiedSet]()
    for _, candidates in sorted(phrases.items()):
        clear = [one for one in candidates if len(interpreted[one[0]]) == 1 and one[0] not in queries]
        for text, program in take_phrases(clear, realizer, random, per_kind, accepts):
            (targets,) = interpreted[text]
            queries[text] = VerifiedSet(text=text, targets=tuple(sorted(targets)), program=program)
    return list(queries.values())


def take_phrases(
    phrases: Iterable[tuple[str, p.Program]],
    realizer: PhraseRealizer,
    random: Random,
    count: int,
    accepts: Callable[[str, p.Program], bool],
) -> Iterator[tuple[str, p.Program]]:
    """Yield at most ``count`` accepted phrases of different programs, in random order; short ones are preferred."""
    order = sorted(phrases, key=lambda phrase: random.expovariate(realizer.compute_sampling_weight(phrase[0])))
    return islice(take_first_accepted(order, accepts), count)


def enumerate_set_programs(scene: Scene, category: str, realizer: PhraseRealizer) -> Iterator[p.Program]:
    """Enumerate programs that could select several objects, in a fixed order."""
    evaluator = ProgramEvaluator(scene)
    known = sorted({one.category for one in scene.objects if one.category in realizer.plurals})
    named = [one for one in known if has_own_name(scene, one)]
    single = list(find_unique_descriptions(scene, evaluator, named, num_objects=1))
    bare = p.Category(name=category)
    for base in enumerate_noun_programs(scene, category):
        yield base
        for side in get_args(p.Side):
            yield p.Region(base=base, region=side)
            if side in ("left", "right"):
                yield from (p.Leading(base=base, count=count, side=side) for count in range(2, MAX_LEADING + 1))
        for anchor in single:
            yield from _enumerate_relations(base, anchor, scene.perspective)
    yield from (p.Alike(base=bare, attribute=attribute) for attribute in (None, *scene.attribute_names))
    members = len(evaluator.evaluate(bare))
    for side in get_args(p.Side) if members >= MIN_OBJECTS_IN_LINES else ():
        yield from (p.Line(base=bare, rank=rank, side=side) for rank in range(1, members // 2))
    own = [one for one in single if one != bare and evaluator.evaluate(one) <= evaluator.evaluate(bare)]
    yield from _enumerate_exceptions(scene, bare, own)
    yield from (p.Both(base=one, other=other) for one, other in _list_pairs(own, single, evaluator))


def _enumerate_relations(base: p.Program, anchor: p.Program, perspective: bool) -> Iterator[p.Program]:
    directions: tuple[p.Direction, ...] = ("left", "right") if perspective else ("left", "right", "above", "below")
    yield from (p.Beside(base=base, direction=direction, anchor=anchor) for direction in directions)
    yield p.NextTo(base=base, anchor=anchor)


def _enumerate_exceptions(scene: Scene, bare: p.Category, own: Sequence[p.Program]) -> Iterator[p.Program]:
    """Enumerate all but one, and those without an attribute that others have."""
    yield from (p.Except(base=bare, excluded=one) for one in own)
    for side in ("left", "right"):
        yield p.Except(base=bare, excluded=p.Extreme(base=bare, side=side))
    facts = sorted({fact for one in scene.objects if one.category == bare.name for fact in one.attributes.items()})
    for attribute, value in facts:
        if value != NO_ATTRIBUTE:
            yield p.Without(base=bare, attribute=attribute, value=value)


def _list_pairs(
    own: Sequence[p.Program], single: Sequence[p.Program], evaluator: ProgramEvaluator
) -> Iterator[tuple[p.Program, p.Program]]:
    """Yield descriptions of two objects, the first of the category; two of the category come once."""
    yield from combinations(own, 2)
    yield from ((one, other) for one in own for other in single if other not in own and one != other)
