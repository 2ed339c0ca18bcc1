"""The results in the repository have the keys that the code of the reports reads."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from workflows.demo.result import GROUPS, Group
from workflows.study.figures import COMPARISONS
from workflows.study.tables import format_markdown
from workflows.study.variants import VARIANTS

REMOVED = "verifying priors"
"""Beginning of the names of variants that were measured and then removed from the code."""

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("name", ["study", "exemplars"])
def test_the_study_s_tables_are_those_of_its_figures(name: str) -> None:
    record = json.loads((RESULTS / f"{name}.json").read_text())
    assert (RESULTS / f"{name}-tables.md").read_text() == format_markdown(record)
    current = {variant.name: asdict(variant) for variant in VARIANTS}
    recorded = {variant["name"]: variant for variant in record["study"]["variants"]}
    assert {name for name in recorded.keys() - current.keys() if not name.startswith(REMOVED)} == set()
    for variant in recorded.keys() & current.keys():
        then, now = recorded[variant], current[variant]
        same = then.keys() - {"all_seeds", "all_sizes"}  # later studies may train more of a variant
        assert {key for key in same if now.get(key, then[key]) != then[key]} == set(), variant
    questions = {(one.first, one.second, one.group): one.question for one in COMPARISONS}
    for row in record["comparisons"]:
        if not (row["first"].startswith(REMOVED) or row["second"].startswith(REMOVED)):
            assert row["question"] == questions[row["first"], row["second"], row["group"]]


def test_the_demo_s_groups_are_those_of_its_code() -> None:
    for runs in json.loads((RESULTS / "demo.json").read_text())["groups_by_seed"].values():
        for groups in runs.values():
            assert {group["name"] for group in groups} <= set(GROUPS)
            assert all(set(group) == {field.name for field in fields(Group)} for group in groups)
