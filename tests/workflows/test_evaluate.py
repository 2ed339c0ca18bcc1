from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from shards.reader import SampleReader
from trainer.evaluate import write_predictions
from trainer.evaluation.metrics import PredictionRecord
from workflows import compare, evaluate, ingest
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.reports.accuracy import build_report, compare_evaluations, find_word_kinds
from workflows.reports.accuracy_tables import format_report
from workflows.reports.distractors import get_distractor_group
from workflows.visualization.prediction_sheets import select_worst


def _answer(number: int, iou: float, **changes: object) -> PredictionRecord:
    values: dict[str, object] = {
        "key": f"image-{number // 2}",
        "query_id": str(number),
        "text": "left cup",
        "split": "val",
        "source": "toy",
        "num_distractors": 1,
        "category": "cup",
        "target_share": 0.03,
        "box_xyxy": (0.0, 0.0, 9.0, 9.0),
        "target_xyxy": (0.0, 0.0, 10.0, 10.0),
        "iou": iou,
        "any_iou": iou,
    }
    return PredictionRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_queries_are_told_apart_by_what_they_speak_of() -> None:
    kinds = find_word_kinds(
        ["left cup", "red cup", "cup next to the dog", "second striped cup from the left", "cup", "?"]
    )
    assert kinds == {
        "left cup": {"spatial"},
        "red cup": {"attribute"},
        "cup next to the dog": {"spatial", "relational"},
        "second striped cup from the left": {"spatial", "ordinal", "attribute"},
        "cup": {"none of these"},
    }


def test_rivals_are_grouped_as_none_one_few_many_and_unknown() -> None:
    assert [get_distractor_group(n) for n in (0, 1, 2, 3, 4, 9, None)] == [
        "0",
        "1",
        "2-3",
        "2-3",
        "4+",
        "4+",
        "unknown",
    ]


def test_a_report_has_accuracy_by_each_grouping() -> None:
    answers = [
        _answer(0, 0.9),
        _answer(1, 0.2, text="red cup", num_distractors=3, target_share=0.3),
        _answer(2, 0.8, text="the big red cup that is next to the green dog", num_distractors=None, category=""),
        _answer(3, 0.6, split="test"),
    ]
    report = build_report(answers)
    val = report["val"]
    assert val["num_queries"] == 3 and val["num_images"] == 2 and report["test"]["num_queries"] == 1
    assert val["accuracy"]["0.50"] == pytest.approx(2 / 3) and val["accuracy"]["0.85"] == pytest.approx(1 / 3)
    low, high = val["intervals"]["0.50"]
    assert low <= 2 / 3 <= high
    counts = {name: {label: f["num_queries"] for label, f in groups.items()} for name, groups in val["by"].items()}
    assert counts == {
        "distractors": {"1": 1, "2-3": 1, "unknown": 1},
        "words": {"spatial": 2, "attribute": 2, "relational": 1},
        "length": {"1-2 words": 2, "9+": 1},
        "target size": {"1-5 %": 2, "20 % and more": 1},
        "category": {"cup": 2},
    }
    assert val["by"]["distractors"]["2-3"]["accuracy"]["0.50"] == 0
    assert "any_box" not in val and not val["other_priors"]


def test_phrases_of_several_things_are_scored_by_both_protocols() -> None:
    report = build_report([_answer(0, 0.3, any_iou=0.9), _answer(1, 0.7)])["val"]
    assert report["accuracy"]["0.50"] == 0.5 and report["any_box"]["accuracy"]["0.50"] == 1


def test_ways_of_giving_priors_are_compared_on_the_same_queries() -> None:
    true = [_answer(i, 0.9) for i in range(40)]
    without = [_answer(i, 0.9 if i % 4 else 0.1, priors="none") for i in range(40)]
    report = build_report([*true, *without])
    gain = report["val"]["other_priors"]["none"]["difference"]["0.50"]
    assert gain["mean"] == pytest.approx(0.25) and 0 < gain["low"] < 0.25 < gain["high"]
    assert "+25.0 (" in format_report(report) and "## Effect of the priors" in format_report(report)


def test_two_runs_are_compared_by_rivals_too() -> None:
    first = [_answer(i, 0.9, num_distractors=i % 2) for i in range(20)]
    second = [replace(one, iou=0.1 if one.num_distractors else 0.9) for one in first]
    found = compare_evaluations(first, second)["val"]
    assert found["difference"]["0.50"]["mean"] == pytest.approx(0.5)
    assert {group: some["difference"]["0.50"]["mean"] for group, some in found["by_distractors"].items()} == {
        "0": 0,
        "1": 1,
    }
    with pytest.raises(UserError, match="20 are in the first alone, 0 in the second"):
        compare_evaluations(first, [])


def test_the_worst_are_one_of_each_picture() -> None:
    answers = [_answer(0, 0.0), _answer(1, 0.0, num_distractors=5), _answer(2, 0.5), _answer(4, 0.2)]
    assert [one.query_id for one in select_worst(answers)] == ["1", "4", "2"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    data = UPath(folder / "data")
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=data))
    return data / "miniature" / "samples"


def _answers(samples: UPath, iou: float) -> Sequence[PredictionRecord]:
    return [
        _answer(0, iou, key=sample.key, query_id=query.query_id, text=query.text, target_xyxy=query.box_xyxy)
        for sample in SampleReader(samples, "val")
        for query in sample.queries
    ]


def test_a_report_is_written_with_tables_plots_and_pictures(samples: UPath, tmp_path: Path) -> None:
    answers = _answers(samples, 0.7)
    without = [replace(one, iou=0.2, priors="none") for one in answers]
    report = evaluate.write_report(samples, [*answers, *without], tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert (tmp_path / "report.md").read_text().startswith("# Evaluation\n")
    for name in ("thresholds", "groups", "priors", "worst", "random"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200
    evaluate.print_table({"network": report})


def test_compare_reads_two_folders(samples: UPath, tmp_path: Path) -> None:
    for name, iou in (("one", 0.7), ("other", 0.2)):
        write_predictions(tmp_path / name / "evaluation", _answers(samples, iou))
    get_dataset_paths = [tmp_path / name / "evaluation" for name in ("one", "other")]
    compare.main(
        compare.CompareConfig(first=get_dataset_paths[0], second=get_dataset_paths[1], output=tmp_path / "comparison")
    )
    record = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert record["runs"] == ["one", "other"] and record["splits"]["val"]["difference"]["0.50"]["mean"] == 1
    assert "| val | all |" in (tmp_path / "comparison" / "comparison.md").read_text()
