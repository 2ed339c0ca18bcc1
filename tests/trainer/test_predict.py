from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shards.reader import SampleReader
from trainer.config import TrainConfig
from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, load_tokenizer
from trainer.errors import TrainerError
from trainer.evaluate import EvaluateConfig, compute_scores_by_split, evaluate
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.pretrained import choose_text_encoder
from trainer.predict import Grounder
from trainer.train import train

MakeRun = Callable[..., Path]


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(make_run: MakeRun) -> Path:
    return make_run(train=6, val=3)


def test_a_trained_folder_is_all_that_evaluation_and_prediction_need(
    run: Path, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(train=(run,), epochs=1)
    train(config)
    best = config.output / "best"
    found = evaluate(EvaluateConfig(checkpoint=best, data=run, splits=("val", "train"), output=tmp_path / "evaluation"))
    lines = (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()
    report = json.loads((tmp_path / "evaluation" / "scores.json").read_text())["own"]
    assert report == compute_scores_by_split(found)["own"] and report["val"]["num_queries"] == 6
    assert {(one.num_distractors, one.category) for one in found} == {(1, "square")}
    assert len({json.loads(line)["query_id"] for line in lines}) == len(lines) == 18
    assert json.loads((config.output / "metrics.json").read_text())["history"][0]["validation"] == report["val"]

    sample = SampleReader(run, "val").read(0)
    first = json.loads(lines[0])
    image = tmp_path / "image.png"
    image.write_bytes(sample.image)
    assert sample.priors is not None
    grounder = Grounder.from_pretrained(best)
    with pytest.raises(TrainerError, match="call set_image before predict"):
        grounder.predict(sample.queries[0].text)
    grounder.set_image(image)
    prediction = grounder.predict(sample.queries[0].text, prior=sample.priors[0])
    assert prediction.box_xyxy == pytest.approx(first["box_xyxy"], abs=1e-3)
    queries_of_priors: list[str] = []

    def make_prior(query: str) -> np.ndarray:
        queries_of_priors.append(query)
        return sample.priors[0]  # type: ignore[index]

    assert grounder.predict(sample.queries[0].text, prior=make_prior) == prediction
    assert queries_of_priors == [sample.queries[0].text]
    assert grounder.predict(sample.queries[0].text) != prediction
    with pytest.raises(TrainerError, match=r"has shape \(3,\), the network takes \(6,\)"):
        grounder.predict("cup", prior=np.zeros(3))
    with pytest.raises(TrainerError, match="must not be empty"):
        grounder.predict(" ")


def test_an_image_with_many_queries_is_encoded_once(tiny_network: NetworkConfig, text_encoder: str) -> None:
    torch.manual_seed(0)
    network = GroundingNetwork(choose_text_encoder(tiny_network, text_encoder))
    grounder = Grounder(network, Processor(ProcessorConfig(), load_tokenizer(text_encoder)))
    encoded: list[object] = []
    network.backbone.register_forward_hook(lambda *_: encoded.append(None))
    red, blue = (Image.new("RGB", (60, 30), color) for color in ("red", "blue"))
    grounder.set_image(red)
    first = grounder.predict_all(["red square", "left square"])
    assert grounder.predict("left square").box_xyxy == pytest.approx(first[1].box_xyxy, abs=1e-3)
    grounder.set_image(red.copy())
    assert len(encoded) == 1
    grounder.set_image(blue)
    assert len(encoded) == 2 and grounder.encoded.image == blue
