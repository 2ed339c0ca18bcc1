from __future__ import annotations

from pathlib import Path

import pytest

from workflows import generate_priors
from workflows.cli.console import UserError, run
from workflows.presets.full_size import PRESETS
from workflows.train import TrainCommandConfig


def test_a_preset_is_what_the_options_start_from(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[generate_priors.GeneratePriorsConfig] = []
    options = ["--dataset", "refcoco", "--preset", "sd-turbo", "--prior.render.num-inference-steps", "2"]
    monkeypatch.setattr("sys.argv", ["generate_priors", *options])
    run(given.append, generate_priors.GeneratePriorsConfig, "", generate_priors.make_default_config)
    (config,) = given
    assert (config.prior.render.checkpoint, config.prior.render.num_inference_steps) == ("stabilityai/sd-turbo", 2)
    assert config.prior.render.guidance_scale == 0
    assert all(make().encoder for make in PRESETS.values())


def test_an_unknown_preset_is_refused_by_the_parser_of_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["generate_priors", "--preset", "sd99"])
    with pytest.raises(SystemExit) as exit_info:
        run(print, generate_priors.GeneratePriorsConfig, "", generate_priors.make_default_config)
    assert exit_info.value.code == 2


def test_two_starting_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give one of them"):
        TrainCommandConfig(detr_weights=tmp_path, pretrained_visual=tmp_path)
