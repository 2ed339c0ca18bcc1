"""Predictions of other models: every way to write a query and a box, and everything that can be wrong with them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shards.boxes import Box
from shards.exports.conversations import Florence2Export, LlavaExport, Qwen3Export, Qwen25Export, SwiftExport
from shards.exports.export import Export
from shards.schema import Instance, Query, Sample
from tests.shards.toy_samples import make_png, make_sample
from workflows.cli.console import UserError
from workflows.reports.external_predictions import NO_BOX, BoxReading, parse_box, read_external_predictions

BOXES: tuple[Box, ...] = ((8.5, 40, 120.25, 161), (100, 90, 333, 217), (0, 0, 50, 60), (200, 10, 300, 90))


@pytest.fixture
def samples() -> list[Sample]:
    """Two images with two queries each, about two cups."""
    made = []
    for number, boxes in enumerate((BOXES[:2], BOXES[2:])):
        queries = tuple(
            Query(query_id=f"{number}{i}", text=text, boxes_xyxy=(box,), split="val", source="toy", instances=(i,))
            for i, (text, box) in enumerate(zip(("Left cup", "right cup"), boxes, strict=True))
        )
        made.append(
            make_sample(
                f"toy-{number}",
                width=333,
                height=217,
                image=make_png(333, 217),
                image_name=f"some/{number}.jpg",
                instances=tuple(Instance(box_xyxy=box, category="cup") for box in boxes),
                queries=queries,
            )
        )
    return made


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _rows(samples: list[Sample]) -> list[dict[str, Any]]:
    return [{"query_id": q.query_id, "box": list(q.box_xyxy)} for sample in samples for q in sample.queries]


def test_right_predictions_are_right_and_carry_the_ground_truth(tmp_path: Path, samples: list[Sample]) -> None:
    rows = [{**row, "score": 0.25} for row in _rows(samples)]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading())
    assert not result.problems
    assert [(one.query_id, one.iou, one.score) for one in result.records] == [
        (name, 1.0, 0.25) for name in ("00", "01", "10", "11")
    ]
    assert {(one.num_distractors, one.category, one.split) for one in result.records} == {(1, "cup", "val")}


@pytest.mark.parametrize("name", ["some/1.jpg", "1.jpg", "toy-1.png", "/data/elsewhere/1.jpg", "images\\toy-1.png"])
def test_a_query_is_found_by_image_and_text(tmp_path: Path, samples: list[Sample], name: str) -> None:
    rows = [{"image": name, "query": "left  CUP", "bbox": list(BOXES[2])}]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading())
    assert [one.iou for one in result.records] == [0, 0, 1, 0]
    assert result.count_problems() == {"no_answer": 3}
    assert [one.box_xyxy == NO_BOX for one in result.records] == [True, True, False, True]


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ({"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}, (1, 2, 3, 4)),
        ({"answer": '```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "a cup"}]\n```'}, (1, 2, 3, 4)),
        ({"response": "<|box_start|>(1,2),(3,4)<|box_end|>"}, (1, 2, 3, 4)),
        ({"prediction": "It is at [0.1, 0.25, 0.3, 0.40]."}, (0.1, 0.25, 0.3, 0.4)),
        ({"text": "<ref>cup</ref><box>[[1, 2, 3, 4]]</box>"}, (1, 2, 3, 4)),
        ({"text": "cup<loc_1><loc_2><loc_3><loc_4>"}, (1.5, 2.5, 3.5, 4.5)),
        ({"box": "1, 2, 3"}, None),
        ({"box": [1, 2, 3, float("nan")]}, None),
        ({"box": None, "answer": "I see no cup, 1 2 3 4."}, None),
        ({"box": {"x": 1}}, None),
    ],
)
def test_boxes_are_read_from_lists_and_answers(row: dict[str, Any], numbers: Box | None) -> None:
    parsed = parse_box(row)
    assert (parsed and parsed.numbers) == numbers


@pytest.mark.parametrize(
    ("export", "scale", "tolerance_px"),
    [
        (SwiftExport, "pixels", 0.0),
        (Qwen3Export, "thousandths", 0.2),
        (Qwen25Export, "qwen2.5-vl", 0.6),
        (Florence2Export, "pixels", 0.2),
        (LlavaExport, "llava", 1.7),
    ],
)
def test_what_an_export_teaches_is_read_back(
    tmp_path: Path, samples: list[Sample], export: type[Export], scale: Any, tolerance_px: float
) -> None:
    writer = export(tmp_path)
    for sample in samples:
        writer.add(sample)
    writer.finish()
    if export is LlavaExport:
        entries = json.loads((tmp_path / "val.json").read_text())
        answers = [turn["value"] for entry in entries for turn in entry["conversations"] if turn["from"] == "gpt"]
    elif export is SwiftExport:
        lines = [json.loads(line) for line in (tmp_path / "val.jsonl").read_text().splitlines()]
        answers = [str(line["objects"]["bbox"][0]) for line in lines]
    else:
        lines = [json.loads(line) for line in (tmp_path / "val.jsonl").read_text().splitlines()]
        answers = [line["suffix"] if "suffix" in line else line["messages"][1]["content"] for line in lines]
    rows = [{"query_id": row["query_id"], "answer": text} for row, text in zip(_rows(samples), answers, strict=True)]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading(scale=scale))
    assert not result.problems
    for one in result.records:
        assert one.box_xyxy == pytest.approx(one.target_xyxy, abs=tolerance_px)


def test_ms_swift_answers_are_matched_by_their_image_and_phrase(tmp_path: Path, samples: list[Sample]) -> None:
    rows = [
        {
            "response": "[8.5, 40, 120.25, 161]",
            "images": [{"bytes": None, "path": "exported/images/toy-0.png"}],
            "objects": {"ref": ["Left cup"], "bbox": [[0, 0, 1, 1]]},
        }
    ]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading())
    assert result.records[0].iou == 1


def test_unusable_rows_are_listed_and_missing_answers_count_as_wrong(tmp_path: Path, samples: list[Sample]) -> None:
    good = _rows(samples)[0]
    rows = [good, {**good, "box": [0, 0, 1, 1]}, {"query_id": "nobody", "box": [0, 0, 1, 1]}, {"query_id": "01"}]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading())
    assert result.count_problems() == {"repeated": 1, "unknown_query": 1, "no_box": 1, "no_answer": 3}
    assert [one.iou for one in result.records] == [1, 0, 0, 0]  # the first of two answers counts
    assert "line 3" in next(p["where"] for p in result.problems if p["rule"] == "unknown_query")


@pytest.mark.parametrize(("scale", "hint"), [(1, "--box-scale fractions"), (1000, "--box-scale thousandths")])
def test_boxes_of_another_scale_are_refused_with_the_option(
    tmp_path: Path, samples: list[Sample], scale: float, hint: str
) -> None:
    sides = (333, 217) * 2
    rows = [
        {**row, "box": [scale * v / side for v, side in zip(row["box"], sides, strict=True)]} for row in _rows(samples)
    ]
    path = _write(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=hint):
        read_external_predictions(path, samples, BoxReading())
    reading = BoxReading(scale="fractions" if scale == 1 else "thousandths")
    assert min(one.iou for one in read_external_predictions(path, samples, reading).records) > 0.999


def test_fractions_that_reach_a_little_outside_the_image_are_refused_too(tmp_path: Path, samples: list[Sample]) -> None:
    rows = [{**row, "box": [0.1, 0.2, 0.5, 1.02]} for row in _rows(samples)]
    with pytest.raises(UserError, match=r"4 of 4 boxes have no number above 1\.05; pass --box-scale fractions"):
        read_external_predictions(_write(tmp_path / "a.jsonl", rows), samples, BoxReading())


def test_a_file_without_an_answer_is_refused(tmp_path: Path, samples: list[Sample]) -> None:
    for content, message in (("", "it has no rows"), ('{"query_id": "x", "box": [1, 2, 3, 4]}', "1 unknown_query")):
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(UserError, match=message):
            read_external_predictions(tmp_path / "a.jsonl", samples, BoxReading())
    with pytest.raises(UserError, match=r"b\.jsonl does not exist"):
        read_external_predictions(tmp_path / "b.jsonl", samples, BoxReading())


def test_csv_and_boxes_that_are_empty_or_outside(tmp_path: Path, samples: list[Sample]) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query_id", "box", "score"])
        rows.writerow(["00", "[8.5, 40, 120.25, 161]", "0.5"])
        rows.writerow(["01", "[100, 90, 1e9, 900]", "often"])
        rows.writerow(["10", "[50, 60, 0, 0]", ""])
    result = read_external_predictions(tmp_path / "a.csv", samples, BoxReading())
    assert [one.iou for one in result.records] == [1, 1, 0, 0]
    assert [one.score for one in result.records] == [0.5, None, None, None]
    assert result.count_problems() == {"empty_box": 1, "no_answer": 1}


def test_one_of_several_targets_counts_for_the_any_box_protocol(tmp_path: Path, samples: list[Sample]) -> None:
    query = replace(samples[0].queries[0], boxes_xyxy=BOXES[:2], instances=None)
    sample = replace(samples[0], queries=(query,))
    rows = [{"query_id": "00", "box": list(BOXES[1])}]
    (one,) = read_external_predictions(_write(tmp_path / "a.jsonl", rows), [sample], BoxReading()).records
    assert one.any_iou == 1 and one.iou < 1


def test_queries_without_a_target_are_listed_and_not_scored(tmp_path: Path, samples: list[Sample]) -> None:
    first, second = samples[0].queries
    sample = replace(samples[0], queries=(first, replace(second, boxes_xyxy=(), instances=())))
    rows = [{"query_id": query.query_id, "box": list(BOXES[0])} for query in sample.queries]
    result = read_external_predictions(_write(tmp_path / "a.jsonl", rows), [sample], BoxReading())
    assert [one.query_id for one in result.records] == [first.query_id]
    assert result.count_problems() == {"no_target": 1}
