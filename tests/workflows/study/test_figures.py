from __future__ import annotations

from dataclasses import replace

import pytest

from tests.workflows.study.toy_predictions import make_predictions
from workflows.study.__main__ import TEST
from workflows.study.figures import COMPARISONS, compute_difference, make_groups, name_without_priors, summarize_seeds
from workflows.study.variants import VARIANTS_BY_NAME


def test_a_mean_over_seeds_has_students_interval() -> None:
    found = summarize_seeds([0.1, 0.2, 0.3])
    # t(0.975, 2) = 4.3027, s = 0.1: 4.3027 x 0.1 / sqrt(3)
    assert found["mean"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.2 - 0.24842, 0.2 + 0.24842), abs=1e-4)
    assert summarize_seeds([0.5]) == {"mean": 0.5, "low": None, "high": None, "num_seeds": 1}


def test_differences_are_paired_by_query_and_by_seed() -> None:
    answers = {
        (500, "both", 0): make_predictions([True, True, True, False, True, False]),
        (500, "base", 0): make_predictions([False, True, False, False, True, False]),
        (500, "both", 1): make_predictions([True, True, True, True, True, True]),
        (500, "base", 1): make_predictions([True, True, True, True, True, False]),
        (500, "base", 2): make_predictions([False] * 6),
    }
    everything = next(one for one in make_groups(answers[500, "both", 0], (), TEST) if one.name == "test")
    found = compute_difference(answers, 500, "both", "base", everything)
    assert found is not None and found["num_queries"] == 6
    assert found["over_seeds"]["num_seeds"] == 2
    assert found["over_seeds"]["mean"] == pytest.approx((2 / 6 + 1 / 6) / 2)
    assert found["over_images"]["mean"] == pytest.approx(0.25)
    assert compute_difference(answers, 500, "both", "scenes", everything) is None


def test_groups_say_which_queries_a_comparison_is_about() -> None:
    judged = [
        *make_predictions([True] * 6),
        replace(make_predictions([True])[0], split="val", query_id="v", text="second cup from left"),
    ]
    judged.append(replace(judged[-1], query_id="w", text="red cup"))
    judged[0] = replace(judged[0], text="purple cup", num_distractors=1)
    judged[4] = replace(judged[4], text="third cup from the right")
    chosen = {one.name: [j.query_id for j in judged if one.holds(j)] for one in make_groups(judged, {"q1", "q5"}, TEST)}
    assert chosen["unseen combinations"] == ["q1", "q5"]
    assert chosen["seen combinations"] == ["q0", "q2", "q3"]
    assert chosen["held-out colors"] == ["q0"] and chosen["other colors"] == ["q1", "q2", "q3"]
    assert chosen["val, positional"] == ["v"] and chosen["val, not positional"] == ["w"]
    assert chosen["ordinal"] == ["q4"]
    assert chosen["one distractor"] == ["q0"] and chosen["two or more distractors"] == [f"q{i}" for i in range(1, 6)]
    assert chosen["testB"] == ["q4", "q5"] and chosen["val"] == ["v", "w"]
    assert chosen["test"] == [f"q{i}" for i in range(6)]


def test_comparisons_name_existing_variants_and_groups() -> None:
    names = {"val", *(one.name for one in make_groups(make_predictions([True] * 6), (), TEST))}
    variants = {*VARIANTS_BY_NAME, *map(name_without_priors, VARIANTS_BY_NAME)}
    for one in COMPARISONS:
        assert one.first in variants and one.second in VARIANTS_BY_NAME and one.group in names
    compared = {name for one in COMPARISONS for name in (one.first, one.second)}
    assert compared & VARIANTS_BY_NAME.keys() == VARIANTS_BY_NAME.keys()
