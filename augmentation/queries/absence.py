"""Queries that nothing in a scene answers to, each one word away from what is true of one or several objects.

    generate_absent_queries(scene, "cup", realizer, {"color": ("red", "blue")}, 1, seed=0)
    # "fourth cup from the left" of three, "blue cup" of red ones, "cup to the right of the ball" of cups on its left,
    # "left hat" where there is none

Edits of verified programs are candidates. A phrase is proved absent if no object of the scene could be meant under any
interpretation of its words (``PossibilityEvaluator``), even if the boxes are slightly off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import get_args

from augmentation.queries.generator import (
    BOX_NOISE,
    MAX_ORDINAL,
    enumerate_noun_programs,
    enumerate_programs,
    has_own_name,
)
from augmentation.queries.realizer import PhraseRealizer, get_noun_program, replace_noun_program
from augmentation.queries.sets import VerifiedSet, take_phrases
from augmentation.relations import programs as p
from augmentation.relations.evaluator import OPPOSITE, ProgramEvaluator
from augmentation.relations.possibility import PossibilityEvaluator
from augmentation.relations.scene import Scene

OPPOSITE_DIRECTION: Mapping[p.Direction, p.Direction] = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
}

IMAGE_WORDS = frozenset({"image", "half", "picture", "photo"})
"""Words by which a side is that of the image, not that of the objects among themselves."""


def generate_absent_queries(
    scene: Scene,
    category: str,
    realizer: PhraseRealizer,
    attributes: Mapping[str, Sequence[str]],
    per_kind: int,
    seed: int,
    *,
    detectable: Iterable[str] = (),
    noise: float = BOX_NOISE,
    accepts: Callable[[str, p.Program], bool] = lambda text, program: True,
) -> list[VerifiedSet]:
    """Generate queries without a target.

    Args:
        scene: all detected objects, other categories included.
        category: category of the queries.
        realizer: words the programs.
        attributes: words by kind of attribute, among which an edit chooses.
        per_kind: maximum number of queries of each kind of edit: anchor, appearance, category, ordinal, region, side.
        seed: decides which candidates are realized, and how.
        detectable: categories that are not in the image unless the scene has objects of them, since a detector looked
            for them.
        noise: see ``BOX_NOISE``.
        accepts: whether a phrase may be used for its program; see ``RoundTripParser``.
    """
    if not has_own_name(scene, category):
        return []
    programs = list(enumerate_programs(scene, category, known=realizer.plurals))
    evaluator, possible = ProgramEvaluator(scene, noise), PossibilityEvaluator(scene, noise)
    missing = _find_missing_categories(scene, realizer, detectable)
    edited: dict[str, dict[p.Program, None]] = defaultdict(dict)
    nouns = enumerate_noun_programs(scene, category)
    for program in (*programs, *(p.Region(base=base, region=side) for base in nouns for side in get_args(p.Side))):
        if evaluator.evaluate(program):
            for kind, candidate in _edit_program(program, possible, attributes, missing):
                is_sensible = getattr(candidate, "anchor", None) != get_noun_program(candidate)
                if is_sensible and not possible.evaluate(candidate):
                    edited[kind][candidate] = None
    present = {text for program in programs if possible.evaluate(program) for text in realizer.realize(program)}
    random, queries = Random(seed), dict[str, VerifiedSet]()
    for _, candidates in sorted(edited.items()):
        phrases = [
            (text, candidate)
            for candidate in candidates
            for text in _list_absent_phrases(candidate, possible, realizer)
            if text not in present and text not in queries
        ]
        for text, program in take_phrases(phrases, realizer, random, per_kind, accepts):
            queries[text] = VerifiedSet(text=text, targets=(), program=program)
    return list(queries.values())


def _find_missing_categories(scene: Scene, realizer: PhraseRealizer, detectable: Iterable[str]) -> list[str]:
    """Find the categories whose names fit no object of the scene."""
    present = {one.category for one in scene.objects}
    return [
        name
        for name in sorted(set(detectable) & set(realizer.plurals) - present)
        if has_own_name(scene, name) and not any(realizer.may_name(name, category) for category in present)
    ]


def _edit_program(
    program: p.Program,
    possible: PossibilityEvaluator,
    attributes: Mapping[str, Sequence[str]],
    missing: Sequence[str],
) -> Iterator[tuple[str, p.Program]]:
    """Yield the kind of each edit and the edited program."""
    match program:
        case p.Ordinal(base=p.Category() | p.WithAttribute() as base):
            if (beyond := len(possible.evaluate(base)) + 1) <= MAX_ORDINAL + 1:
                yield "ordinal", replace(program, rank=beyond)
        case p.Region(base=p.Category() | p.WithAttribute(), region=region) if region != "middle":
            yield "region", replace(program, region=OPPOSITE[region])
        case p.Beside(base=p.Category() | p.WithAttribute(), direction=direction) if direction in OPPOSITE_DIRECTION:
            yield "side", replace(program, direction=OPPOSITE_DIRECTION[direction])
        case p.Odd(attribute=str(name)):
            yield from (("odd", replace(program, attribute=other)) for other in attributes if other != name)
    noun = get_noun_program(program)
    for other in _edit_attributes(noun, attributes):
        yield "appearance", replace_noun_program(program, other)
    yield from (("category", replace_noun_program(program, _rename(noun, name))) for name in missing)
    if isinstance(program, p.Beside | p.NextTo | p.Nearest):
        for other in _edit_attributes(program.anchor, attributes):
            yield "anchor", replace(program, anchor=other)
        yield from (("anchor", replace(program, anchor=_rename(program.anchor, name))) for name in missing)


def _edit_attributes(noun: p.Program, attributes: Mapping[str, Sequence[str]]) -> Iterator[p.Program]:
    """Yield the noun with another word for one of its attributes."""
    if not isinstance(noun, p.WithAttribute):
        return
    for word in attributes.get(noun.attribute, ()):
        if word != noun.value:
            yield replace(noun, value=word)
    for base in _edit_attributes(noun.base, attributes):
        yield replace(noun, base=base)


def _rename(noun: p.Program, category: str) -> p.Program:
    """Return the noun with another category and the same attributes."""
    if isinstance(noun, p.WithAttribute):
        return replace(noun, base=_rename(noun.base, category))
    return p.Category(name=category)


def _list_absent_phrases(program: p.Program, possible: PossibilityEvaluator, realizer: PhraseRealizer) -> list[str]:
    """Return the phrases of the program that mean nothing in the scene under any interpretation."""
    meant: dict[str, bool] = {}
    for text, interpreted in _find_interpretations(program, realizer):
        meant[text] = meant.get(text, False) or bool(possible.evaluate(interpreted))
    return [text for text, is_meant in meant.items() if not is_meant]


def _find_interpretations(program: p.Program, realizer: PhraseRealizer) -> Iterator[tuple[str, p.Program]]:
    """Yield the phrases with all interpretations; "the cup on the left side" is also the left one of several."""
    yield from realizer.find_interpretations(program)
    match program:
        case p.Region(base=base, region=("left" | "right" | "top" | "bottom") as side):
            for text in realizer.realize(program):
                if IMAGE_WORDS.isdisjoint(text.split()):
                    yield text, p.Extreme(base=base, side=side)
