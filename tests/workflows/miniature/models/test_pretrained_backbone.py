from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.model.pretrained import load_visual
from workflows.cli.console import UserError
from workflows.miniature.models.backbone_training import (
    ATTRIBUTES,
    IGNORE_INDEX,
    compute_mean_norm,
    load_detector_backbone,
    make_example,
    scale_output,
)
from workflows.miniature.models.pretrained_backbone import PretrainedVisualConfig, main
from workflows.miniature.world.drawing import WorldObject, WorldScene


def test_each_cell_under_a_thing_is_asked_what_it_is() -> None:
    obj = WorldObject(category="ball", color="red", pattern="plain", extent_px=32, x=0, y=64)
    scene = WorldScene(width=128, height=128, background_kind=0, horizon=0.5, objects=(obj,))
    _, cells = make_example(scene, 128)
    x1, y1, x2, y2 = (round(value / 16) for value in obj.box_xyxy)
    words = [
        ATTRIBUTES["category"].index("ball"),
        ATTRIBUTES["color"].index("red"),
        ATTRIBUTES["pattern"].index("plain"),
    ]
    assert cells[:, y1, x1].tolist() == words
    assert int((cells[1] != IGNORE_INDEX).sum()) == (x2 - x1) * (y2 - y1)
    assert cells[0, 0, 0] == len(ATTRIBUTES["category"]) - 1 and cells[1, 0, 0] == IGNORE_INDEX


def test_features_are_scaled_as_a_whole() -> None:
    backbone, _ = load_detector_backbone()
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    before = backbone(images).detach()
    scale_output(backbone, 0.25)
    torch.testing.assert_close(backbone(images), 0.25 * before)


def test_a_pretrained_backbone_is_loaded_by_the_trainer_and_not_trained_again(tmp_path: Path) -> None:
    config = PretrainedVisualConfig(output=tmp_path / "start", steps=2)
    main(config)
    from trainer.model.config import make_miniature_config
    from trainer.model.network import GroundingNetwork
    from trainer.model.pretrained import choose_text_encoder
    from workflows.miniature import WEIGHTS

    network = GroundingNetwork(choose_text_encoder(make_miniature_config(), str(WEIGHTS / "bert")))
    loaded = load_visual(network, config.output)
    assert loaded.parts == ("backbone.",) and not loaded.unexpected
    detectors, _ = load_detector_backbone()
    assert not torch.equal(network.backbone.conv1.weight, detectors.conv1.weight)
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert 0.5 < compute_mean_norm(network.backbone(images)) / compute_mean_norm(detectors(images)) < 2
    measured = json.loads((config.output / "measured.json").read_text())
    assert measured["steps"] == 2 and set(measured["right"]) == set(ATTRIBUTES)
    written = (config.output / "model.safetensors").stat().st_mtime_ns
    main(config)
    assert (config.output / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"was trained with other settings .*'steps': 2.*'steps': 3"):
        main(replace(config, steps=3))
