"""Do people mean what our programs mean? Plain queries of a data set, read as programs and run on its boxes.

    make benchmark-agreement ARGS="refcoco --splits val --annotations refer/refcoco --split-by unc --images train2014
        --instances instances_train2014.json"

A plain query names a category as it is called and says one thing besides: a side, a rank, the middle, a corner, a size,
or front and back ("left cup", "second cup from the right", "biggest cup"). It is clear where the maker of our scenes
would say it of these boxes: its program selects one thing whatever 3 % of noise do to them, and can be said in a way
that means nothing else there. Then that one thing should be what people meant. Beside that stands the mere order of
boxes, however close they are. Boxes of all things of the category are needed, photographs are not. Prints a table and
writes the figures as JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import tyro
from rich.table import Table
from scipy.stats import binomtest

from augmentation.queries.generator import proved_queries
from augmentation.queries.parse_check import names
from augmentation.queries.realizer import Wording
from augmentation.relations.geometry import AXIS
from augmentation.relations.programs import (
    Category,
    Depth,
    Extreme,
    Measure,
    Middle,
    Ordinal,
    Program,
    Region,
    Side,
    Superlative,
)
from augmentation.relations.scene import Scene, Thing
from generation.parsing.attributes import AttributeParser, Attributes
from shards.schema import Box, Instance
from shards.sources.sample import SourceSample
from shards.sources.validation import with_sound_boxes
from trainer.evaluation.bootstrap import intervals
from workflows.cli.annotation_options import AnnotationsConfig, read
from workflows.cli.console import UserError, console, run

EVERY_ONE = 1000
"""Proved queries of each thing and family, at most."""

_SIDES = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "bottommost": "bottom", "uppermost": "top",
    "upper": "top", "lower": "bottom", "highest": "top", "lowest": "bottom", "center": "middle",
}  # fmt: skip
_ADD_NOTHING = frozenset({"far", "side", "corner", "edge"})
_FRONT = frozenset({"front", "foreground", "closest", "nearest", "closer", "nearer"})
_BACK = frozenset({"back", "background", "farthest", "furthest"})
_RANKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_MEASURES: dict[str, Measure] = {
    "big": "biggest", "bigger": "biggest", "biggest": "biggest", "large": "biggest", "larger": "biggest",
    "largest": "biggest", "small": "smallest", "smaller": "smallest", "smallest": "smallest", "little": "smallest",
    "tall": "tallest", "taller": "tallest", "tallest": "tallest", "short": "shortest", "shorter": "shortest",
    "shortest": "shortest",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AgreementConfig(AnnotationsConfig):
    """Which data set."""

    dataset: tyro.conf.Positional[str]
    """Name under which the figures are kept."""

    splits: tuple[str, ...] = ()
    """Only these; all where none is given."""

    show: int = 10
    """Queries of each family to print that people meant otherwise."""

    output: Path = Path("docs/agreement.json")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One plain query: whether our maker would say it there, of what people meant, and what the mere order selects."""

    family: str
    query: str
    picture: str
    is_clear: bool
    is_right: bool
    in_order: bool | None
    """Whether the first in order was meant; None where the family knows none."""


def main(config: AgreementConfig) -> None:
    heard = list(hear([sample for sample in read(config) if not config.splits or sample.split in config.splits]))
    if not heard:
        raise UserError(f"{config.annotations} has no plain query with boxes of all things of its category")
    figures = {family: figures_of(some) for family, some in by_family(heard).items()}
    print_figures(figures)
    for family, some in by_family(heard).items():
        wrong = [one for one in some if one.is_clear and not one.is_right][: config.show]
        console.print(f"{family}, meant otherwise:", *(f"{one.query!r} ({one.picture})" for one in wrong), sep="\n  ")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(config.output.read_text()) if config.output.exists() else {}
    config.output.write_text(json.dumps({**kept, config.dataset: figures}, indent=1) + "\n")


def hear(samples: Sequence[SourceSample]) -> Iterator[Heard]:
    """Every plain query whose target has a rival, and of which all boxes are known."""
    sound = (with_sound_boxes(sample, sample.size, []) for sample in samples if sample.size)
    asked = [
        (sample, query, target)
        for sample in sound
        if sample
        for query in sample.queries
        if query.instance is not None and not (target := sample.instances[query.instance]).is_crowd
    ]
    read_queries = AttributeParser().parse([query.text for _, query, _ in asked])
    for (sample, _, target), said in zip(asked, read_queries, strict=True):
        found = meant(said, target.category)
        scene, number = _scene_of(sample, target)
        if found and len(scene.things) > 1:
            family, program = found
            proved = proved_queries(scene, target.category, Wording(), EVERY_ONE, seed=0)
            ours = {one.target for one in proved if one.program == program}
            yield Heard(
                family=family,
                query=said.query,
                picture=sample.key,
                is_clear=bool(ours),
                is_right=ours == {number},
                in_order=None if (first := first_in_order(program, scene)) is None else first == number,
            )


def _scene_of(sample: SourceSample, target: Instance) -> tuple[Scene, int]:
    """Things of the target's category, and the target's number. In perspective, as photographs are."""
    assert sample.size
    alike = [one for one in sample.instances if one.category == target.category and not one.is_crowd]
    things = tuple(Thing(box_xyxy=one.box_xyxy, category=one.category) for one in alike)
    return Scene(width=sample.size[0], height=sample.size[1], things=things, perspective=True), alike.index(target)


