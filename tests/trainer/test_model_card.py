from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from trainer.config import TrainConfig
from trainer.evaluation.metrics import PredictionRecord
from trainer.model_card import CARD_FILE, format_training_card
from trainer.train import train

MakeConfig = Callable[..., TrainConfig]


def test_each_checkpoint_has_a_card_with_data_recipe_and_validated_scores(
    make_run: Callable[..., Path], tiny_config: MakeConfig, tmp_path: Path
) -> None:
    run = make_run(train=6, val=3)
    config = tiny_config(train=(run,), epochs=1, batch_images=2, stop_after_steps=2, tracker="none")
    train(config)
    paused = (config.output / "last" / CARD_FILE).read_text()
    assert "| steps | 2 |" in paused and "## Figures" not in paused  # these weights are not validated
    train(replace(config, stop_after_steps=None))
    card = (config.output / "best" / CARD_FILE).read_text()
    header, body = card.split("---\n", 2)[1:]
    assert yaml.safe_load(header)["library_name"] == "resvg-grounding"
    assert body.startswith("\n# training\n") and "| steps | 3 |" in body
    assert f"| {run.parent.name}/samples | 6 | 12 |" in body
    assert "6 queries of the split val, with 95 % bootstrap intervals" in body
    assert str(run) not in card and config.text_encoder not in card  # no folders of this machine


def test_scores_of_a_card_have_intervals_over_images(tiny_config: MakeConfig) -> None:
    def make_record(key: str, iou: float) -> PredictionRecord:
        return PredictionRecord(
            key=key, query_id=key, text="cup", split="val", source="", num_distractors=0, category="", target_share=0.1,
            box_xyxy=(0, 0, 1, 1), target_xyxy=(0, 0, 1, 1), iou=iou, any_iou=iou,
        )  # fmt: skip

    config = tiny_config(train=(Path("data/mine/samples"),), start="org/name", text_encoder="a/b")
    card = format_training_card(config, [(1, 2)], 1000, 5, [make_record("a", 1.0), make_record("b", 0.6)])
    assert "| Acc@0.5 | 100.0 (34.2 to 100.0) |" in card  # Wilson's interval of two images
    assert "| Acc@0.75 | 50.0 (0.0 to 100.0) |" in card
    assert "| mean IoU | 80.0 (60.0 to 100.0) |" in card
    assert "| started network | org/name |" in card and "a/b" not in card
    plain = format_training_card(replace(config, start=None), [(1, 2)], 1000, 5)
    assert "| text encoder | a/b (random weights) |" in plain and "| visual parts | random weights |" in plain
    with pytest.raises(ValueError, match="zip"):
        format_training_card(config, [], 1000, 5)
