"""The study of queries without a target: training queries of each variant, and figures at equal T-acc."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.toy_predictions import make_prediction
from trainer.evaluation.generalized import SetPrediction
from workflows.cli.console import UserError
from workflows.study import targets
from workflows.study.target_figures import Answers, choose_threshold, compute_figures, format_figures


def _query(number: int, text: str, *instances: int, split: str = "train") -> dict[str, Any]:
    return {
        "query_id": str(number),
        "text": text,
        "split": split,
        "boxes_xyxy": [[0, 0, 1, 1]] * len(instances),
        "instances": list(instances),
    }


def _record(key: str, categories: list[str], *queries: dict[str, Any]) -> dict[str, Any]:
    return {"key": key, "instances": [{"category": one} for one in categories], "queries": list(queries)}


SCENES = [
    _record("a", ["cup", "cup"], _query(0, "left cup", 0), _query(1, "both cups", 0, 1), _query(2, "third cup")),
    _record("b", ["ball"], _query(3, "red ball", 0), _query(4, "blue ball"), _query(5, "green ball")),
    _record("c", ["hat"], _query(6, "no hat")),
]


def _plan(records: list[dict[str, Any]], variant: str, is_scene: bool) -> dict[str, tuple[list[int], list[str]]]:
    rows = targets.list_rows(records, variant, is_scene=is_scene)
    return {row.key: (row.payload["kept"], row.payload["negatives"]) for row in rows}


def test_variants_have_the_same_scenes_and_as_many_negatives() -> None:
    assert _plan(SCENES, "one target", True) == {"a": ([0], []), "b": ([0], [])}
    assert _plan(SCENES, "proved negatives", True) == {"a": ([0, 1, 2], []), "b": ([0, 1, 2], [])}
    more = _record("d", ["kite"], _query(7, "left kite", 0))
    drawn = _plan([*SCENES, more], "random negatives", True)
    assert drawn["a"][0] == [0] and drawn["a"][1][0] in ("red ball", "left kite")  # one, of another category
    assert set(drawn["b"][1]) == {"left cup", "left kite"}  # two


def test_real_images_get_negatives_in_training_alone() -> None:
    records = [
        _record("a", ["cup"], _query(0, "left cup", 0)),
        _record("b", ["ball"], _query(1, "red ball", 0)),
        _record("c", ["hat"], _query(2, "hat", 0)),
        _record("d", ["hat"], _query(3, "hat", 0, split="val"), _query(4, "cup", split="val")),
    ]
    for variant in ("random negatives", "proved negatives"):
        plan = _plan(records, variant, False)
        assert set(plan["a"][1]) == {"red ball", "hat"} and plan["d"] == ([0, 1], [])
    assert _plan(records, "one target", False)["a"] == ([0], [])


def _answer(presence: dict[str, float]) -> Answers:
    sets = [
        SetPrediction(
            key=name,
            query_id=name,
            split="val" if name.startswith("val") else "testA",
            candidates_xyxy=((0, 0, 1, 1),),
            presences=(value,),
            targets_xyxy=((0, 0, 1, 1),) if KINDS[name] == "one" else (),
        )
        for name, value in presence.items()
    ]
    records = [
        replace(make_prediction(0, 0.9), query_id=one.query_id, split=one.split) for one in sets if one.targets_xyxy
    ]
    return Answers(records=records, sets=sets)


KINDS = {
    **{f"val{i}": "one" for i in range(20)},
    "one": "one",
    "other": "one",
    "third": "ordinal",
    "blue": "appearance",
    "hat": "category",
}
VAL = {f"val{i}": 0.3 + i / 100 for i in range(20)}
"""The lowest of 20 is 0.3, so the threshold for 95 % is 0.3."""


def test_networks_are_compared_at_equal_t_acc_on_val() -> None:
    plain = _answer({**VAL, "one": 0.9, "other": 0.2, "third": 0.8, "blue": 0.7, "hat": 0.1})
    proved = _answer({**VAL, "one": 0.9, "other": 0.8, "third": 0.2, "blue": 0.7, "hat": 0.1})
    assert choose_threshold(plain, KINDS) == 0.3
    figures = compute_figures({("one target", 0): plain, ("proved negatives", 0): proved}, KINDS)
    levels = figures["levels"]
    assert levels["one target"]["n_acc_hard"]["mean"] == 0 and levels["proved negatives"]["n_acc_hard"]["mean"] == 0.5
    assert levels["one target"]["t_acc"]["mean"] == 0.5 and levels["one target"]["n_acc_category"]["mean"] == 1
    assert levels["proved negatives"]["auroc_hard"]["mean"] == 1.0
    gain = next(one for one in figures["comparisons"] if one["metric"] == "n_acc_hard")
    assert gain["over_seeds"]["mean"] == gain["over_images"]["mean"] == 0.5
    text = format_figures({**figures, "networks": {"finished": 2, "all": 9}})
    assert "| N-acc, hard | 2 | 0.0 | 50.0 |" in text


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown variants \['magic'\]; choose from one target"):
        targets.TargetStudyConfig(variants=("magic",))


@pytest.mark.slow
def test_the_study_runs_in_its_smallest_size(tmp_path: Path) -> None:
    config = targets.TargetStudyConfig(smoke=True, num_parallel=2, output=tmp_path)
    targets.main(config)
    targets.main(replace(config, report=True))
    assert "N-acc, hard" in (tmp_path / "smoke" / "results.md").read_text()
