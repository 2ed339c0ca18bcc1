"""Plain queries of people are read as programs, and the figures say whose target they select."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from augmentation.relations.programs import Category, Depth, Extreme, Middle, Ordinal, Region, Superlative
from augmentation.relations.scene import Scene, SceneObject
from benchmarks.agreement import (
    AgreementConfig,
    compare_queries,
    compute_figures,
    find_first_in_order,
    main,
    parse_plain_query,
)
from generation.parsing.attributes import AttributeParser
from shards.schema import Instance, Query
from shards.sources.sample import SourceSample
from shards.sources.table import Fields

CUP = Category(name="cup")
SHARED = Path(__file__).parents[3] / "shared" / "real" / "refcoco_val.joined.jsonl.gz"


@pytest.fixture(scope="module")
def parser() -> AttributeParser:
    return AttributeParser()


@pytest.mark.parametrize(
    ("query", "program"),
    [
        ("left cup", Extreme(base=CUP, side="left")),
        ("cup on the far right", Extreme(base=CUP, side="right")),
        ("lowest cup", Extreme(base=CUP, side="bottom")),
        ("second cup from the left", Ordinal(base=CUP, rank=2, side="left")),
        ("cup in the center", Middle(base=CUP)),
        ("bottom right cup", Region(base=Region(base=CUP, region="bottom"), region="right")),
        ("left cup at the top", Region(base=Region(base=CUP, region="top"), region="left")),
        ("smaller cup", Superlative(base=CUP, measure="smallest")),
        ("cup closest to us", Depth(base=CUP, position="front")),
        ("cup in the background", Depth(base=CUP, position="back")),
        *((text, None) for text in ("red cup", "left red cup", "left mug", "cup", "left cup next to the plate")),
    ],
)
def test_plain_queries_are_read_as_programs_and_others_as_none(
    parser: AttributeParser, query: str, program: object
) -> None:
    found = parse_plain_query(parser.parse([query])[0], "cup")
    assert (found and found[1]) == program


def test_a_man_is_no_category_and_a_person_is(parser: AttributeParser) -> None:
    man, person = parser.parse(["left man", "left person"])
    assert parse_plain_query(man, "person") is None and parse_plain_query(person, "person")


def _sample(lefts: tuple[float, ...], texts: dict[str, int]) -> SourceSample:
    """Cups of 20 x 20 pixels side by side, and queries with the index of what was meant."""
    boxes = [(left, 40.0, left + 20, 60.0) for left in lefts]
    return SourceSample(
        key="a",
        split="val",
        image_name="a.jpg",
        size=(200, 100),
        instances=tuple(Instance(box_xyxy=box, category="cup") for box in boxes),
        queries=tuple(
            Query(query_id=text, text=text, boxes_xyxy=(boxes[i],), split="val", source="toy", instances=(i,))
            for text, i in texts.items()
        ),
    )


def test_what_is_clear_and_meant_is_counted_apart_from_the_mere_order() -> None:
    sample = _sample((0, 90, 100, 180), {"left cup": 0, "right cup": 2, "second cup from the left": 1, "red cup": 0})
    heard = {one.query: one for one in compare_queries([sample])}
    assert heard.keys() == {"left cup", "right cup", "second cup from the left"}
    assert heard["left cup"].is_right and heard["left cup"].is_first_in_order
    assert heard["right cup"].is_clear and not heard["right cup"].is_right
    second = heard["second cup from the left"]  # 10 pixels before the third: the order says it, our limits do not
    assert not second.is_clear and second.is_first_in_order
    crowd = Instance(box_xyxy=(0, 0, 200, 9), category="cup", is_crowd=True)
    assert list(compare_queries([replace(sample, instances=(*sample.instances, crowd))])) == list(heard.values())
    figures = compute_figures(list(heard.values()))
    assert (figures["queries"], figures["clear"]) == (3, 2)
    assert figures["meant, where clear"]["share"] == 0.5
    # Clopper-Pearson of 1 in 1: 0.025 and 1
    assert figures["first in order, where not clear"] == pytest.approx({"share": 1, "low": 0.025, "high": 1})


def test_the_mere_order_knows_sides_ranks_sizes_and_depth() -> None:
    boxes = ((0.0, 0.0, 10.0, 10.0), (40.0, 20.0, 80.0, 60.0), (90.0, 50.0, 100.0, 95.0))
    scene = Scene(width=100, height=100, objects=tuple(SceneObject(box_xyxy=box, category="cup") for box in boxes))
    base = {
        Extreme(base=CUP, side="right"): 2,
        Extreme(base=CUP, side="top"): 0,
        Ordinal(base=CUP, rank=2, side="right"): 1,
        Middle(base=CUP): 1,
        Superlative(base=CUP, measure="biggest"): 1,
        Superlative(base=CUP, measure="tallest"): 2,
        Superlative(base=CUP, measure="smallest"): 0,
        Depth(base=CUP, position="front"): 2,
        Depth(base=CUP, position="back"): 0,
    }
    assert {program: find_first_in_order(program, scene) for program in base} == base
    assert find_first_in_order(Region(base=CUP, region="left"), scene) is None


@pytest.mark.skipif(not SHARED.is_file(), reason=f"{SHARED} is not there")
def test_people_mean_what_our_sides_mean(tmp_path: Path) -> None:
    with gzip.open(SHARED, "rt") as lines:
        rows = [line for line in lines if {"left", "right"} & set(json.loads(line)["query"].split())]
    (tmp_path / "rows.jsonl").write_text("".join(rows[:1500]))
    config = AgreementConfig(
        dataset="some",
        format="table",
        annotations=UPath(tmp_path / "rows.jsonl"),
        images=UPath(tmp_path),
        fields=Fields(box="bbox_xywh", box_format="xywh", instances="same_category_boxes_xywh"),
        output=tmp_path / "agreement.json",
    )
    main(config)
    sides = json.loads((tmp_path / "agreement.json").read_text())["some"]["left, right"]
    assert sides["clear"] > 100 and sides["meant, where clear"]["share"] > 0.9
    assert sides["first in order, where not clear"]["share"] < sides["meant, where clear"]["share"]
