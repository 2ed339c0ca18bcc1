"""From a scene to queries that are proved: each means exactly one thing, also if the boxes are slightly off.

Every program of a small repertoire is run. One that selects exactly one thing of the scene, with the margin that its
operators ask for and whatever 3 % of noise do to the boxes, proves its phrases for that thing. A phrase that could
also be read as another program that means something else here is not said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from random import Random
from typing import get_args

from augmentation.queries.realizer import Wording, in_adjective_order
from augmentation.relations.evaluator import Reader
from augmentation.relations.programs import (
    Beside,
    Between,
    Category,
    Depth,
    Direction,
    Extreme,
    Line,
    Measure,
    Middle,
    Nearest,
    NextTo,
    Ordinal,
    Place,
    Program,
    Region,
    RegionName,
    Side,
    Superlative,
    WithAttribute,
    to_json,
)
from augmentation.relations.scene import NONE, Scene
from augmentation.relations.types import Family, family

MOST_ORDINAL = 4
"""Nobody counts to "fifth from the left"."""

BOX_NOISE = 0.03
"""Share of its size by which each edge of a box may be off."""


@dataclass(frozen=True, kw_only=True)
class ProvedQuery:
    """A phrase that means one thing of the scene, and the program that proves it."""

    text: str
    target: int
    """Index of the thing."""

    program: Program


def proved_queries(
    scene: Scene,
    category: str,
    wording: Wording,
    per_family: int,
    seed: int,
    noise: float = BOX_NOISE,
    is_understood: Callable[[str, Program], bool] = lambda text, program: True,
) -> list[ProvedQuery]:
    """Up to ``per_family`` queries of every family of programs for each thing of the category, by thing.

    Args:
        scene: with everything that was found, other categories included.
        seed: decides which of the proved programs are said, and how.
        noise: see ``BOX_NOISE``.
        is_understood: phrases that are not are not said; see ``Readback``.
    """
    if not _has_own_name(scene, category):
        return []
    programs = list(repertoire(scene, category, known=wording.plurals))
    heard = readings(Reader(scene, lenient=True), programs, wording)
    read = Reader(scene, noise)
    proved: dict[tuple[int, Family], list[Program]] = defaultdict(list)
    for program in programs:
        if len(selected := read(program)) == 1:
            proved[min(selected), family(to_json(program))].append(program)
    random, found = Random(seed), dict[str, ProvedQuery]()
    for (target, _), some in sorted(proved.items()):
        sayable = _in_random_order(some, wording, random)
        clear = (one for one in sayable if heard[one[0]] == {frozenset([target])} and one[0] not in found)
        for text, program in islice(_each_once(clear, is_understood), per_family):
            found[text] = ProvedQuery(text=text, target=target, program=program)
    return list(found.values())


def _has_own_name(scene: Scene, category: str) -> bool:
    """Whether no other category of the scene answers to its name, as a teddy bear does to "bear"."""
    others = {thing.category for thing in scene.things} - {category}
    return not any(other.split()[-1] == category.split()[-1] for other in others)


def readings(read: Reader, programs: Iterable[Program], wording: Wording) -> dict[str, set[frozenset[int]]]:
    """Everything that each phrase of the programs can be heard as in the reader's scene."""
    found: dict[str, set[frozenset[int]]] = defaultdict(set)
    for program in programs:
        for text, heard in wording.readings(program):
            if selected := read(heard):
                found[text].add(selected)
    return found


def _in_random_order(programs: Sequence[Program], wording: Wording, random: Random) -> list[tuple[str, Program]]:
    """All phrases with their programs; in short styles the short ones mostly come first."""
    phrases = [(text, program) for program in programs for text in wording.phrasings(program)]
    return sorted(phrases, key=lambda phrase: random.expovariate(wording.weight(phrase[0])))


def _each_once(
    phrases: Iterable[tuple[str, Program]], is_understood: Callable[[str, Program], bool]
) -> Iterator[tuple[str, Program]]:
    """The first phrase of each program that is understood."""
    said: set[Program] = set()
    for text, program in phrases:
        if program not in said and is_understood(text, program):
            said.add(program)
            yield text, program


