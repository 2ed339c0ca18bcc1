from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, load_tokenizer
from trainer.explain import explain
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder


@pytest.fixture
def grounder(tiny_network: NetworkConfig, text_encoder: str) -> Grounder:
    torch.manual_seed(0)
    network = GroundingNetwork(choose_text_encoder(tiny_network, text_encoder))
    return Grounder(network, Processor(ProcessorConfig(), load_tokenizer(text_encoder)))


def test_an_explanation_is_of_the_very_prediction(grounder: Grounder) -> None:
    image = Image.new("RGB", (60, 30), "red")
    grounder.set_image(image)
    found = explain(grounder, "red square")
    assert found.prediction == grounder.predict("red square")
    assert found.attention.shape == (2, 4, 4) and len(found.prediction.stages_xyxy) == 2
    assert found.attention.sum(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-5)
    outside = [0, 3]  # the image fills the middle half of the canvas, two of four rows
    assert not found.attention[:, outside].any() and not found.verification[outside].any()
    assert found.verification[1:3].all()
    assert not any(stage.img_attn._forward_pre_hooks for stage in grounder.network.decoder.layers)


def test_maps_lie_over_the_image_as_it_lies_on_the_canvas(grounder: Grounder) -> None:
    image = Image.new("RGB", (60, 30), "red")
    grounder.set_image(image)
    found = explain(grounder, "red square")
    values = np.zeros((4, 4), np.float32)
    values[1, 0] = 1.0  # top left of the image, since row 0 is padding
    over = replace(found, verification=values).project_to_image(values, image.size, image.size)
    assert over.shape == (30, 60)
    assert over[8, 7] > 0.8 and over[:, 40:].max() == 0 and over[25:].max() == 0
