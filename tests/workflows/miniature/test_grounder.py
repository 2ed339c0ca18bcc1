from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.errors import TrainerError
from trainer.evaluation.metrics import PredictionRecord
from trainer.files import find_checkpoint
from trainer.model_card import CARD_FILE
from trainer.predict import Grounder
from workflows import predict
from workflows.miniature import BACKBONE, EXAMPLE_IMAGE, EXAMPLE_QUERY, WEIGHTS
from workflows.miniature.grounder import export_network, format_card

TARGET_XYXY = (12, 37, 40, 63)


def test_the_shipped_network_answers_the_example_of_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    predict.main(predict.PredictConfig())
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["query"] == EXAMPLE_QUERY and line["prior"] == "generated"
    assert line["box_xyxy"] == pytest.approx(TARGET_XYXY, abs=4)
    assert line["score"] > 0.5 and line["presence"] > 0.5
    assert (tmp_path / "runs" / "predictions" / f"{EXAMPLE_IMAGE.name}.predicted.png").is_file()


def test_another_image_needs_a_query(tmp_path: Path) -> None:
    with pytest.raises(predict.UserError, match="either --query or --queries"):
        predict.PredictConfig(image=tmp_path / "photo.jpg")


def test_the_shipped_network_has_a_name_that_a_folder_of_that_name_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("miniature") == WEIGHTS / "grounder"
    assert find_checkpoint("runs/miniature/best") == Path("runs/miniature/best")
    (tmp_path / "runs").mkdir()
    assert find_checkpoint("runs/best") == Path("runs/best")  # not of the hub
    (tmp_path / "miniature").mkdir()
    with pytest.raises(TrainerError, match=r"miniature/config\.json does not exist"):
        Grounder.from_pretrained("miniature")


def test_shipped_weights_are_in_half_precision_and_small() -> None:
    for folder in (WEIGHTS / "grounder", BACKBONE):
        tensors = load_file(folder / "model.safetensors").values()
        assert {one.dtype for one in tensors if one.is_floating_point()} == {torch.float16}
    assert sum(path.stat().st_size for path in (WEIGHTS / "grounder").rglob("*")) < 4_000_000


def test_an_exported_network_predicts_as_the_trained_one(checkpoint: Path, tmp_path: Path) -> None:
    export_network(checkpoint, tmp_path)
    assert not (tmp_path / "training_state.pt").exists()
    boxes = []
    for folder in (checkpoint, tmp_path):
        grounder = Grounder.from_pretrained(folder)
        grounder.set_image(EXAMPLE_IMAGE)
        boxes.append(grounder.predict(EXAMPLE_QUERY).box_xyxy)
    assert boxes[0] == pytest.approx(boxes[1], abs=0.5)


def test_the_card_states_accuracy_and_confidence() -> None:
    def make_record(number: int, box: tuple[float, float, float, float], iou: float, score: float) -> PredictionRecord:
        return PredictionRecord(
            key=str(number), query_id=str(number), text="cup", split="testA", source="miniature", num_distractors=1,
            category="cup", target_share=0.1, box_xyxy=box, target_xyxy=(0, 0, 9, 9), iou=iou, any_iou=iou, score=score,
        )  # fmt: skip

    card = format_card([make_record(0, (0, 0, 9, 9), 1.0, 0.9), make_record(1, (20, 20, 29, 29), 0.0, 0.1)])
    assert "| one distractor | 2 | 50.0 (0.0 to 100.0) | 50.0 (0.0 to 100.0) |" in card
    assert "an AUROC of 100.0 %" in card and "two or more" not in card
    shipped = (WEIGHTS / "grounder" / CARD_FILE).read_text()
    for text in (card[: card.index("## Figures")], card[card.index("## Use") :]):  # all but the figures
        assert text in shipped
