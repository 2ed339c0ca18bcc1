"""From a scene to queries that are proved: each means exactly one thing, also if the boxes are slightly off.

Every program of a small repertoire is run. One that selects exactly one thing of the scene, with the margin that its
operators ask for and whatever 3 % of noise do to the boxes, proves its phrases for that thing. A phrase that could
also be read as another program that means something else here is not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, zip_longest
from random import Random
from typing import get_args

from augmentation.phrases import in_adjective_order, phrasings
from augmentation.programs import (
    Category,
    Extreme,
    Middle,
    Ordinal,
    Program,
    Region,
    RegionName,
    Side,
    WithAttribute,
    run,
)
from augmentation.scene import NONE, Scene

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


def repertoire(scene: Scene, category: str) -> Iterator[Program]:
    """Programs that could mean a single thing of the category, each with its words; in a fixed order."""
    for base in _bases(scene, category):
        yield base
        members = len(run(base, scene))
        if members >= 2:
            yield from _positions(base, members)


def proved_queries(
    scene: Scene, category: str, per_thing: int, seed: int, noise: float = BOX_NOISE
) -> list[ProvedQuery]:
    """Up to ``per_thing`` queries with different programs for each thing of the category, by thing.

    Args:
        scene: with everything that was found, other categories included.
        seed: decides which of the proved programs are said, and how.
        noise: see ``BOX_NOISE``.
    """
    readings = _readings(scene, category)
    proved: dict[int, list[Program]] = {}
    for program in repertoire(scene, category):
        selected = run(program, scene, noise)
        if len(selected) == 1:
            proved.setdefault(next(iter(selected)), []).append(program)
    random = Random(seed)
    return [
        query for target in sorted(proved) for query in _chosen(target, proved[target], readings, per_thing, random)
    ]


def _bases(scene: Scene, category: str) -> Iterator[Program]:
    """The category, and every combination of attributes that some of its things have (all of them known)."""
    bare = Category(name=category)
    members = [scene.things[i] for i in sorted(run(bare, scene))]
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


def _readings(scene: Scene, category: str) -> dict[str, set[frozenset[int]]]:
    """Everything that each phrase can mean in the scene, without asking for robustness."""
    readings: dict[str, set[frozenset[int]]] = {}
    for program in repertoire(scene, category):
        if selected := run(program, scene):
            for text in phrasings(program):
                readings.setdefault(text, set()).add(selected)
    return readings


def _chosen(
    target: int, programs: list[Program], readings: dict[str, set[frozenset[int]]], most: int, random: Random
) -> Iterator[ProvedQuery]:
    """Random programs of as many operators as there are, a random phrase of each, no phrase twice."""
    said: set[str] = set()
    for program in _mixed(programs, random):
        clear = [text for text in phrasings(program) if readings[text] == {frozenset([target])} and text not in said]
        if clear and len(said) < most:
            text = random.choice(clear)
            said.add(text)
            yield ProvedQuery(text=text, target=target, program=program)


def _mixed(programs: list[Program], random: Random) -> Iterator[Program]:
    """In random order, a program of every operator before a second one of any: ordinals would outnumber the rest."""
    by_operator: dict[type[Program], list[Program]] = {}
    for program in random.sample(programs, len(programs)):
        by_operator.setdefault(type(program), []).append(program)
    for row in zip_longest(*by_operator.values()):
        yield from (program for program in row if program is not None)
