"""Do people mean what our programs mean? Plain queries of a data set, read as programs and run on its boxes.

    make benchmark NAME=agreement ARGS="refcoco --splits val --annotations refer/refcoco --split-by unc
        --images train2014 --instances instances_train2014.json"

A plain query names a category as it is called and says one object besides: a side, a rank, the middle, a corner, a
size,
or front and back ("left cup", "second cup from the right", "biggest cup"). It is clear where the maker of our scenes
would say it of these boxes: its program selects one object whatever 3 % of noise do to them, and can be said in a way
that means nothing else there. Then that one object should be what people meant. Beside that stands the mere order of
boxes, however close they are. Boxes of all objects of the category are needed, images are not. Prints a table and
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

from augmentation.queries.generator import generate_queries
from augmentation.queries.parse_check import is_category_name
from augmentation.queries.realizer import PhraseRealizer
from augmentation.relations import programs as p
from augmentation.relations.geometry import AXIS
from augmentation.relations.scene import Scene, SceneObject
from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.english import ORDINALS
from shards.boxes import Box
from shards.schema import Instance
from shards.sources.sample import SourceSample
from shards.sources.validation import drop_invalid_boxes
from trainer.evaluation.bootstrap import compute_intervals
from workflows.cli.annotation_options import AnnotationsConfig, read
from workflows.cli.console import UserError, console, run

MAX_QUERIES = 1000
"""Proved queries of each object and family, at most."""

_SIDES = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "bottommost": "bottom", "uppermost": "top",
    "upper": "top", "lower": "bottom", "highest": "top", "lowest": "bottom", "center": "middle",
}  # fmt: skip
_ADD_NOTHING = frozenset({"far", "side", "corner", "edge"})
_FRONT = frozenset({"front", "foreground", "closest", "nearest", "closer", "nearer"})
_BACK = frozenset({"back", "background", "farthest", "furthest"})
_RANKS = {ORDINALS[rank][0]: rank for rank in range(1, 6)}
_MEASURES: dict[str, p.Measure] = {
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

    output: Path = Path("benchmarks/results/agreement.json")


@dataclass(frozen=True, kw_only=True)
class QueryAgreement:
    """One plain query: whether our maker would say it there, of what people meant, and what the mere order selects."""

    relation_type: str
    query: str
    image_key: str
    is_clear: bool
    is_right: bool
    is_first_in_order: bool | None
    """Whether the first in order was meant; None where the family knows none."""


def main(config: AgreementConfig) -> None:
    agreements = list(
        compare_queries([sample for sample in read(config) if not config.splits or sample.split in config.splits])
    )
    if not agreements:
        raise UserError(f"{config.annotations} has no plain query with boxes of all objects of its category")
    figures = {relation_type: compute_figures(some) for relation_type, some in group_by_type(agreements).items()}
    print_figures(figures)
    for relation_type, some in group_by_type(agreements).items():
        wrong = [one for one in some if one.is_clear and not one.is_right][: config.show]
        console.print(
            f"{relation_type}, meant otherwise:", *(f"{one.query!r} ({one.image_key})" for one in wrong), sep="\n  "
        )
    config.output.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(config.output.read_text()) if config.output.exists() else {}
    config.output.write_text(json.dumps({**kept, config.dataset: figures}, indent=1) + "\n")


def compare_queries(samples: Sequence[SourceSample]) -> Iterator[QueryAgreement]:
    """Every plain query whose target has a distractor, and of which all boxes are known."""
    sound = (drop_invalid_boxes(sample, sample.size, []) for sample in samples if sample.size)
    targets = [
        (sample, query, target)
        for sample in sound
        if sample
        for query in sample.queries
        if query.instance is not None and not (target := sample.instances[query.instance]).is_crowd
    ]
    read_queries = AttributeParser().parse([query.text for _, query, _ in targets])
    for (sample, _, target), parsed in zip(targets, read_queries, strict=True):
        result = parse_plain_query(parsed, target.category)
        scene, number = _build_scene(sample, target)
        if result and len(scene.objects) > 1:
            relation_type, program = result
            proved = generate_queries(scene, target.category, PhraseRealizer(), MAX_QUERIES, seed=0)
            ours = {one.target for one in proved if one.program == program}
            yield QueryAgreement(
                relation_type=relation_type,
                query=parsed.query,
                image_key=sample.key,
                is_clear=bool(ours),
                is_right=ours == {number},
                is_first_in_order=None if (first := find_first_in_order(program, scene)) is None else first == number,
            )


def _build_scene(sample: SourceSample, target: Instance) -> tuple[Scene, int]:
    """Objects of the target's category, and the target's number. In perspective, as images are."""
    assert sample.size
    alike = [one for one in sample.instances if one.category == target.category and not one.is_crowd]
    objects = tuple(SceneObject(box_xyxy=one.box_xyxy, category=one.category) for one in alike)
    return Scene(width=sample.size[0], height=sample.size[1], objects=objects, perspective=True), alike.index(target)


def parse_plain_query(parsed: Attributes, category: str) -> tuple[str, p.Program] | None:
    """Family and program of a plain query; None where it says anything else, or names no category as it is called."""
    target = parsed.target
    more = (parsed.wearing, parsed.carrying, parsed.parts, parsed.owner, parsed.actions, parsed.related, parsed.negated)
    looks = (target.colors, target.patterns, target.materials, target.other_modifiers, target.contents, target.count)
    if any((*more, parsed.inscription, parsed.relative_location, *looks, target.plural)):
        return None
    called = target.lemma == "person" if category == "person" else is_category_name(target.lemma, category)
    return _build_program(parsed, p.Category(name=category)) if called else None


def _build_program(parsed: Attributes, base: p.Category) -> tuple[str, p.Program] | None:
    places = {_SIDES.get(word, word) for word in parsed.absolute_location} - _ADD_NOTHING
    match (parsed.target.sizes, parsed.ordinals, sorted(places)):
        case ((size,), (), []) if size in _MEASURES:
            return "size", p.Superlative(base=base, measure=_MEASURES[size])
        case ((), (nth,), [side]) if nth in _RANKS and side in AXIS:
            return "ordinal", p.Ordinal(base=base, rank=_RANKS[nth], side=_get_side(side))
        case ((), (), ["middle"]):
            return "middle", p.Middle(base=base)
        case ((), (), ["left" | "right" as side]):
            return "left, right", p.Extreme(base=base, side=_get_side(side))
        case ((), (), ["top" | "bottom" as side]):
            return "top, bottom", p.Extreme(base=base, side=_get_side(side))
        case ((), (), [one, other]) if {one, other} <= AXIS.keys() and AXIS[_get_side(one)] != AXIS[_get_side(other)]:
            across, down = sorted((_get_side(one), _get_side(other)), key=AXIS.__getitem__)
            return "corner", p.Region(base=p.Region(base=base, region=down), region=across)
        case ((), (), [position]) if position in _FRONT | _BACK:
            return (
                ("front", p.Depth(base=base, position="front"))
                if position in _FRONT
                else ("back", p.Depth(base=base, position="back"))
            )
    return None


def _get_side(word: str) -> p.Side:
    return next(side for side in get_args(p.Side) if side == word)


def find_first_in_order(program: p.Program, scene: Scene) -> int | None:
    """Find the object that the order of boxes alone selects, however close; return None for other programs."""

    def rank_by(key: Callable[[Box], float]) -> list[int]:
        return sorted(range(len(scene.objects)), key=lambda i: key(scene.objects[i].box_xyxy))

    match program:
        case p.Extreme(side=side):
            return rank_by(_make_side_key(side))[0]
        case p.Ordinal(side=side, rank=rank) if rank <= len(scene.objects):
            return rank_by(_make_side_key(side))[rank - 1]
        case p.Middle() if len(scene.objects) % 2:
            return rank_by(_make_side_key("left"))[len(scene.objects) // 2]
        case p.Superlative(measure=measure):
            by = _compute_area if measure in ("biggest", "smallest") else _get_height
            return rank_by(by)[-1 if measure in ("biggest", "tallest") else 0]
        case p.Depth(position=position):
            return rank_by(_get_bottom)[-1 if position == "front" else 0]
    return None


def _make_side_key(side: p.Side) -> Callable[[Box], float]:
    axis, sign = AXIS[side], 1 if side in ("left", "top") else -1
    return lambda box: sign * (box[axis] + box[axis + 2])


def _get_height(box: Box) -> float:
    return box[3] - box[1]


def _compute_area(box: Box) -> float:
    return (box[2] - box[0]) * _get_height(box)


def _get_bottom(box: Box) -> float:
    return box[3]


def group_by_type(agreements: Sequence[QueryAgreement]) -> dict[str, list[QueryAgreement]]:
    families: dict[str, list[QueryAgreement]] = defaultdict(list)
    for one in agreements:
        families[one.relation_type].append(one)
    return dict(sorted(families.items(), key=lambda item: -len(item[1])))


def compute_figures(agreements: Sequence[QueryAgreement]) -> dict[str, Any]:
    """Shares with 95 % intervals: over images, exact (Clopper-Pearson) where all are alike; None of nothing."""
    clear, unclear = ([one for one in agreements if one.is_clear is wanted] for wanted in (True, False))
    return {
        "queries": len(agreements),
        "clear": len(clear),
        "meant, where clear": _summarize_share(clear, [one.is_right for one in clear]),
        "first in order, all": _summarize_order_share(agreements),
        "first in order, where clear": _summarize_order_share(clear),
        "first in order, where not clear": _summarize_order_share(unclear),
    }


def _summarize_order_share(agreements: Sequence[QueryAgreement]) -> dict[str, float] | None:
    known = [one for one in agreements if one.is_first_in_order is not None]
    return _summarize_share(known, [bool(one.is_first_in_order) for one in known])


def _summarize_share(agreements: Sequence[QueryAgreement], right: Sequence[bool]) -> dict[str, float] | None:
    if not agreements:
        return None
    if len(set(right)) == 1:  # the bootstrap knows no doubt then
        exact = binomtest(sum(right), len(right)).proportion_ci(method="exact")
        return {"share": float(right[0]), "low": float(exact.low), "high": float(exact.high)}
    (result,) = compute_intervals([float(one) for one in right], [one.image_key for one in agreements])
    return {"share": result.mean, "low": result.low, "high": result.high}


def print_figures(figures: dict[str, dict[str, Any]]) -> None:
    table = Table("family", *next(iter(figures.values())))
    for relation_type, values in figures.items():
        table.add_row(relation_type, *(_format_value(value) for value in values.values()))
    console.print(table)


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['share']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
    return "" if value is None else f"{value:,}"


if __name__ == "__main__":
    run(main, AgreementConfig, __doc__)
