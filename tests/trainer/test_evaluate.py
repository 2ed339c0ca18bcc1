from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig, evaluate, read_predictions, write_predictions
from trainer.evaluation.metrics import PredictionRecord
from trainer.train import train

ANSWER = PredictionRecord(
    key="k",
    query_id="q",
    text="cup",
    split="val",
    source="toy",
    num_distractors=0,
    category="cup",
    target_share=0.1,
    box_xyxy=(0, 0, 1, 1),
    target_xyxy=(0, 0, 1, 1),
    iou=1.0,
    any_iou=1.0,
)


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = [ANSWER, replace(ANSWER, query_id="r", num_distractors=None, priors="shuffled")]
    write_predictions(tmp_path, records)
    assert read_predictions(tmp_path) == records
    assert json.loads((tmp_path / "scores.json").read_text())["shuffled"]["val"]["num_queries"] == 1


def test_missing_and_damaged_predictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"predictions.jsonl does not exist; evaluate a network"):
        read_predictions(tmp_path)
    write_predictions(tmp_path, [ANSWER])
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write('{"key": "k", "que')
    with pytest.raises(TrainerError, match=r"predictions.jsonl, line 2: .*; evaluate the network again"):
        read_predictions(tmp_path)


MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def test_without_and_with_shuffled_priors_the_answers_are_others(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), epochs=1)
    train(config)
    chosen = EvaluateConfig(
        checkpoint=config.output / "best",
        data=run,
        splits=("train",),
        output=tmp_path / "evaluation",
        priors=("own", "none", "shuffled"),
    )
    found = evaluate(chosen)
    assert read_predictions(tmp_path / "evaluation") == found
    boxes = {mode: [one.box_xyxy for one in found if one.priors == mode] for mode in chosen.priors}
    assert {len(some) for some in boxes.values()} == {12}
    assert boxes["own"] != boxes["none"] != boxes["shuffled"] != boxes["own"]


def test_a_network_without_priors_is_evaluated_once(run: Path, tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(train=(run,), epochs=1)
    config = replace(config, network=replace(config.network, use_prior=False))
    train(config)
    chosen = EvaluateConfig(
        checkpoint=config.output / "best", data=run, splits=("val",), output=tmp_path, priors=("own", "shuffled")
    )
    assert {one.priors for one in evaluate(chosen)} == {"none"}