def repertoire(scene: Scene, category: str, known: Container[str] = ()) -> Iterator[Program]:
    """Programs that could mean a single thing of the category; in a fixed order.

    Args:
        known: further categories, things of which it may be related to.
    """
    read = Reader(scene)
    others = sorted({thing.category for thing in scene.things if thing.category == category or thing.category in known})
    named = [one for one in others if _has_own_name(scene, one)]
    anchors = list(_described(scene, read, named, number=1))
    pairs = list(_described(scene, read, named, number=2))
    for base in _bases(scene, category):
        yield base
        members = len(read(base))
        if members >= 2:
            yield from _positions(base, members)
            yield from _among_themselves(base, members, scene.perspective)
        yield from (program for anchor in anchors for program in _related(base, anchor, members, scene.perspective))
        yield from (Between(of=base, ends=ends) for ends in pairs)


def _bases(scene: Scene, category: str) -> Iterator[Program]:
    """The category, and every combination of attributes that some of its things have (all of them known)."""
    bare = Category(name=category)
    members = [thing for thing in scene.things if thing.category == category]
    known = set.intersection(*(set(thing.attributes) for thing in members)) if members else set()
    kinds = in_adjective_order(dict.fromkeys(known, ""))
    for chosen in chain.from_iterable(combinations(kinds, n) for n in range(len(kinds) + 1)):
        for values in sorted({tuple(thing.attributes[kind] for kind in chosen) for thing in members}):
            if NONE in values:
                continue
            base: Program = bare
            for kind, value in zip(chosen, values, strict=True):
                base = WithAttribute(of=base, kind=kind, value=value)
            yield base


def _described(scene: Scene, read: Reader, categories: Sequence[str], number: int) -> Iterator[Program]:
    """Of each selection of ``number`` things that category and attributes make, the descriptions with fewest words."""
    fewest: dict[frozenset[int], int] = {}
    for category in categories:
        for base in _bases(scene, category):
            selected, words = read(base), _num_attributes(base)
            if len(selected) == number and words <= fewest.setdefault(selected, words):
                yield base


def _num_attributes(base: Program) -> int:
    return 1 + _num_attributes(base.of) if isinstance(base, WithAttribute) else 0


def _positions(base: Program, members: int) -> Iterator[Program]:
    for side in get_args(Side):
        yield Extreme(of=base, side=side)
        for rank in range(1, min(MOST_ORDINAL, members - 1) + 1) if members >= 3 else ():
            yield Ordinal(of=base, rank=rank, side=side)
    yield Middle(of=base)
    for region in get_args(RegionName):
        yield Region(of=base, region=region)
    across: tuple[Side, Side] = ("left", "right")
    down: tuple[Side, Side] = ("top", "bottom")
    for side in across:
        yield Extreme(of=Region(of=base, region=side), side=side)
        for end in down:
            yield Region(of=Region(of=base, region=end), region=side)


def _among_themselves(base: Program, members: int, perspective: bool) -> Iterator[Program]:
    """By size, by depth, and by the place within a row or a column."""
    for measure in get_args(Measure):
        yield Superlative(of=base, measure=measure)
        for region in ("left", "right"):
            yield Superlative(of=Region(of=base, region=region), measure=measure)
    if perspective:
        yield from (Depth(of=base, place=place) for place in get_args(Place))
    is_whole = isinstance(base, Category)  # "the top row" is one of all things, whatever their colours
    for side in get_args(Side) if is_whole and members >= 4 else ():
        for rank in range(1, members // 2):
            yield from _in_line(Line(of=base, rank=rank, side=side), members)


def _in_line(line: Line, members: int) -> Iterator[Program]:
    sides: tuple[Side, Side] = ("left", "right") if line.side in ("top", "bottom") else ("top", "bottom")
    for side in sides:
        yield Extreme(of=line, side=side)
        for rank in range(2, min(MOST_ORDINAL, members - 3) + 1):
            yield Ordinal(of=line, rank=rank, side=side)
    yield Middle(of=line)


def _related(base: Program, anchor: Program, members: int, perspective: bool) -> Iterator[Program]:
    if base == anchor:
        return
    across: tuple[Direction, ...] = ("left", "right")
    # On one ground what is higher in the picture is behind, not above.
    for direction in (*across, *(("front", "behind") if perspective else ("above", "below"))):
        yield Beside(of=base, direction=direction, anchor=anchor)
    yield NextTo(of=base, anchor=anchor)
    if members >= 2:
        yield Nearest(of=base, anchor=anchor)