def meant(said: Attributes, category: str) -> tuple[str, Program] | None:
    """Family and program of a plain query; None where it says anything else, or names no category as it is called."""
    target = said.target
    more = (said.wearing, said.carrying, said.parts, said.owner, said.actions, said.related, said.negated)
    looks = (target.colours, target.patterns, target.materials, target.others, target.contents, target.count)
    if any((*more, said.inscription, said.relative_location, *looks, target.plural)):
        return None
    called = target.lemma == "person" if category == "person" else names(target.lemma, category)
    return _program(said, Category(name=category)) if called else None


def _program(said: Attributes, of: Category) -> tuple[str, Program] | None:
    places = {_SIDES.get(word, word) for word in said.absolute_location} - _ADD_NOTHING
    match (said.target.sizes, said.ordinals, sorted(places)):
        case ((size,), (), []) if size in _MEASURES:
            return "size", Superlative(of=of, measure=_MEASURES[size])
        case ((), (nth,), [side]) if nth in _RANKS and side in AXIS:
            return "ordinal", Ordinal(of=of, rank=_RANKS[nth], side=_side(side))
        case ((), (), ["middle"]):
            return "middle", Middle(of=of)
        case ((), (), ["left" | "right" as side]):
            return "left, right", Extreme(of=of, side=_side(side))
        case ((), (), ["top" | "bottom" as side]):
            return "top, bottom", Extreme(of=of, side=_side(side))
        case ((), (), [one, other]) if {one, other} <= AXIS.keys() and AXIS[_side(one)] != AXIS[_side(other)]:
            across, down = sorted((_side(one), _side(other)), key=AXIS.__getitem__)
            return "corner", Region(of=Region(of=of, region=down), region=across)
        case ((), (), [place]) if place in _FRONT | _BACK:
            return ("front", Depth(of=of, place="front")) if place in _FRONT else ("back", Depth(of=of, place="back"))
    return None


def _side(word: str) -> Side:
    return next(side for side in get_args(Side) if side == word)


def first_in_order(program: Program, scene: Scene) -> int | None:
    """The thing that an order of boxes alone puts where the program says, however close; None of other programs."""

    def ranked(key: Callable[[Box], float]) -> list[int]:
        return sorted(range(len(scene.things)), key=lambda i: key(scene.things[i].box_xyxy))

    match program:
        case Extreme(side=side):
            return ranked(_from(side))[0]
        case Ordinal(side=side, rank=rank) if rank <= len(scene.things):
            return ranked(_from(side))[rank - 1]
        case Middle() if len(scene.things) % 2:
            return ranked(_from("left"))[len(scene.things) // 2]
        case Superlative(measure=measure):
            by = _area if measure in ("biggest", "smallest") else _height
            return ranked(by)[-1 if measure in ("biggest", "tallest") else 0]
        case Depth(place=place):
            return ranked(_feet)[-1 if place == "front" else 0]
    return None


def _from(side: Side) -> Callable[[Box], float]:
    axis, sign = AXIS[side], 1 if side in ("left", "top") else -1
    return lambda box: sign * (box[axis] + box[axis + 2])


def _height(box: Box) -> float:
    return box[3] - box[1]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * _height(box)


def _feet(box: Box) -> float:
    return box[3]


def by_family(heard: Sequence[Heard]) -> dict[str, list[Heard]]:
    families: dict[str, list[Heard]] = defaultdict(list)
    for one in heard:
        families[one.family].append(one)
    return dict(sorted(families.items(), key=lambda item: -len(item[1])))


def figures_of(heard: Sequence[Heard]) -> dict[str, Any]:
    """Shares with 95 % intervals: over pictures, exact (Clopper-Pearson) where all are alike; None of nothing."""
    clear, unclear = ([one for one in heard if one.is_clear is wanted] for wanted in (True, False))
    return {
        "queries": len(heard),
        "clear": len(clear),
        "meant, where clear": _share(clear, [one.is_right for one in clear]),
        "first in order, all": _share_in_order(heard),
        "first in order, where clear": _share_in_order(clear),
        "first in order, where not clear": _share_in_order(unclear),
    }


def _share_in_order(heard: Sequence[Heard]) -> dict[str, float] | None:
    known = [one for one in heard if one.in_order is not None]
    return _share(known, [bool(one.in_order) for one in known])


def _share(of: Sequence[Heard], right: Sequence[bool]) -> dict[str, float] | None:
    if not of:
        return None
    if len(set(right)) == 1:  # the bootstrap knows no doubt then
        exact = binomtest(sum(right), len(right)).proportion_ci(method="exact")
        return {"share": float(right[0]), "low": float(exact.low), "high": float(exact.high)}
    (found,) = intervals([float(one) for one in right], [one.picture for one in of])
    return {"share": found.mean, "low": found.low, "high": found.high}


def print_figures(figures: dict[str, dict[str, Any]]) -> None:
    table = Table("family", *next(iter(figures.values())))
    for family, of in figures.items():
        table.add_row(family, *(_shown(value) for value in of.values()))
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['share']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
    return "" if value is None else f"{value:,}"


if __name__ == "__main__":
    run(main, AgreementConfig, __doc__)
