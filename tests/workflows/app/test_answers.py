from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from generation.parsing.attributes import EmptyQueryError
from trainer.errors import TrainerError
from workflows.app.__main__ import AppConfig, load_session

pytest.importorskip("gradio", reason="the extra app is not installed")


RED = Image.new("RGB", (64, 48), "red")


def test_an_answer_holds_box_attributes_prior_and_maps(checkpoint: Path) -> None:
    answer = load_session(AppConfig(checkpoint=checkpoint))(RED, "second striped red cup from the left")
    assert answer.prior is not None and answer.prior.prompt == "a striped red cup"
    assert answer.attributes["ordinals"] == ["second"] and answer.attributes["target"]["colors"] == ["red"]
    assert answer.explanation.verification.shape == answer.explanation.attention.shape[1:]


def test_priors_are_drawn_when_wanted_and_change_the_answer(checkpoint: Path) -> None:
    session, bare = (
        load_session(AppConfig(checkpoint=checkpoint)),
        load_session(AppConfig(checkpoint=checkpoint, prior=False)),
    )
    assert (session.generates_priors, bare.generates_priors) == (True, False)
    found = {
        name: answer.explanation.prediction.box_xyxy
        for name, answer in (
            ("with", session(RED, "red cup")),
            ("unwanted", session(RED, "red cup", with_prior=False)),
            ("never", bare(RED, "red cup")),
        )
    }
    assert found["with"] != found["unwanted"] == found["never"]


def test_a_checkpoint_and_a_query_there_must_be(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyQueryError):
        load_session(AppConfig(checkpoint=checkpoint, prior=False))(RED, " ?! ")
    with pytest.raises(TrainerError, match="give a folder that training has saved"):
        load_session(AppConfig(checkpoint=tmp_path / "none"))
