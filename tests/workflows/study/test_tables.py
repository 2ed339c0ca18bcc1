from __future__ import annotations

import pytest

from tests.workflows.study.toy_predictions import make_predictions
from workflows.study.__main__ import TEST
from workflows.study.figures import report
from workflows.study.tables import format_markdown


def test_the_report_has_levels_and_differences_and_becomes_a_table() -> None:
    with_priors, without = [True, True, False, True, True, False], [False, True, False, True, True, False]
    modes = {
        (500, variant, seed): {"own": make_predictions(with_priors), "none": make_predictions(without)}
        if variant == "both"
        else {"none": make_predictions(without)}
        for variant in ("base", "both")
        for seed in (0, 1)
    }
    seconds = {"500": {"both": 90.0}}
    record = {
        "networks": {"finished": 4, "all": 9},
        "steps": 10,
        "cost": seconds,
        "data_seconds": {"priors": 150.0},
        "extra_data": {"prompted": {"images": 7, "queries": 1234}},
        **report(modes, {"q0"}, TEST),
    }
    assert record["levels"]["500"]["both"]["test"]["accuracy"]["mean"] == pytest.approx(4 / 6)
    assert [(one["first"], one["second"]) for one in record["comparisons"]] == [("both", "base")] * 2
    (gain,) = record["prior_sensitivity"]
    assert (gain["variant"], gain["priors"]) == ("both", "none")
    assert gain["over_seeds"]["mean"] == pytest.approx(1 / 6)
    text = format_markdown(record)
    assert "4 of 9 networks" in text and "| both | 2 |" in text and "+16.7" in text and " 1.5 |" in text
    assert "priors 2.5." in text and "prompted 7, 1,234." in text


@pytest.mark.parametrize(("low", "high", "sign"), [(0.01, 0.03, "+"), (-0.03, -0.01, "-"), (-0.01, 0.03, "")])
def test_a_sign_stands_where_both_intervals_are_clear_of_zero(low: float, high: float, sign: str) -> None:
    interval = {"mean": (low + high) / 2, "low": low, "high": high, "num_seeds": 3}
    one = {"question": "?", "first": "a", "second": "b", "group": "test", "size": 500, "num_queries": 9}
    record = {
        "networks": {"finished": 1, "all": 1},
        "steps": 1,
        "levels": {},
        "cost": {},
        "comparisons": [{**one, "over_seeds": interval, "over_images": interval}],
        "prior_sensitivity": [],
    }
    (line,) = (line for line in format_markdown(record).splitlines() if "| ? |" in line)
    assert line.endswith(f" | {sign} |")
