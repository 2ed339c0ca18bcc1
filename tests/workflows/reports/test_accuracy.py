from __future__ import annotations

from dataclasses import replace

import pytest

from tests.workflows.toy_predictions import make_prediction
from workflows.cli.console import UserError
from workflows.reports.accuracy import build_report, compare_evaluations, find_word_kinds
from workflows.reports.accuracy_tables import format_report


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


def test_a_report_has_accuracy_by_each_grouping() -> None:
    answers = [
        make_prediction(0, 0.9),
        make_prediction(1, 0.2, text="red cup", num_distractors=3, target_share=0.3),
        make_prediction(
            2, 0.8, text="the big red cup that is next to the green dog", num_distractors=None, category=""
        ),
        make_prediction(3, 0.6, split="test"),
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


def test_queries_of_several_things_are_scored_by_both_protocols() -> None:
    report = build_report([make_prediction(0, 0.3, any_iou=0.9), make_prediction(1, 0.7)])["val"]
    assert report["accuracy"]["0.50"] == 0.5 and report["any_box"]["accuracy"]["0.50"] == 1


def test_ways_of_giving_priors_are_compared_on_the_same_queries() -> None:
    true = [make_prediction(i, 0.9) for i in range(40)]
    without = [make_prediction(i, 0.9 if i % 4 else 0.1, priors="none") for i in range(40)]
    report = build_report([*true, *without])
    gain = report["val"]["other_priors"]["none"]["difference"]["0.50"]
    assert gain["mean"] == pytest.approx(0.25) and 0 < gain["low"] < 0.25 < gain["high"]
    assert "+25.0 (" in format_report(report) and "## Effect of the priors" in format_report(report)


def test_two_runs_are_compared_by_distractors_too() -> None:
    first = [make_prediction(i, 0.9, num_distractors=i % 2) for i in range(20)]
    second = [replace(one, iou=0.1 if one.num_distractors else 0.9) for one in first]
    found = compare_evaluations(first, second)["val"]
    assert found["difference"]["0.50"]["mean"] == pytest.approx(0.5)
    assert {group: some["difference"]["0.50"]["mean"] for group, some in found["by_distractors"].items()} == {
        "0": 0,
        "1": 1,
    }
    with pytest.raises(UserError, match="20 only in the first, 0 only in the second"):
        compare_evaluations(first, [])
