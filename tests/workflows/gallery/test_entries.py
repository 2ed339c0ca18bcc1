from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from shards.reader import SampleReader
from tests.shards.toy_samples import make_sample
from trainer.evaluation.metrics import PredictionRecord
from workflows import ingest
from workflows.gallery import __main__ as gallery
from workflows.gallery.entries import (
    describe_query,
    find_target_marks,
    format_program,
    iterate_predictions,
    list_relations,
)
from workflows.miniature.world.dataset import WorldConfig, write_dataset

PROGRAM = {"op": "ordinal", "base": {"op": "category", "name": "cup"}, "rank": 2, "side": "right"}


def _read(path: Path) -> Any:
    """The JSON that a data file hands over."""
    found = re.fullmatch(r"gallery\.\w+\((?:\d+, )?(.*)\)\n", path.read_text())
    assert found
    return json.loads(found[1])


def test_programs_are_said_in_a_line_and_found_by_their_operators() -> None:
    both = {"op": "nearest", "base": PROGRAM, "anchor": {"op": "category", "name": "ball"}}
    assert format_program(both) == "nearest(ordinal(category(cup), 2, right), category(ball))"
    assert list_relations(both) == {"nearest", "ordinal"} and list_relations(None) == set()


def test_lines_mark_every_target_and_say_where_there_is_none() -> None:
    query = make_sample().queries[0]
    none = replace(query, text="car", boxes_xyxy=(), instances=(), program=PROGRAM)
    both = replace(query, boxes_xyxy=((0, 0, 4, 4), (5, 0, 9, 4)), instances=(0, 1))
    for sample, marks in (
        (make_sample(queries=(none, query, both)), [(), (0,), (0, 1)]),
        (make_sample(queries=(none, query, replace(both, instances=None))), [(), (0,), (0, 1)]),
        (
            make_sample(queries=tuple(replace(one, instances=None) for one in (none, query, both)), instances=()),
            [(), (0,), (1, 2)],
        ),
    ):
        assert [find_target_marks(sample, i) for i in range(3)] == marks
    assert describe_query(none) == "no target; ordinal(category(cup), 2, right)" and describe_query(query) == ""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=UPath(folder / "data")))
    return UPath(folder / "data")


def test_samples_show_all_queries_with_their_targets(data: UPath, tmp_path: Path) -> None:
    gallery.main(gallery.GalleryConfig(data=data, evaluation=tmp_path, output=tmp_path / "gallery"))
    samples = {sample.key: sample for sample in SampleReader(data / "miniature" / "samples")}
    items = _read(tmp_path / "gallery" / "data" / "items-0.js")
    assert len(items) == len(samples)
    for item in items:
        sample = samples[item["key"]]
        assert [text for text, _, _ in item["lines"]] == [query.text for query in sample.queries]
        for (_, _, meant), query in zip(item["lines"], sample.queries, strict=True):
            x1, y1, _, _, role, _ = item["marks"][meant[0]]
            assert (x1 * sample.width, y1 * sample.height) == pytest.approx(query.box_xyxy[:2], abs=0.01)
            assert role == "object"


def test_predictions_are_found_by_iou_and_show_each_way_of_giving_priors(data: UPath) -> None:
    place = data / "miniature"
    sample = next(iter(SampleReader(place / "samples", "val")))
    answers = [
        PredictionRecord(
            key=sample.key,
            query_id=query.query_id,
            text=query.text,
            split="val",
            source="miniature",
            num_distractors=sample.count_distractors(query),
            category="cup",
            target_share=0.1,
            box_xyxy=(1.0, 1.0, 20.0, 20.0),
            target_xyxy=query.box_xyxy,
            iou=iou,
            any_iou=iou,
            priors=priors,
            score=0.875 if priors == "own" else None,
            presence=0.5 if priors == "own" else None,
        )
        for query in sample.queries
        for priors, iou in (("own", 0.75), ("none", 0.25))
    ]
    entries = list(iterate_predictions(answers, place / "samples"))
    assert len(entries) == len(sample.queries)
    assert [mark.role for mark in entries[0].marks] == ["truth", "predicted", "other"]
    assert [line.text for line in entries[0].lines[1:]] == [
        "predicted box: IoU 0.75, confidence 88%, presence 50%, priors: own",
        "predicted box: IoU 0.25, priors: none",
    ]
    assert (entries[0].numbers["iou"], entries[0].numbers["confidence"]) == (0.75, 0.875)
